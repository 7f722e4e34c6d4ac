"""The command that decodes .vqz files."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.many import ManyFiles, check_only_for_many, convert_many, paths_of
from vqcodec.cli.options import (
    Force,
    Jobs,
    Json,
    KeepTimes,
    Manifest,
    MaxPixels,
    ModelOfFiles,
    OutputFolder,
    PictureQuality,
    Quiet,
    RefineBy,
    Shard,
    Strict,
    Threads,
    To,
    UsageError,
    as_usage_errors,
    path_argument,
    region_of,
)
from vqcodec.cli.printing import progress_line
from vqcodec.cli.single import check_json, check_picture_name, report_file
from vqcodec.options import DEVICES, SCALES, DecodeOptions, Device, Scale
from vqcodec.runtime.blas import begin_with_one_thread


def decode(
    source: Annotated[Path, path_argument(metavar="IN", help="Read this .vqz file or folder; - is standard input.")],
    others: Annotated[
        list[Path] | None,
        path_argument(
            metavar="[OUT]",
            help="Write this picture or folder; - is standard output. Another existing .vqz file, any of three or more names, and"
            " all names beside -o are further inputs. [default: the inputs' names with .png, beside them]",
        ),
    ] = None,
    into: OutputFolder = None,
    model: ModelOfFiles = None,
    refine: RefineBy = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            metavar="0..1",
            help="Sharpen this much with --refine gan. [default: 0.7 below 0.2 bpp, falling to 0 at 1]",
            show_default=False,
        ),
    ] = None,
    refiner: Annotated[
        str | None,
        typer.Option(
            "--refiner",
            metavar="M",
            help="Use this refiner, by name or folder. [default: photo-gan]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        Device,
        typer.Option("--device", metavar="|".join(DEVICES), help="Run networks on this device; cuda needs torch."),
    ] = "cpu",
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X,Y,W,H", help="Decode only this part. [default: all]", show_default=False),
    ] = None,
    scale: Annotated[
        Scale,
        typer.Option(
            "--scale",
            metavar="|".join(map(str, SCALES)),
            help="Divide width and height by this. 8 decodes much faster, 2 hardly faster.",
        ),
    ] = 1,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Decode the intact tile groups of a damaged or truncated file.")
    ] = False,
    to: To = None,
    quality: PictureQuality = None,
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
    """Decode .vqz files to pictures, or a folder to a folder.

    The picture's name selects its format: .png .ppm .pgm .jpg .webp .tif .bmp; a stream is PNG. Several files are
    decoded beside themselves, or to the folder of -o.
    """
    part = None if region is None else region_of(region)
    with as_usage_errors():
        options = DecodeOptions(refine=refine, strength=strength, region=part, scale=scale, device=device, threads=threads)
        if refiner is not None:
            options.require_gan()
    suffix = to or ".png"
    paths = paths_of("decode", source, others or [], into, suffix)
    check_json(as_json, paths.output)

    begin_with_one_thread()
    from vqcodec.io.convert import Decoding

    decoding = Decoding(
        options=options,
        model=model,
        refiner=refiner,
        allow_partial=allow_partial,
        quality=quality,
        keep_times=keep_times,
        max_pixels=max_pixels,
    )
    written = suffix if isinstance(paths, ManyFiles) else paths.output.suffix.lower()
    if quality is not None and written not in (".jpg", ".jpeg", ".webp"):
        raise UsageError("--quality is for JPEG and WebP outputs")
    if isinstance(paths, ManyFiles):
        convert_many(
            paths,
            decoding,
            suffix,
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
    if to is not None and (others or into):
        raise UsageError("--to is for folders and for inputs without OUT: the name of OUT selects the format")
    check_picture_name("decode", paths.output)
    with progress_line(quiet=quiet):
        done = decoding.convert(source, paths.output, overwrite=force)
    report_file(source, paths.output, done, {"decode_s": done.seconds}, as_json=as_json, quiet=quiet)
