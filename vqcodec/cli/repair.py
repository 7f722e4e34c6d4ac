"""The command that replaces parts of pictures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vqcodec.cli.options import (
    DEFAULT_TEMPERATURE,
    Force,
    Input,
    Json,
    MaxPixels,
    Output,
    Prior,
    Quiet,
    Seed,
    Temperature,
    Threads,
    UsageError,
    path_option,
)
from vqcodec.cli.printing import progress_line
from vqcodec.cli.single import check_json, check_picture, tell_of_one
from vqcodec.format.header import MAX_PIXELS
from vqcodec.io.files import STREAM
from vqcodec.runtime.blas import begin_with_one_thread


def repair(
    source: Input,
    output: Output,
    mask: Annotated[Path, path_option("--mask", metavar="MASK", help="Repair where this picture of the same size is white.")],
    prior: Prior,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="L", help="Take the picture to be of this class. [default: unknown]", show_default=False),
    ] = None,
    temperature: Temperature = DEFAULT_TEMPERATURE,
    seed: Seed = 0,
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Replace a part of a picture by what a token prior makes up.

    All other pixels stay as they are.
    """
    if source == mask == STREAM:
        raise UsageError("standard input is one picture: name a file for the mask")
    check_json(as_json, output)
    check_picture("repair", output)
    begin_with_one_thread()
    from vqcodec.io.convert import repair_file

    options: dict[str, Any] = {"label": label, "temperature": temperature, "seed": seed, "threads": threads}
    options["max_pixels"] = max_pixels
    with progress_line(quiet=quiet):
        done = repair_file(source, output, mask, prior, **options, overwrite=force)
    tell_of_one(source, output, done, {"repair_s": done.seconds}, as_json=as_json, quiet=quiet)
