"""The command that repairs pictures."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
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
from vqcodec.cli.single import check_json, check_picture_name, report_file
from vqcodec.io.files import STREAM
from vqcodec.runtime.blas import begin_with_one_thread


def repair(
    source: Input,
    output: Output,
    mask: Annotated[Path, path_option("--mask", metavar="MASK", help="Repair the pixels that are white in this picture.")],
    prior: Prior,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="L", help="Assume a picture of this class. [default: unknown]", show_default=False),
    ] = None,
    temperature: Temperature = DEFAULT_TEMPERATURE,
    seed: Seed = 0,
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Replace part of a picture with generated content.

    All other pixels are kept.
    """
    if source == mask == STREAM:
        raise UsageError("standard input holds one picture: name a file for the mask")
    check_json(as_json, output)
    check_picture_name("repair", output)
    begin_with_one_thread()
    from vqcodec.io.restore import Repair

    with progress_line(quiet=quiet):
        how = Repair(
            mask=mask, prior=prior, label=label, temperature=temperature, seed=seed, threads=threads, max_pixels=max_pixels
        )
        done = how.convert(source, output, overwrite=force)
    report_file(source, output, done, {"repair_s": done.seconds}, as_json=as_json, quiet=quiet)
