"""The command line: `main` runs a command and turns every outcome into an exit code. `vqcodec --help` lists the commands.

Results go to standard output, logs and progress to standard error. An error is one line, `vqcodec: <message>`, and an exit code:

    0    success
    1    internal error, or a process died on a file
    2    wrong usage, or a missing optional package
    3    corrupt, unsupported or unreadable input
    4    model missing, damaged or mismatched
    5    output refused or unwritable
    6    limit or memory exceeded
    7    training brings no gain on this folder, and nothing is written
    130  interrupted
    141  standard output closed by its reader

__main__.py turns the last two into deaths by a signal. For several files, the first failure decides.

Start-up is most of the time for a small picture, so a command imports what only it needs inside its function.
"""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Final

import typer

from vqcodec.cli.options import USAGE, GroupedCommand, UsageError
from vqcodec.cli.printing import tell
from vqcodec.errors import VqcodecError
from vqcodec.io.files import BrokenPipeOutputError, open_closed_streams, stdout_error

INTERNAL, OUT_OF_MEMORY, INTERRUPTED, BROKEN_PIPE = 1, 6, 130, 141
_STDOUT_ERRORS = {errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT}
"""Errors of writing to standard output. Code that uses other files raises VqcodecErrors."""

COMMANDS: Final = (
    "encode",
    "decode",
    "denoise",
    "generate",
    "repair",
    "info",
    "verify",
    "pack",
    "unpack",
    "list",
    "models",
    "compare",
    "view",
    "bench",
    "train",
)
"""Names of the commands, each a function of this name in a module of this name."""


def app_with(commands: Sequence[str]) -> typer.Typer:
    """The program with some of its commands; only their modules are imported."""
    app = typer.Typer(
        add_completion=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        help="An image codec that learns its codebooks from images.",
        epilog="'-' is standard input or standard output. --debug, anywhere, shows the traceback of an error.",
    )
    app.callback()(_common)
    for name in commands:
        command = getattr(import_module(f"vqcodec.cli.{name}"), name)
        summary = (command.__doc__ or "").partition("\n")[0]  # the whole line; Typer would cut it
        app.command(cls=GroupedCommand, short_help=summary)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from vqcodec import __version__

        print(f"vqcodec {__version__}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises no exception."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    names_from = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:names_from]
    words = [word for word in words[:names_from] if word != "--debug"] + words[names_from:]
    warnings.filterwarnings("ignore", module="PIL")  # remarks on files; the relevant ones are in ImageData.notes
    open_closed_streams()
    try:
        try:
            return _run(words or ["--help"])
        except Exception as error:
            if debug:
                traceback.print_exc()
            return _report(error)
    except KeyboardInterrupt:  # outermost: it may also come while an error is reported
        return INTERRUPTED


def _run(words: list[str]) -> int:
    if any(word == "" or (word.startswith("--") and word.endswith("=")) for word in words):
        raise UsageError("an argument is empty: is a shell variable not set?")  # pathlib takes "" for the current folder
    words = [os.path.abspath(word) if word == "./-" else word for word in words]  # pathlib drops "./", which makes it a file
    if words[0] == "help":
        words = [*words[1:2], "--help"]
    elif words[0] not in COMMANDS and os.path.exists(words[0]):
        command = "decode" if words[0].lower().endswith(".vqz") else "encode"
        raise UsageError(f"{words[0]} is a file, not a command: vqcodec {command} {words[0]}")
    try:
        app = app_with(words[:1] if words[0] in COMMANDS else COMMANDS)
        code = int(app(words, prog_name="vqcodec", standalone_mode=False) or 0)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # Typer would end silently
            raise stdout_error(error.__context__) from error
        raise
    sys.stdout.flush()
    return code


def _report(error: Exception) -> int:
    """Print one line on standard error and return the exit code."""
    if isinstance(error, OSError) and error.filename is None and error.errno in _STDOUT_ERRORS:
        error = stdout_error(error)
    if isinstance(error, BrokenPipeOutputError):
        return BROKEN_PIPE  # silently, like other programs
    if isinstance(error, VqcodecError):
        code, message = error.exit_code, str(error)
    elif isinstance(error, typer.TyperException):
        code, message = USAGE, _usage_message(error)
    elif isinstance(error, MemoryError):
        code, message = OUT_OF_MEMORY, "not enough memory"
    else:
        code, message = INTERNAL, f"internal error ({type(error).__name__}: {error}); --debug shows the traceback"
    tell(message)
    return code


def _usage_message(error: typer.TyperException) -> str:
    """The message of Typer's error, with a hint to the help unless it names values or suggestions."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if context is None or any(words in message for words in ("Did you mean", "Possible options", "Invalid value")):
        return message
    return f"{message.removesuffix('.')}; {context.command_path} --help lists all"
