"""The command that shows a picture."""

import os
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, get_args

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import MaxPixels, ModelOfFiles, Quiet, UsageError, path_argument
from vqcodec.cli.printing import progress_line, tell
from vqcodec.io.files import STREAM, name_of
from vqcodec.options import REFINES, SCALES, DecodeOptions, Refine, Scale
from vqcodec.runtime.blas import begin_with_one_thread
from vqcodec.runtime.interrupts import termination_raises

Place = Literal["viewer", "terminal"]
_WITHOUT_TERMINAL_S = 20
"""Time for the viewer to read the picture if no terminal says when it is done, in seconds."""


def view(
    source: Annotated[Path, path_argument(metavar="FILE", help="Show this .vqz file; - is standard input. Or a pack, with NAME.")],
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this picture of the pack.", show_default=False)] = None,
    place: Annotated[
        Place | None,
        typer.Option(
            "--in",
            metavar="|".join(get_args(Place)),
            help="Show it in the system's viewer or in the terminal. [default: viewer if there is a display, else terminal]",
            show_default=False,
        ),
    ] = None,
    model: ModelOfFiles = None,
    refine: Annotated[
        Refine | None,
        typer.Option(
            "--refine", metavar="|".join(REFINES), help="Decode with this refinement. [default: as decode does]", show_default=False
        ),
    ] = None,
    scale: Annotated[
        Scale, typer.Option("--scale", metavar="|".join(map(str, SCALES)), help="Divide width and height by this.")
    ] = 1,
    max_pixels: MaxPixels = MAX_PIXELS,
    quiet: Quiet = False,
) -> None:
    """Show a .vqz file, or a picture of a pack.

    The system's viewer gets a temporary PNG, which is removed afterwards. Terminals with the protocol of kitty or iTerm2 show the
    picture itself, others a coarse one of half blocks in 24-bit colours.
    """
    begin_with_one_thread()
    from vqcodec.io import showing
    from vqcodec.io.convert import Decoding
    from vqcodec.io.unpacking import Unpacking

    if place is None:
        place = "viewer" if showing.has_viewer(os.environ) else "terminal"
        if place == "terminal" and not sys.stdout.isatty():
            raise UsageError("no display and no terminal to show a picture: decode it to a file, or view --in terminal")
    options = DecodeOptions(refine=refine, scale=scale)
    shown = source if name is None else Path(name)
    with termination_raises(), TemporaryDirectory(prefix="vqcodec-", ignore_cleanup_errors=True) as folder:
        picture = Path(folder) / f"{'picture' if shown == STREAM else shown.stem}.png"
        with progress_line(quiet=quiet):
            if name is None:
                done = Decoding(options=options, model=model, max_pixels=max_pixels).convert(source, picture, overwrite=False)
            else:
                done = Unpacking(source=source, options=options, model=model, max_pixels=max_pixels).only(name, picture)
        if not quiet:
            for note in done.notes:
                tell(f"note: {note}")
        if place == "terminal":
            sys.stdout.buffer.write(showing.terminal_bytes(picture, os.environ, shutil.get_terminal_size()))
            sys.stdout.flush()
        else:
            showing.open_in_viewer(picture)
            _wait(name_of(shown))


def _wait(name: str) -> None:
    """Wait until the viewer has the picture: for Enter at a terminal, else _WITHOUT_TERMINAL_S."""
    if sys.stdin.isatty():
        tell(f"opened a temporary copy of {name}; Enter removes it")
        sys.stdin.readline()
    else:
        time.sleep(_WITHOUT_TERMINAL_S)
