"""A headless Chromium, driven by its DevTools protocol over two pipes."""

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
TIMEOUT_S = 60
KEY_CODES = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9}


def browser_path() -> str:
    """The program; without one the test is skipped."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip(f"needs a browser: one of {', '.join(NAMES)}")


class Page:
    """An open page. `requests` has the addresses of everything that it asked for."""

    def __init__(self, write_to: BinaryIO, read_from: BinaryIO) -> None:
        self._write_to, self._read_from = write_to, read_from
        self._count, self._rest, self._session = 0, b"", ""
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        self._write_to.write(json.dumps(command | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._count:
                assert "error" not in message, message
                return message["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._read_from], [], [], TIMEOUT_S)[0], "the browser does not answer"
            piece = self._read_from.read(1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        data, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(data)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message

    def open(self, path: Path, width: int, height: int, *, touch: bool = False) -> None:
        """Open a file in a window of this size, and wait until its pictures are shown."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.call("Page.navigate", url=path.as_uri())
        self.value("new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))")
        self.settle()

    def settle(self) -> None:
        """Wait for pictures and two frames."""
        self.value(
            "Promise.all([...document.images].map(image => image.decode().catch(() => 0)))"
            ".then(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))))"
        )

    def value(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key: a character, or a name such as "ArrowLeft"."""
        text = {"text": key} if len(key) == 1 else {}
        code = {"windowsVirtualKeyCode": KEY_CODES[key]} if key in KEY_CODES else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse between two points, in pixels of the window."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def screenshot(self) -> NDArray[np.uint8]:
        """The window as uint8 [H, W, 3]."""
        self.settle()
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile."""
    (their_input, to_browser), (from_browser, their_output) = _high_pipe(), _high_pipe()
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        "--disable-extensions",
    ]
    options += ["--force-color-profile=srgb", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$0" "$@" 3<&{their_input} 4>&{their_output}', browser_path(), *options],
        pass_fds=(their_input, their_output),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_input)
    os.close(their_output)
    try:
        with os.fdopen(to_browser, "wb", buffering=0) as write_to, os.fdopen(from_browser, "rb", buffering=0) as read_from:
            yield Page(write_to, read_from)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _high_pipe() -> tuple[int, int]:
    """The reading and the writing end of a pipe, not among the descriptors 3 and 4 that the browser takes."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
