"""The command that decodes .vqz files."""

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
    finite,
    known_device,
    known_picture,
    known_refine,
    known_scale,
    path_argument,
    region_of,
)
from vqcodec.cli.printing import progress_line
from vqcodec.cli.single import check_json, check_picture, tell_of_one
from vqcodec.format.header import MAX_PIXELS
from vqcodec.runtime.blas import begin_with_one_thread


def decode(
    source: Annotated[Path, path_argument(metavar="IN", help="The .vqz file or folder to read; - is standard input.")],
    others: Annotated[
        list[Path] | None,
        path_argument(
            metavar="[OUT]",
            help="The picture or folder to write; - is standard output. With -o, more .vqz files to read. [default: IN's name with"
            " .png]",
        ),
    ] = None,
    into: OutputFolder = None,
    model: Model = None,
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            callback=known_refine,
            metavar="none|best|gan",
            help="Decode exactly (none), with the model's network (best), or with made-up sharpness (gan). [default: best if the"
            " model has a network, else none]",
            show_default=False,
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            callback=finite,
            min=0,
            max=1,
            metavar="0..1",
            help="Sharpen with gan by so much. [default: 0.7 below 0.2 bpp, falling to 0 at 1]",
            show_default=False,
        ),
    ] = None,
    refiner: Annotated[
        str | None,
        typer.Option(
            "--refiner", metavar="M", help="Sharpen with this refiner, a name or a folder. [default: photo-gan]", show_default=False
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", callback=known_device, metavar="cpu|cuda|auto", help="Run networks there; cuda needs torch."),
    ] = "cpu",
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X,Y,W,H", help="Decode this part only. [default: all]", show_default=False),
    ] = None,
    scale: Annotated[
        int,
        typer.Option(
            "--scale", callback=known_scale, metavar="1|2|4|8", help="Decode so many times smaller; 8 is much faster, 2 hardly."
        ),
    ] = 1,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Decode what is left of a damaged or truncated file with tile groups.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            callback=known_picture,
            metavar="png|...",
            help="Write this format where OUT does not say it. [default: png]",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            min=0,
            max=100,
            metavar="0..100",
            help="Write JPEG or WebP at this quality. [default: 95 for JPEG, lossless for WebP]",
            show_default=False,
        ),
    ] = None,
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
    """Decode a .vqz file to a picture, or a folder to a folder.

    The name of the picture says its format: .png .ppm .pgm .jpg .webp .tif .bmp, and PNG for a stream. Several inputs go to one
    folder: -o DIR.
    """
    if scale > 1 and (region is not None or refine in ("best", "gan")):
        raise UsageError("--scale goes neither with --region nor with --refine best or gan")
    if refine != "gan" and (strength is not None or refiner is not None):
        raise UsageError("--strength and --refiner are for --refine gan")
    part = None if region is None else region_of(region)
    suffix = to or ".png"
    sources, output, many = sources_and_output("decode", source, others or [], into, suffix)
    check_json(as_json, output)

    begin_with_one_thread()
    from vqcodec.io.convert import DecodeOptions, decode_file

    options = DecodeOptions(
        model=model,
        refine=refine,
        strength=strength,
        refiner=refiner,
        device=device,
        region=part,
        scale=scale,
        allow_partial=allow_partial,
        quality=quality,
        keep_times=keep_times,
        threads=threads,
        max_pixels=max_pixels,
    )
    if quality is not None and (suffix if many else output.suffix.lower()) not in (".jpg", ".jpeg", ".webp"):
        raise UsageError("--quality is for JPEG and WebP outputs")
    if many:
        from vqcodec.io.batch import BatchSettings

        settings = BatchSettings(
            source=folder_or_files(sources),
            output=output,
            options=options,
            suffix=suffix,
            jobs=jobs or 1,
            shard=shard_of(shard),
            manifest=manifest,
            overwrite=force,
        )
        convert_many(settings, strict=strict, as_json=as_json, quiet=quiet)
        return
    only_for_many({"-j": jobs, "--shard": shard, "--manifest": manifest, "--strict": strict or None})
    if to is not None and (others or into):
        raise UsageError("--to is for folders, and where OUT is not given: its name says the format")
    check_picture("decode", output)
    with progress_line(quiet=quiet):
        done = decode_file(source, output, options, overwrite=force)
    tell_of_one(source, output, done, {"decode_s": done.seconds}, as_json=as_json, quiet=quiet)
