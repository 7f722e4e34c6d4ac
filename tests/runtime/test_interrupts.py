"""Signals and closed readers, as a shell sees them: the program dies by the signal, silently and without leftovers."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from helpers.processes import program_command, program_environment, restore_default_signals
from vqcodec.runtime import interrupts

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


def run_changed(change: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the program after some lines of Python that send it a signal at a certain moment."""
    script = f"import os, signal, sys\nimport vqcodec.__main__\n{textwrap.dedent(change)}\nsys.exit(vqcodec.__main__.main())"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = program_environment()
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False, preexec_fn=restore_default_signals
    )


def wait_for(process: "subprocess.Popen[Any]", library: str) -> None:
    """Wait until a process or its child has loaded a library, which is well after the program's first line."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for number in (process.pid, *children(process.pid)):
            try:
                if library in Path(f"/proc/{number}/maps").read_text():
                    return
            except OSError:  # it has ended
                pass
        time.sleep(0.01)
    raise AssertionError(f"{library} was not loaded")


def children(number: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{number}/task/{number}/children").read_text().split()]
    except OSError:
        return []


# ------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_the_program_is_imported(number: signal.Signals) -> None:
    done = run_changed(
        f"""
        class Finder:
            def find_spec(self, name, *_):
                if name == "vqcodec.cli.encode":
                    os.kill(os.getpid(), {int(number)})

        sys.meta_path.insert(0, Finder())
        """,
        "--version",
    )
    assert (done.returncode, done.stdout, done.stderr) == (-number, "", "")


@pytest.mark.parametrize("number", fast_first(ENDING))
@pytest.mark.parametrize("moment", fast_first(["os.fsync", "os.link", "os.unlink"]))
def test_a_signal_while_a_file_is_written(photo: Path, tmp_path: Path, number: signal.Signals, moment: str) -> None:
    """The file is complete or absent, and the program ends by the signal after its cleanup."""
    target = tmp_path / "out" / "a.vqz"
    target.parent.mkdir()
    change = f"""
        usual = {moment}

        def interrupted(*arguments):
            result = usual(*arguments)
            os.kill(os.getpid(), {int(number)})
            return result

        {moment} = interrupted
        """
    done = run_changed(change, "encode", photo, target)
    assert (done.returncode, done.stdout, done.stderr) == (-number, "", "")
    assert [path.name for path in target.parent.iterdir()] == ([] if moment == "os.fsync" else ["a.vqz"])
    if target.exists():
        vqcodec.verify(target.read_bytes())


@pytest.mark.parametrize("number", fast_first(ENDING))
def test_a_signal_when_all_is_done(vqz: Path, number: signal.Signals) -> None:
    """While the interpreter exits, when Python would print a traceback."""
    done = run_changed(f"import atexit; atexit.register(os.kill, os.getpid(), {int(number)})", "verify", vqz)
    assert (done.returncode, done.stdout, done.stderr) == (-number, f"{vqz}: ok\n", "")


@pytest.mark.slow
@linux
@pytest.mark.parametrize("number", fast_first(ENDING))
@pytest.mark.parametrize("send", fast_first([os.kill, os.killpg]))
def test_a_signal_while_copies_share_the_work(tmp_path: Path, number: signal.Signals, send: Any) -> None:
    Image.fromarray(np.tile(smooth_picture(150, 150), (10, 10, 1))).save(tmp_path / "a.png", compress_level=1)
    command = program_command("encode", tmp_path / "a.png", tmp_path / "a.vqz", "--threads", 3, "--tile", 128)
    process = subprocess.Popen(
        command, env=program_environment(), stderr=subprocess.PIPE, start_new_session=True, preexec_fn=restore_default_signals
    )
    deadline = time.monotonic() + 60
    while len(copies := children(process.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    send(process.pid, number)
    _, errors = process.communicate(timeout=60)  # ends when no process has standard error open
    assert (process.returncode, errors) == (-number, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    while any(os.path.exists(f"/proc/{copy}") for copy in copies):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@linux
@pytest.mark.parametrize("number", fast_first(ENDING))
def test_a_signal_to_training(tmp_path: Path, number: signal.Signals) -> None:
    """To the program alone, while models and pictures are sent to its processes: nothing is better yet, and nothing is written."""
    (tmp_path / "in").mkdir()
    for seed in range(24):  # the least number for training
        Image.fromarray(smooth_picture(256, 256, seed=seed)).save(tmp_path / "in" / f"{seed}.png")
    command = program_command("train", tmp_path / "in", "-o", tmp_path / "out" / "model", "--kind", "lite", "--quiet")
    process = subprocess.Popen(command, env=program_environment(), stderr=subprocess.PIPE, preexec_fn=restore_default_signals)
    deadline = time.monotonic() + 60
    while not (workers := children(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-number, b"")
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)
    assert list((tmp_path / "out").iterdir()) == []


@linux
@pytest.mark.parametrize("number", fast_first(ENDING))
def test_a_signal_leaves_a_terminal_its_cursor(tmp_path: Path, number: signal.Signals) -> None:
    """Progress bars usually hide the cursor, and a program that is killed cannot show it again."""
    (tmp_path / "in").mkdir()
    Image.fromarray(smooth_picture(300, 300)).save(tmp_path / "in" / "0.png")
    for copy in range(1, 20):
        shutil.copy(tmp_path / "in" / "0.png", tmp_path / "in" / f"{copy}.png")
    command = program_command("encode", tmp_path / "in", tmp_path / "out")
    terminal, end = os.openpty()
    environment = program_environment() | {"TERM": "xterm"}
    process = subprocess.Popen(command, env=environment, stderr=end, start_new_session=True, preexec_fn=restore_default_signals)
    os.close(end)
    shown = os.read(terminal, 1 << 16)
    process.send_signal(number)
    try:
        while more := os.read(terminal, 1 << 16):
            shown += more
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    assert process.wait(60) == -number
    assert b"\x1b[?25l" not in shown
    assert b"Traceback" not in shown


@linux
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_an_interrupt_ends_a_loop_of_a_shell(vqz: Path, tmp_path: Path, shell: str) -> None:
    """A shell continues its loop if the program catches the signal and exits normally."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    loop = 'for i in 1 2 3; do "$@"; echo "$i: $?"; done'
    command = [shell, "-c", loop, shell, *program_command("decode", "-", tmp_path / "a.png")]
    process = subprocess.Popen(
        command,
        env=program_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=restore_default_signals,
    )
    wait_for(process, "numpy")
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


