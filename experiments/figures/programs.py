"""vqcodec in its own process, as a user starts it, and the memory that it needs."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def start_program(*arguments: object) -> "subprocess.Popen[bytes]":
    """Start `vqcodec ARGUMENTS` with default threads and compiled modules; its output is discarded."""
    command = [sys.executable, "-m", "vqcodec", *map(str, arguments)]
    settings_of_this_process = ("OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in settings_of_this_process}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_program(*arguments: object) -> None:
    """Run `vqcodec ARGUMENTS`. Raises CalledProcessError for any exit code but 0."""
    with start_program(*arguments) as process:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, process.args)


def peak_of_program(*arguments: object) -> float:
    """Peak resident memory of `vqcodec ARGUMENTS` and its worker processes in MB (10**6 bytes), sampled every 10 ms.

    Pages that processes share count once.
    """
    peak_kib = 0
    with start_program(*arguments) as process:
        while process.poll() is None:
            peak_kib = max(peak_kib, sum(map(_resident_kib, [process.pid, *_children(process.pid)])))
            time.sleep(0.01)
    return peak_kib * 1024 / 1e6


def _children(parent: int) -> list[int]:
    """Process ids of the direct children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _resident_kib(process: int) -> int:
    """Proportional set size of a process in KiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0
