"""vqcodec without the calls that Windows lacks. They are taken away here; nothing is tried on Windows itself."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.processes import program_environment

# What vqcodec imports is imported first: the standard library chooses by platform when it is imported. sys.platform is changed for
# vqcodec's own modules, which read it when they run.
WITHOUT = """
import asyncio, concurrent.futures, ctypes, multiprocessing, os, selectors, shutil, signal, subprocess, sys, tempfile
import numpy, numpy.random, PIL.Image, PIL.PngImagePlugin, rich.console, safetensors.numpy, threadpoolctl, typer, zstandard
import vqcodec.cli.main, vqcodec.api

assert os.O_WRONLY == 1
for module, names in (
    (os, "fork fchmod O_NONBLOCK sched_getaffinity register_at_fork mkfifo getuid geteuid pread nice getpgid killpg setsid"),
    (signal, "SIGPIPE SIGHUP SIGALRM SIGKILL setitimer ITIMER_REAL pthread_sigmask SIG_BLOCK SIG_SETMASK"),
):
    for name in names.split():
        delattr(module, name)
for module in [name for name in sys.modules if name.startswith("vqcodec")]:
    del sys.modules[module]
sys.platform = "win32"
os.O_BINARY, opened, open_file = 1 << 30, [], os.open

def checked(path, flags, *rest, **more):
    if str(path).endswith(".tmp"):
        assert flags & os.O_BINARY, path
        opened.append(path)
    return open_file(path, flags & ~os.O_BINARY, *rest, **more)

os.open = checked
def refused(*arguments, **options):
    raise AssertionError(arguments)

utime = os.utime
os.utime = lambda path, *rest, **more: refused(path) if isinstance(path, int) else utime(path, *rest, **more)
subprocess.Popen = selectors.DefaultSelector = refused

from vqcodec.cli.main import main

for words in WORDS:
    code = main(words)
    assert code == 0, (words, code)
assert opened
"""


@pytest.mark.slow
def test_the_calls_that_windows_lacks_are_not_needed(photo: Path, vqz: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(photo.read_bytes())
    words = [
        ["encode", "photo.png", "new.vqz", "--keep-times"],
        ["encode", "photo.png", "new.vqz", "-f", "--threads", "2"],
        ["decode", "photo.vqz", "new.png"],
        ["decode", "photo.vqz", "new.png", "-f", "--threads", "2"],
        ["encode", "in", "out", "-j", "2", "--manifest", "m.jsonl"],
        ["decode", "out", "again", "-j", "2"],
        ["verify", "out"],
        ["info", "photo.vqz", "-v"],
        ["view", "photo.vqz", "--in", "terminal"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", f"WORDS = {json.dumps(words)}\n{WITHOUT}"],
        cwd=tmp_path,
        env=program_environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    same = {hashlib.sha256((tmp_path / "out" / name).read_bytes()).digest() for name in ("a.vqz", "b.vqz")}
    assert same == {hashlib.sha256(vqz.read_bytes()).digest()}