def test_an_ignored_interrupt_stays_ignored(vqz: Path, tmp_path: Path) -> None:
    """Background processes of a shell ignore it."""
    change = "import atexit; atexit.register(os.kill, os.getpid(), signal.SIGINT)"
    script = f"import os, signal, sys, vqcodec.__main__\n{change}\nsys.exit(vqcodec.__main__.main())"
    command = f"trap '' INT; exec {shlex.join([sys.executable, '-c', script, 'verify', str(vqz)])}"
    done = subprocess.run(["sh", "-c", command], env=program_environment(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# ------------------------------------------------------------------------------------------------ broken pipes


def run_unread(stream: str, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
    """Run the program with a closed reader of its `stdout` or `stderr`."""
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: writer}
    try:
        return subprocess.run(program_command(*arguments), env=program_environment(), timeout=60, check=False, **streams)
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "command",
    fast_first(
        [
            "info a.vqz",
            "encode photo.png b.vqz --json --quiet",
            "decode a.vqz -",
            "--help",
            "info --json a.vqz",
            "verify a.vqz a.vqz",
            "models",
            "models --json",
            "compare photo.png a.vqz",
            "compare --json photo.png a.vqz",
            "encode photo.png -",
            "denoise photo.png -",
            "bench photo.png --codecs jpeg --qualities 50 --psnr-only --quiet",
            "train --help",
            "--version",
        ],
        2,
    ),
)
def test_a_closed_reader_ends_the_program_silently(
    vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "a.vqz").write_bytes(vqz.read_bytes())
    monkeypatch.chdir(tmp_path)
    done = run_unread("stdout", *command.split())
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")
    if "b.vqz" in command:
        vqcodec.verify((tmp_path / "b.vqz").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize(("stream", "code"), fast_first([("stdout", -signal.SIGPIPE), ("stderr", 3)]))
def test_a_folder_is_converted_although_its_report_is_not_read(tmp_path: Path, stream: str, code: int) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(3):
        Image.fromarray(smooth_picture(20, 30, seed=seed)).save(tmp_path / "in" / f"{seed}.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"rubbish")
    output, manifest = tmp_path / "out", tmp_path / "m"
    done = run_unread(stream, "encode", tmp_path / "in", output, "-j", 2, "-m", "photo-lite", "--json", "--manifest", manifest)
    assert done.returncode == code
    assert sorted(path.name for path in output.iterdir()) == ["0.vqz", "1.vqz", "2.vqz"]
    for path in output.iterdir():
        vqcodec.verify(path.read_bytes())
    assert manifest.read_text().count("\n") == 8  # two lines for each file
    if stream == "stderr":
        assert b'"done": 3' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("unread", fast_first([">&-", ">/dev/full"]))
def test_standard_error_that_cannot_be_written_is_no_error(vqz: Path, tmp_path: Path, unread: str) -> None:
    for words in (["decode", vqz, tmp_path / "a.png"], ["encode", vqz.with_suffix(".png"), tmp_path / "a.vqz", "-f"]):
        line = f"{shlex.join(program_command(*words))} 2{unread}"
        done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, env=program_environment(), timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, b"")
    (tmp_path / "in").mkdir()
    shutil.copy(vqz.with_suffix(".png"), tmp_path / "in")
    line = f"{shlex.join(program_command('encode', tmp_path / 'in', tmp_path / 'out'))} 2{unread}"
    subprocess.run(line, shell=True, env=program_environment(), timeout=60, check=True)
    pixels = np.asarray(Image.open(vqz.with_suffix(".png")))
    assert vqcodec.decode((tmp_path / "out" / "photo.vqz").read_bytes()).shape == pixels.shape


def test_a_named_pipe_without_reader_is_an_error_of_the_output(photo: Path, tmp_path: Path) -> None:
    """Unlike standard output, it was named as the output."""
    done = run_changed(
        f"""
        os.mkfifo({str(tmp_path / "pipe")!r})
        reader = os.open({str(tmp_path / "pipe")!r}, os.O_RDONLY | os.O_NONBLOCK)
        from vqcodec.io import files
        usual = files.write_all

        def unread(descriptor, data):
            os.close(reader)
            usual(descriptor, data)

        files.write_all = unread
        """,
        "encode",
        photo,
        tmp_path / "pipe",
    )
    assert (done.returncode, done.stderr) == (5, f"vqcodec: cannot write {tmp_path / 'pipe'}: Broken pipe\n")


def test_the_first_interrupt_asks_and_the_second_has_its_usual_effect() -> None:
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interrupts.first_interrupt(lambda: asked.append(1)):
            signal.raise_signal(signal.SIGINT)
            assert asked == [1]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):  # after the block
            signal.raise_signal(signal.SIGINT)
        assert asked == [1]
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background
        with interrupts.first_interrupt(lambda: asked.append(2)):
            signal.raise_signal(signal.SIGINT)
        assert asked == [1]
    finally:
        signal.signal(signal.SIGINT, before)
