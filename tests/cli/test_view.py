"""The command view."""

import io
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.commands import run
from helpers.packs import pack_of
from helpers.processes import program_command, program_environment, restore_default_signals


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A display whose viewer copies the picture to seen.png in the folder, and its path to seen.txt."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "xdg-open").write_text(f'#!/bin/sh\n/bin/cp "$1" {tmp_path}/seen.png\necho "$1" > {tmp_path}/seen.txt\n')
    (folder / "xdg-open").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_the_viewer_gets_a_temporary_picture(
    viewer: Path, vqz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vqcodec.cli.view._WITHOUT_TERMINAL_S", 0)
    assert run(capsys, "view", vqz) == (0, "", "")
    seen = Path((viewer / "seen.txt").read_text().strip())
    assert seen.name == "photo.png"
    assert not seen.parent.exists()
    np.testing.assert_array_equal(np.asarray(Image.open(viewer / "seen.png")), vqcodec.decode(vqz.read_bytes()))


def test_at_a_terminal_the_picture_stays_until_enter(
    viewer: Path, vqz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there: list[bool] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, size: int = -1) -> str:
            there.append(Path((viewer / "seen.txt").read_text().strip()).is_file())
            return "\n"

    monkeypatch.setattr("sys.stdin", Terminal())
    assert run(capsys, "view", vqz) == (0, "", f"vqcodec: opened a temporary copy of {vqz}; Enter removes it\n")
    assert there == [True]
    assert not Path((viewer / "seen.txt").read_text().strip()).exists()


@pytest.mark.slow
def test_a_signal_removes_the_temporary_picture(viewer: Path, vqz: Path) -> None:
    process = subprocess.Popen(
        program_command("view", vqz), stdin=subprocess.DEVNULL, env=program_environment(), preexec_fn=restore_default_signals
    )
    while not (viewer / "seen.txt").exists() or not (viewer / "seen.txt").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == -signal.SIGTERM
    assert not Path((viewer / "seen.txt").read_text().strip()).parent.exists()


def test_a_viewer_that_fails_is_an_error(viewer: Path, vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (viewer / "bin" / "xdg-open").write_text("#!/bin/sh\nexit 3\n")
    code, _, err = run(capsys, "view", vqz)
    assert code == 5
    assert err == "vqcodec: xdg-open failed with exit code 3: decode the file to a picture, or use --in terminal\n"


def test_without_a_display_the_terminal_shows_it(
    vqz: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "TERM_PROGRAM", "KITTY_WINDOW_ID", "LC_TERMINAL", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    from vqcodec.cli.main import main

    assert main(["view", str(vqz)]) == 2
    out, err = capsysbinary.readouterr()
    assert (out, err) == (
        b"",
        b"vqcodec: no display and no terminal to show a picture: decode it to a file, or view --in terminal\n",
    )
    assert main(["view", str(vqz), "--in", "terminal"]) == 0
    lines = capsysbinary.readouterr().out.decode().splitlines()
    assert [line.count("▀") for line in lines] == [20] * 9  # 48 x 40 pixels as 20 x 17
    red, green, blue = map(int, re.match(r"\x1b\[38;2;(\d+);(\d+);(\d+);", lines[0]).groups())
    corner = vqcodec.decode(vqz.read_bytes())[:2, :2].reshape(-1, 3).mean(axis=0)
    assert np.abs(corner - (red, green, blue)).max() < 4


def test_a_picture_of_a_pack_is_shown(
    viewer: Path, vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vqcodec.cli.view._WITHOUT_TERMINAL_S", 0)
    pack = tmp_path / "all.vqzs"
    pack.write_bytes(pack_of([{"below/photo.vqz": vqz.read_bytes()}]))
    assert run(capsys, "view", pack, "below/photo.vqz") == (0, "", "")
    assert Path((viewer / "seen.txt").read_text().strip()).name == "photo.png"
    np.testing.assert_array_equal(np.asarray(Image.open(viewer / "seen.png")), vqcodec.decode(vqz.read_bytes()))
    assert run(capsys, "view", pack) == (3, "", f"vqcodec: {pack}: a pack of pictures: unpack it\n")
    code, _, err = run(capsys, "view", pack, "nothing")
    assert (code, "no picture 'nothing'" in err) == (3, True)
    code, _, err = run(capsys, "view", vqz, "photo.png")
    assert (code, "not a .vqzs pack" in err) == (3, True)


def test_damaged_files_and_pictures_are_refused(vqz: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vqz.write_bytes(vqz.read_bytes()[:-1])
    assert run(capsys, "view", vqz, "--in", "terminal")[0] == 3
    assert run(capsys, "view", photo, "--in", "terminal")[0] == 3
