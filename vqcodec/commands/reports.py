"""Commands that say what files, models and pictures are."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.errors import ModelError, VqcodecError
from vqcodec.files import MAX_PIXELS, STREAM, check_output, printable, read_input, stream_limit, write_atomic
from vqcodec.options import Force, Input, Json, MaxPixels, Model, UsageError, path_argument, path_option
from vqcodec.printing import console, print_json, tell


def info(
    file: Input,
    model: Model = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    indices: Annotated[
        Path | None,
        path_option(
            "--indices", metavar="FILE", help="Write all indices with their codebook, class, channel and cell to a .npz file."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Show what a .vqz file holds and where its bytes go."""
    from vqcodec import api

    if indices is not None:
        _not_beside_the_report(indices)
        check_output(indices, overwrite=force, source=file)
    data = read_input(file, limit_bytes=stream_limit(max_pixels))
    facts = api.info(data, model=model, max_pixels=max_pixels)
    if indices is not None:
        import io

        import numpy as np

        stream = io.BytesIO()
        np.savez_compressed(stream, **api.indices(data, model=model, max_pixels=max_pixels))  # type: ignore[arg-type]  # an array may be named "allow_pickle" to mypy
        write_atomic(indices, stream.getbuffer(), overwrite=force)
    if as_json:
        print_json(**facts)
    else:
        from vqcodec.tables import print_info

        print_info(facts, console())


def _not_beside_the_report(output: Path) -> None:
    if output == STREAM:
        raise UsageError("standard output is for the report: write the file by its name")


def verify(
    files: Annotated[list[Path], path_argument(metavar="FILE...", help="The files to check.")],
    model: Model = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Check files completely: checksums, and that every pixel can be decoded."""
    from vqcodec import api

    failed = 0
    for file in files:
        try:
            api.verify(read_input(file, limit_bytes=stream_limit(max_pixels)), model=model, max_pixels=max_pixels)
        except VqcodecError as error:
            failed = failed or error.exit_code
            print(f"{printable(file)}: FAILED: {printable(str(error))}")
        else:
            print(f"{printable(file)}: ok")
    raise typer.Exit(failed)


def models(as_json: Json = False) -> None:
    """List the models that are installed."""
    from vqcodec import registry

    entries = registry.list_models()
    if as_json:
        print_json(models=[{**vars(entry), "path": str(entry.path)} for entry in entries])
    else:
        from vqcodec.tables import print_models

        print_models([entry for entry in entries if not entry.error], console())
    damaged = [entry for entry in entries if entry.error]
    for entry in damaged:
        tell(f"{entry.path}: {entry.error}")
    raise typer.Exit(ModelError.exit_code if damaged else 0)


def compare(
    first: Annotated[Path, path_argument(metavar="A", help="A picture or a .vqz file.")],
    second: Annotated[Path, path_argument(metavar="B", help="Another, of the same size.")],
    output: Annotated[
        Path | None,
        path_option("-o", "--output", metavar="FILE", help="Write a picture of the difference, 8 times as large, around grey."),
    ] = None,
    model: Model = None,
    force: Force = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
) -> None:
    """Compare two pictures, by PSNR, SSIM and MS-SSIM. Needs vqcodec[bench]."""
    import io
    import math

    from vqcodec.bench.compare import compare as compared
    from vqcodec.bench.compare import read_any
    from vqcodec.imageio import format_of, write_image

    picture_format = "" if output is None else format_of(output)
    if output is not None:
        _not_beside_the_report(output)
        for source in (first, second):
            check_output(output, overwrite=force, source=source)
    facts, difference = compared(*(read_any(path, max_pixels, model) for path in (first, second)))
    if output is not None:
        stream = io.BytesIO()
        write_image(difference, stream, format=picture_format)
        write_atomic(output, stream.getbuffer(), overwrite=force)
    if as_json:
        print_json(**{name: value if math.isfinite(value) else None for name, value in facts.items()})
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):<20} {value:.6g}")
