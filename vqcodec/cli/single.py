"""Commands with one output: checks of its name, and the report of a conversion."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vqcodec.cli.options import UsageError
from vqcodec.cli.printing import print_json, tell
from vqcodec.errors import printable
from vqcodec.io.files import STDOUT, STREAM

if TYPE_CHECKING:
    from vqcodec.io.convert import Converted


def check_json(as_json: bool, output: Path | None) -> None:
    """Refuse --json if the output goes to standard output as well."""
    if as_json and output in STDOUT:
        raise UsageError("--json and an output on standard output exclude each other")


def check_picture_name(command: str, output: Path) -> None:
    """Refuse the name of a .vqz file for a picture."""
    if output.suffix.lower() == ".vqz":
        hint = "; several inputs must exist" if command == "decode" else "; use encode to make a .vqz file"
        raise UsageError(f"{printable(output)} is a .vqz file's name, and {command} writes pictures: OUT.png, OUT.jpg, ...{hint}")


def check_not_stdout(output: Path) -> None:
    """Refuse a stream as output of a command that prints a report."""
    if output == STREAM:
        raise UsageError("standard output is for the report: name a file to write")


def report_file(
    source: Path | None, output: Path, done: "Converted", facts: Mapping[str, object], *, as_json: bool, quiet: bool
) -> None:
    """Print the result of one conversion: JSON if asked for, and notes unless quiet."""
    if as_json:
        print_json(
            input=None if source is None else str(source),
            output=str(output),
            width=done.width,
            height=done.height,
            channels=done.channels,
            bytes=done.bytes_out,
            **facts,
            notes=list(done.notes),
        )
    if not quiet:
        for note in done.notes:
            tell(f"note: {note}")
