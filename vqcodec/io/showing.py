"""Pictures on a screen: in the system's viewer, or as bytes that a terminal shows."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import Image

from vqcodec.errors import OutputError

LARGEST_SIDE: Final = 1600
"""Pixels of the longer side of a picture that is sent to a terminal."""
_CELL_WIDTH: Final = 8
"""Pixels of a terminal's column, about: a smaller picture is not enlarged."""
_CHUNK: Final = 4096
"""Base64 characters of one kitty command; more are refused."""

# ------------------------------------------------------------------------------------------------ viewer


def has_viewer(environment: Mapping[str, str], system: str = sys.platform) -> bool:
    """Whether the system can open a picture: macOS and Windows, elsewhere a display with xdg-open."""
    if system in ("darwin", "win32"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")) and shutil.which("xdg-open") is not None


def open_in_viewer(path: Path) -> None:
    """Open a picture in the system's viewer, which may still run afterwards. Raises OutputError."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    program = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        code = subprocess.run([program, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise OutputError(f"{program} cannot be run: {error.strerror}") from error
    if code:
        raise OutputError(f"{program} failed with exit code {code}: decode the file to a picture, or use --in terminal")


# ------------------------------------------------------------------------------------------------ terminal


def terminal_bytes(path: Path, environment: Mapping[str, str], size: os.terminal_size) -> bytes:
    """A picture file for a terminal: by the protocol of kitty or iTerm2 if it knows one, else as half blocks."""
    with Image.open(path) as picture:
        protocol = terminal_protocol(environment)
        if protocol is None:
            return half_blocks(picture, size)
        shown = _shallow(picture)
    shown.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = BytesIO()
    shown.save(stream, "PNG")
    columns = min(size.columns, -(-shown.width // _CELL_WIDTH))
    return (kitty_bytes if protocol == "kitty" else iterm_bytes)(stream.getvalue(), columns) + b"\n"


def terminal_protocol(environment: Mapping[str, str]) -> str | None:
    """The protocol for pictures that a terminal knows by its variables: "kitty", "iterm" or None. Multiplexers pass none on."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux")):
        return None
    if "kitty" in term or "ghostty" in term or "KITTY_WINDOW_ID" in environment or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return None


def kitty_bytes(png: bytes, columns: int) -> bytes:
    """A PNG in kitty's graphics protocol: base64 in chunks, each but the last with m=1."""
    text = base64.b64encode(png)
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    commands = []
    for number, chunk in enumerate(chunks):
        keys = f"a=T,f=100,c={columns}," if number == 0 else ""
        commands.append(b"\x1b_G%sm=%d;%s\x1b\\" % (keys.encode(), number < len(chunks) - 1, chunk))
    return b"".join(commands)


def iterm_bytes(png: bytes, columns: int) -> bytes:
    """A PNG in the protocol of iTerm2, which WezTerm and mintty know, too."""
    return b"\x1b]1337;File=inline=1;size=%d;width=%d:%s\x07" % (len(png), columns, base64.b64encode(png))


def half_blocks(picture: Image.Image, size: os.terminal_size) -> bytes:
    """A picture in characters for upper halves, two pixels each, in 24-bit colours as UTF-8, so that it fits the terminal above a
    line. Transparency is shown on mid grey."""
    rgba = _shallow(picture).convert("RGBA")
    colours = Image.alpha_composite(Image.new("RGBA", rgba.size, (128, 128, 128, 255)), rgba).convert("RGB")
    colours.thumbnail((max(1, size.columns), max(2, 2 * (size.lines - 1))), Image.Resampling.BOX)
    width, height = colours.size
    padded = Image.new("RGB", (width, height + height % 2))
    padded.paste(colours)
    pixels: Any = padded.load()
    lines = []
    for y in range(0, padded.height, 2):
        pairs = [(*pixels[x, y], *pixels[x, y + 1]) for x in range(width)]
        lines.append("".join("\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*pair) for pair in pairs) + "\x1b[0m\n")
    return "".join(lines).encode()


def _shallow(picture: Image.Image) -> Image.Image:
    """A picture of 8 bits; Pillow opens colour as such, and grey of 16 bits as I;16."""
    return picture.point(lambda level: level / 256).convert("L") if picture.mode.startswith("I") else picture.copy()
