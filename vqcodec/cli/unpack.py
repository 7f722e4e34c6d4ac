"""The command that unpacks a pack."""

import time
from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.many import report
from vqcodec.cli.options import (
    Force,
    Jobs,
    Json,
    MaxPixels,
    ModelOfFiles,
    PictureQuality,
    Quiet,
    RefineBy,
    Threads,
    To,
    UsageError,
    as_usage_errors,
    path_argument,
)
from vqcodec.cli.printing import console, tell
from vqcodec.options import DecodeOptions
from vqcodec.runtime.blas import begin_with_one_thread


def unpack(
    source: Annotated[Path, path_argument(metavar="PACK", help="Read this pack.")],
    output: Annotated[Path, path_argument(metavar="DIR", help="Write to this folder.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Unpack only these pictures.", show_default=False)
    ] = None,
    files: Annotated[bool, typer.Option("--files", help="Write .vqz files that decode to the same pixels.")] = False,
    model: ModelOfFiles = None,
    refine: RefineBy = None,
    to: To = None,
    quality: PictureQuality = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Unpack the intact pictures of a damaged or truncated pack.")
    ] = False,
    force: Force = False,
    jobs: Jobs = None,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Unpack the pictures of a pack to a folder, all or some of them.

    Every picture is read alone: one of many takes about as long as a file. Damaged pictures are listed, and the others unpacked.
    """
    with as_usage_errors():
        options = DecodeOptions(refine=refine, threads=threads)
    suffix = to or ".png"
    if files and (to or quality is not None):
        raise UsageError("--files goes neither with --to nor with --quality")
    if quality is not None and suffix not in (".jpg", ".webp"):
        raise UsageError("--quality is for JPEG and WebP outputs")

    begin_with_one_thread()
    from vqcodec.cli.tables import batch_progress
    from vqcodec.io.unpacking import Unpacking, unpack_pictures

    unpacking = Unpacking(
        source=source,
        options=options,
        files=files,
        model=model,
        quality=quality,
        allow_partial=allow_partial,
        max_pixels=max_pixels,
    )
    start = time.perf_counter()
    with batch_progress(console(stderr=True, quiet=quiet)) as (started, progress):
        summary = unpack_pictures(
            unpacking,
            output,
            names or [],
            suffix=".vqz" if files else suffix,
            jobs=jobs or 1,
            overwrite=force,
            started=started,
            progress=progress,
        )
    if allow_partial and not quiet:
        for outcome in summary.failed:
            tell(f"lost: {outcome.source}: {outcome.error}")
    if allow_partial:
        summary.failed.clear()
    report(summary, time.perf_counter() - start, strict=False, as_json=as_json, quiet=quiet)
