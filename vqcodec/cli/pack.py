"""The command that packs a folder."""

import time
from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.many import report
from vqcodec.cli.options import (
    Bpp,
    Effort,
    Exact,
    Force,
    Jobs,
    Json,
    Lossless,
    MaxPixels,
    ModelForFiles,
    Psnr,
    Quality,
    Quiet,
    Size,
    Ssimulacra2,
    Strict,
    Strip,
    Threads,
    Tile,
    TuneFor,
    UsageError,
    as_usage_errors,
    not_a_stream,
    path_argument,
)
from vqcodec.cli.printing import console
from vqcodec.errors import printable
from vqcodec.options import DEFAULT_EFFORT, EncodeOptions
from vqcodec.runtime.blas import begin_with_one_thread


def pack(
    folder: Annotated[Path, path_argument(metavar="FOLDER", help="Pack the pictures and .vqz files of this folder.")],
    output: Annotated[Path, path_argument(metavar="OUT", callback=not_a_stream, help="Write this pack, OUT.vqzs.")],
    append: Annotated[
        bool, typer.Option("--append", help="Add the pictures to the pack OUT, which stays as it is until all are written.")
    ] = False,
    embed_model: Annotated[
        bool, typer.Option("--embed-model", help="Put the model into the pack, so that it opens where that is not installed.")
    ] = False,
    quality: Quality = None,
    bpp: Bpp = None,
    size: Size = None,
    psnr: Psnr = None,
    ssimulacra2: Ssimulacra2 = None,
    lossless: Lossless = False,
    model: ModelForFiles = None,
    effort: Effort = DEFAULT_EFFORT,
    tune: TuneFor = None,
    tile: Tile = None,
    exact: Exact = False,
    strip: Strip = False,
    force: Force = False,
    jobs: Jobs = None,
    strict: Strict = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pack the pictures of a folder into one file.

    Each picture is encoded as by encode, keeps its name, and decodes alone: small photographs take fewer bytes than as files. .vqz
    files are packed as they are; other files are listed with the reason.
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
    if append and force:
        raise UsageError("--append and -f exclude each other")
    if not folder.is_dir():
        raise UsageError(f"{printable(folder)} is not a folder: pack takes one")

    begin_with_one_thread()
    from vqcodec.cli.tables import batch_progress
    from vqcodec.io.pack_writer import Packing, pack_folder

    if ssimulacra2 is not None:
        from vqcodec.codec.ssimulacra2 import require

        require()  # one line, not one for each picture
    packing = Packing(options=options, model=model, strip=strip, embed_model=embed_model, max_pixels=max_pixels)
    start = time.perf_counter()
    with batch_progress(console(stderr=True, quiet=quiet)) as (started, progress):
        summary = pack_folder(
            packing, folder, output, jobs=jobs or 1, overwrite=force, append=append, started=started, progress=progress
        )
    report(summary, time.perf_counter() - start, strict=strict, as_json=as_json, quiet=quiet)
