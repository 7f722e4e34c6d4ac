"""The command that encodes pictures."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.many import ManyFiles, OneFile, check_only_for_many, convert_many, paths_of
from vqcodec.cli.options import (
    Force,
    Jobs,
    Json,
    KeepTimes,
    Manifest,
    MaxPixels,
    OutputFolder,
    Quiet,
    Shard,
    Strict,
    Threads,
    UsageError,
    as_usage_errors,
    path_argument,
    size_of,
)
from vqcodec.cli.printing import progress_line, tell
from vqcodec.cli.single import check_json, report_file
from vqcodec.errors import printable
from vqcodec.io.kinds import is_picture_name
from vqcodec.options import DEFAULT_EFFORT, TUNES, EncodeOptions, Tune
from vqcodec.runtime.blas import begin_with_one_thread


def encode(
    source: Annotated[Path, path_argument(metavar="IN", help="Read this picture or folder; - is standard input.")],
    others: Annotated[
        list[Path] | None,
        path_argument(
            metavar="[OUT]",
            help="Write this .vqz file or folder; - is standard output. Another existing picture, any of three or more names, and"
            " all names beside -o are further inputs. [default: the inputs' names with .vqz, beside them]",
        ),
    ] = None,
    into: OutputFolder = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "-q",
            "--quality",
            metavar="0..100",
            help="Encode at this quality. [default: 60]",
            show_default=False,
        ),
    ] = None,
    bpp: Annotated[
        float | None,
        typer.Option("--bpp", metavar="X", help="Use at most X bits per pixel.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", parser=size_of, metavar="BYTES", help="Use at most this many bytes: 20000, 20k, 20KiB.", show_default=False
        ),
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option("--psnr", metavar="DB", help="Reach a PSNR of at least DB.", show_default=False),
    ] = None,
    ssimulacra2: Annotated[
        float | None,
        typer.Option(
            "--ssimulacra2",
            metavar="0..100",
            help="Reach at least this SSIMULACRA2, such as 70 for high quality. Needs vqcodec[metrics].",
            show_default=False,
        ),
    ] = None,
    lossless: Annotated[
        bool,
        typer.Option(
            "--lossless", help="Keep every pixel exactly. Such a file has no model and no quality, and --tune has no effect."
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="M", help="Use this model, by name or folder. [default: photo]", show_default=False),
    ] = None,
    effort: Annotated[
        int,
        typer.Option(
            "--effort",
            metavar="1..9",
            help="Spend more time to save bytes. 7 takes four to five times as long as 5, and saves 1.5 %.",
        ),
    ] = DEFAULT_EFFORT,
    tune: Annotated[
        Tune | None,
        typer.Option(
            "--tune",
            metavar="|".join(TUNES),
            help="Optimise for perceived quality (ssim) or for PSNR. [default: ssim; psnr with --psnr]",
            show_default=False,
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            metavar="N",
            help="Make tile groups of N pixels a side, which can be decoded alone. [default: none; 1024 above 4 megapixels]",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Keep the colours of fully transparent pixels instead of replacing them.")
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out the ICC profile, EXIF and XMP.")] = False,
    keep_times: KeepTimes = False,
    force: Force = False,
    jobs: Jobs = None,
    shard: Shard = None,
    manifest: Manifest = None,
    strict: Strict = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode pictures to .vqz files, or a folder to a folder.

    Reads PNG, JPEG, WebP, AVIF, TIFF and other formats. Every picture of a folder is encoded, whatever its name; other files are
    listed with the reason. Several pictures are encoded beside themselves, or to the folder of -o.
    """
    with as_usage_errors():
        options = EncodeOptions(
            quality=quality,
            bpp=bpp,
            size=size,
            psnr=psnr,
            ssimulacra2=ssimulacra2,
            effort=effort,
            tune=tune,
            tile=tile,
            exact=exact,
            lossless=lossless,
            threads=threads,
        )
        options.check_model(model)
    paths = paths_of("encode", source, others or [], into, ".vqz")
    check_json(as_json, paths.output)
    if isinstance(paths, OneFile) and is_picture_name(paths.output.name) and paths.output != source:
        hint = "name OUT.vqz, or pictures that exist"
        raise UsageError(f"{printable(paths.output)} is a picture's name, and encode writes .vqz files: {hint}")

    begin_with_one_thread()
    if ssimulacra2 is not None:
        from vqcodec.codec.ssimulacra2 import require

        require()  # one line, not one for each picture of a folder
    from vqcodec.io.convert import Encoding

    encoding = Encoding(options=options, model=model, strip=strip, keep_times=keep_times, max_pixels=max_pixels)
    if isinstance(paths, ManyFiles):
        convert_many(
            paths,
            encoding,
            ".vqz",
            jobs=jobs,
            shard=shard,
            manifest=manifest,
            overwrite=force,
            strict=strict,
            as_json=as_json,
            quiet=quiet,
        )
        return
    check_only_for_many({"-j": jobs, "--shard": shard, "--manifest": manifest, "--strict": strict or None})
    with progress_line(quiet=quiet):
        done = encoding.convert(source, paths.output, overwrite=force)
    bpp_made = 8 * done.bytes_out / (done.width * done.height)
    facts = {"bpp": bpp_made, "lossless": done.lossless, "encode_s": done.seconds, "grew": done.grew}
    report_file(source, paths.output, done, facts, as_json=as_json, quiet=quiet)
    if not quiet:
        kept = ", lossless" if done.lossless else ""
        tell(f"{done.width} x {done.height} pixels, {done.bytes_out} bytes, {bpp_made:.3f} bpp{kept}")
