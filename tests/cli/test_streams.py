"""Standard streams, links, pipes and odd names."""

import json
import os
import shlex
import subprocess
import threading
from pathlib import Path

import pytest

import vqcodec
from helpers.commands import pixels_of, run
from helpers.marks import fast_first
from helpers.processes import Program, program_command, program_environment


def test_streams(photo: Path, program: Program) -> None:
    encoded = program("encode", "-", "-", stdin=photo.read_bytes())
    assert encoded.returncode == 0
    assert encoded.stdout == vqcodec.encode(pixels_of(photo))
    decoded = program("decode", "-", "-", stdin=encoded.stdout)
    assert decoded.returncode == 0
    assert decoded.stdout.startswith(b"\x89PNG")
    assert program("verify", "-", stdin=encoded.stdout).stdout == b"-: ok\n"
    assert json.loads(program("info", "-", "--json", stdin=encoded.stdout).stdout)["width"] == 48


@pytest.mark.slow
def test_a_stream_is_read_from_its_position(vqz: Path, photo: Path, tmp_path: Path) -> None:
    for name, source in (("a.png", vqz), ("a.vqz", photo)):
        (tmp_path / "in").write_bytes(b"head\n" + source.read_bytes())
        command = program_command("decode" if name == "a.png" else "encode", "-", tmp_path / name)
        with open(tmp_path / "in", "rb", buffering=0) as stream:
            assert stream.read(5) == b"head\n"
            subprocess.run(command, stdin=stream, env=program_environment(), timeout=60, check=True)


def test_a_file_that_a_shell_appends_to_is_not_truncated(vqz: Path, tmp_path: Path) -> None:
    (tmp_path / "all").write_bytes(b"before")
    with (tmp_path / "all").open("ab") as stream:
        command = program_command("decode", vqz, "/dev/stdout")
        subprocess.run(command, stdout=stream, env=program_environment(), timeout=60, check=True)
    assert (tmp_path / "all").read_bytes().startswith(b"before\x89PNG")


def test_a_file_named_like_a_stream(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "encode", photo, "./-")[:2] == (0, "")
    assert run(capsys, "verify", "./-")[0] == 0
    assert vqcodec.decode((tmp_path / "-").read_bytes()).shape == pixels_of(photo).shape


@pytest.mark.parametrize(
    "command", fast_first([["info"], ["--help"], ["info", "--json"], ["verify"], ["compare"], ["models"], ["--version"]], 2)
)
def test_a_full_disk_under_standard_output(vqz: Path, photo: Path, command: list[str]) -> None:
    names = {"info": [vqz], "verify": [vqz], "compare": [vqz, photo]}.get(command[0], [])
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            program_command(*command, *names),
            stdout=full,
            stderr=subprocess.PIPE,
            env=program_environment(),
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (5, b"vqcodec: cannot write standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("closed", "command", "code", "error"),
    fast_first(
        [
            (">&-", "decode a.vqz -", 5, "cannot write standard output"),
            ("<&-", "decode - b.png", 3, "cannot read standard input"),
            ("2>&-", "decode a.vqz b.xyz", 5, ""),
            (">&-", "info a.vqz", 5, "cannot write standard output"),
            (">&-", "decode a.vqz b.png", 0, ""),
        ],
        1,
    ),
)
def test_closed_streams(vqz: Path, tmp_path: Path, closed: str, command: str, code: int, error: str) -> None:
    (tmp_path / "a.vqz").write_bytes(vqz.read_bytes())
    line = f"{shlex.join(program_command(*command.split()))} {closed}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, env=program_environment(), timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.count(b"\n") == bool(error)
    assert error in done.stderr.decode()
    assert (tmp_path / "a.vqz").read_bytes() == vqz.read_bytes()


def test_links_and_pipes(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").symlink_to(photo)
    (tmp_path / "out").symlink_to("real.vqz")
    assert run(capsys, "encode", tmp_path / "in", tmp_path / "out")[0] == 0
    assert (tmp_path / "out").is_symlink()
    assert run(capsys, "verify", tmp_path / "real.vqz")[0] == 0

    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(photo.read_bytes()))
    writer.start()
    assert run(capsys, "encode", tmp_path / "pipe", tmp_path / "from_pipe.vqz")[0] == 0
    writer.join(10)
    assert (tmp_path / "from_pipe.vqz").read_bytes() == (tmp_path / "real.vqz").read_bytes()


@pytest.mark.parametrize("stem", ["ünïcödé ✓", "new\nline", "x" * 251, "-dash", "\udcff"])
def test_odd_names(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    photo.rename(f"{stem}.png")
    assert run(capsys, "encode", "--quiet", "--", f"{stem}.png", f"{stem}.vqz") == (0, "", "")
    code, out, _ = run(capsys, "verify", "--", f"{stem}.vqz")
    assert (code, out.count("\n")) == (0, 1)
    code, _, err = run(capsys, "encode", "--", f"{stem}.png", f"{stem}.vqz")
    assert (code, err.count("\n")) == (5, 1)
