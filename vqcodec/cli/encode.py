"""The command that encodes pictures."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.many import ManyFiles, OneFile, check_only_for_many, convert_many, paths_of
from vqcodec.cli.options import (
    Bpp,
    Effort,
    Exact,
    Force,
    Jobs,
    Json,
    KeepTimes,
    Lossless,
    Manifest,
    MaxPixels,
    ModelForFiles,
    OutputFolder,
    Psnr,
    Quality,
    Quiet,
    Shard,
    Size,
    Ssimulacra2,
    Strict,
    Strip,
    Threads,
    Tile,
    TuneFor,
    UsageError,
    as_usage_errors,
    path_argument,
)
from vqcodec.cli.printing import progress_line, tell
from vqcodec.cli.single import check_json, report_file
from vqcodec.errors import printable
from vqcodec.io.kinds import is_picture_name
from vqcodec.options import DEFAULT_EFFORT, EncodeOptions
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
    quality: Quality = None,
    bpp: Bpp = None,
    size: Size = None,
    psnr: Psnr = None,
    ssimulacra2: Ssimulacra2 = None,
    lossless: Lossless = False,
    model: ModelForFiles = None,
    embed_model: Annotated[
        bool,
        typer.Option("--embed-model", help="Put the model into the file, so that it decodes where that is not installed."),
    ] = False,
    effort: Effort = DEFAULT_EFFORT,
    tune: TuneFor = None,
    tile: Tile = None,
    exact: Exact = False,
    strip: Strip = False,
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

    encoding = Encoding(
        options=options, model=model, embed_model=embed_model, strip=strip, keep_times=keep_times, max_pixels=max_pixels
    )
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
