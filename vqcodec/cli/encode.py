"""The command that encodes pictures."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.cli.many import convert_many, folder_or_files, only_for_many, shard_of, sources_and_output
from vqcodec.cli.options import (
    Force,
    Jobs,
    Json,
    KeepTimes,
    Manifest,
    MaxPixels,
    Model,
    OutputFolder,
    Quiet,
    Shard,
    Strict,
    Threads,
    UsageError,
    known_tile,
    known_tune,
    path_argument,
    percentage,
    positive,
    size_of,
)
from vqcodec.cli.printing import progress_line, tell
from vqcodec.cli.single import check_json, tell_of_one
from vqcodec.errors import printable
from vqcodec.format.header import MAX_PIXELS
from vqcodec.runtime.blas import begin_with_one_thread


def encode(
    source: Annotated[Path, path_argument(metavar="IN", help="The picture or folder to read; - is standard input.")],
    others: Annotated[
        list[Path] | None,
        path_argument(
            metavar="[OUT]",
            help="The .vqz file or folder to write; - is standard output. With -o, more pictures to read. [default: IN's name with"
            " .vqz]",
        ),
    ] = None,
    into: OutputFolder = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "-q",
            "--quality",
            callback=percentage,
            metavar="0..100",
            help="Encode at this quality. [default: 60]",
            show_default=False,
        ),
    ] = None,
    bpp: Annotated[
        float | None,
        typer.Option("--bpp", callback=positive, metavar="X", help="Use at most X bits per pixel.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", parser=size_of, metavar="BYTES", help="Use at most so many bytes: 20000, 20k, 20KiB.", show_default=False
        ),
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option("--psnr", callback=positive, metavar="DB", help="Reach at least so many dB of PSNR.", show_default=False),
    ] = None,
    model: Model = None,
    effort: Annotated[
        int,
        typer.Option(
            "--effort",
            min=1,
            max=9,
            metavar="1..9",
            help="Take more time for fewer bytes. 7 takes four to five times as long as 5, and saves 1.5 %.",
        ),
    ] = 5,
    tune: Annotated[
        str,
        typer.Option(
            "--tune", callback=known_tune, metavar="psnr|ssim", help="At equal bytes keep the error low, or the look to eyes."
        ),
    ] = "psnr",
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            callback=known_tile,
            metavar="N",
            help="Make tile groups of N pixels a side, which can be decoded one by one. [default: none; 1024 above 4 megapixels]",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Keep the colours of fully transparent pixels, which are replaced otherwise.")
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out colour profile, EXIF and XMP.")] = False,
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
    """Encode a picture to a .vqz file, or a folder to a folder.

    PNG, JPEG, WebP, AVIF, TIFF and other formats are read. Every picture of a folder is encoded, whatever its name; other files are
    named, with the reason. Several inputs go to one folder: -o DIR.
    """
    targets = {"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    sources, output, many = sources_and_output("encode", source, others or [], into, ".vqz")
    check_json(as_json, output)

    begin_with_one_thread()
    from vqcodec.io.convert import EncodeOptions, encode_file
    from vqcodec.io.kinds import is_picture_name

    options = EncodeOptions(
        quality=quality,
        bpp=bpp,
        size=size,
        psnr=psnr,
        model=model,
        effort=effort,
        tune=tune,
        tile=tile,
        exact=exact,
        strip=strip,
        keep_times=keep_times,
        threads=threads,
        max_pixels=max_pixels,
    )
    if many:
        from vqcodec.io.batch import BatchSettings

        settings = BatchSettings(
            source=folder_or_files(sources),
            output=output,
            options=options,
            suffix=".vqz",
            jobs=jobs or 1,
            shard=shard_of(shard),
            manifest=manifest,
            overwrite=force,
        )
        convert_many(settings, strict=strict, as_json=as_json, quiet=quiet)
        return
    only_for_many({"-j": jobs, "--shard": shard, "--manifest": manifest, "--strict": strict or None})
    if is_picture_name(output.name) and output != source:
        hint = "OUT.vqz, or -o DIR for several inputs"
        raise UsageError(f"{printable(output)} is a picture's name, and encode writes .vqz files: {hint}")
    with progress_line(quiet=quiet):
        done = encode_file(source, output, options, overwrite=force)
    bpp_made = 8 * done.bytes_out / (done.width * done.height)
    summary = f"{done.width} x {done.height} pixels, {done.bytes_out} bytes, {bpp_made:.3f} bpp"
    facts = {"bpp": bpp_made, "encode_s": done.seconds, "grew": done.grew}
    tell_of_one(source, output, done, facts, as_json=as_json, quiet=quiet)
    if not quiet:
        tell(summary)
