"""vqcodec in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from helpers.paths import REPOSITORY

Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


def program_command(*arguments: object) -> list[str]:
    """The command line that runs this checkout's vqcodec."""
    return [sys.executable, "-m", "vqcodec", *map(str, arguments)]


def restore_default_signals() -> None:
    """Handle signals as in a program started from a terminal. The tests themselves may run in the background or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def program_environment() -> dict[str, str]:
    """The environment, with this checkout importable from any folder."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}
