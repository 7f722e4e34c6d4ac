"""Pictures for terminals, by their bytes."""

import base64
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcodec.io import showing

SIZE = os.terminal_size((80, 24))


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "tmux-256color", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, None),
        ({}, None),
    ],
)
def test_the_protocol_follows_from_the_variables(environment: dict[str, str], protocol: str | None) -> None:
    assert showing.terminal_protocol(environment) == protocol


def save(tmp_path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_kitty_gets_the_png_in_chunks(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)  # a PNG of more than two chunks
    written = showing.terminal_bytes(save(tmp_path, pixels), {"TERM": "xterm-kitty"}, SIZE)
    assert re.fullmatch(rb"(\x1b_G[^\x1b]*\x1b\\)+\n", written)
    commands = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", written)
    assert commands[0][0] == b"a=T,f=100,c=9,m=1"
    assert [keys for keys, _ in commands[1:]] == [b"m=1"] * (len(commands) - 2) + [b"m=0"]
    assert all(len(text) <= 4096 for _, text in commands)
    shown = Image.open(io.BytesIO(base64.b64decode(b"".join(text for _, text in commands))))
    np.testing.assert_array_equal(np.asarray(shown), pixels)


def test_iterm_gets_the_png_at_once_and_large_pictures_reduced(tmp_path: Path) -> None:
    path = save(tmp_path, np.zeros((40, 2 * showing.LARGEST_SIDE), np.uint8))
    written = showing.terminal_bytes(path, {"TERM_PROGRAM": "WezTerm"}, SIZE)
    found = re.fullmatch(rb"\x1b\]1337;File=inline=1;size=(\d+);width=80:([^\x07]*)\x07\n", written)
    assert found
    data = base64.b64decode(found[2])
    assert len(data) == int(found[1])
    assert Image.open(io.BytesIO(data)).size == (showing.LARGEST_SIDE, 20)


def test_half_blocks_hold_two_pixels_each(tmp_path: Path) -> None:
    pixels = np.array([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]], [[13, 14, 15], [16, 17, 18]]], np.uint8)
    written = showing.terminal_bytes(save(tmp_path, pixels), {}, SIZE).decode()
    first = "\x1b[38;2;1;2;3;48;2;7;8;9m▀\x1b[38;2;4;5;6;48;2;10;11;12m▀\x1b[0m\n"
    assert written == first + "\x1b[38;2;13;14;15;48;2;0;0;0m▀\x1b[38;2;16;17;18;48;2;0;0;0m▀\x1b[0m\n"


@pytest.mark.parametrize("shape", [(1000, 30), (30, 1000), (1000, 1000, 3), (1, 1)])
def test_half_blocks_fit_the_terminal(tmp_path: Path, shape: tuple[int, ...]) -> None:
    lines = showing.terminal_bytes(save(tmp_path, np.zeros(shape, np.uint8)), {}, SIZE).decode().splitlines()
    assert 1 <= len(lines) < SIZE.lines
    assert 1 <= max(line.count("▀") for line in lines) <= SIZE.columns


def test_grey_of_16_bits_and_transparency_become_colours_of_8(tmp_path: Path) -> None:
    written = showing.terminal_bytes(save(tmp_path, np.full((2, 1), 0x8040, np.uint16)), {}, SIZE)
    assert written.startswith(b"\x1b[38;2;128;128;128;48;2;128;128;128m")
    clear = np.zeros((2, 1, 4), np.uint8)
    assert showing.terminal_bytes(save(tmp_path, clear), {}, SIZE).startswith(b"\x1b[38;2;128;128;128;48;2;128;128;128m")


def test_a_viewer_needs_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not showing.has_viewer({"DISPLAY": ":0"}, "linux")
    (tmp_path / "xdg-open").write_text("#!/bin/sh\n")
    (tmp_path / "xdg-open").chmod(0o755)
    assert showing.has_viewer({"DISPLAY": ":0"}, "linux")
    assert showing.has_viewer({"WAYLAND_DISPLAY": "wayland-0"}, "linux")
    assert not showing.has_viewer({}, "linux")
    assert showing.has_viewer({}, "darwin")
