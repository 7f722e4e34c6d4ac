"""What several tests share: where things are, small pictures, and the program run as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample pictures."""
    return REPOSITORY / "samples"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder beside the checkout; tests that want it are skipped without it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    return folder


def smooth_picture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of soft gradients and a little noise: uint8 [height,width] or [height,width,3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + c) + c) + np.cos(y / (9 - c)) for c in range(channels)]
    picture = 128 + 45 * np.stack(waves, 2) + np.random.default_rng(seed).normal(0, 3, (height, width, channels))
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture[:, :, 0] if channels == 1 else picture


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 48 x 40 colour PNG."""
    path = tmp_path / "photo.png"
    Image.fromarray(smooth_picture(40, 48)).save(path)
    return path


@pytest.fixture
def vqz(photo: Path) -> Path:
    """The photo, encoded."""
    import vqcodec

    path = photo.with_suffix(".vqz")
    path.write_bytes(vqcodec.encode(np.asarray(Image.open(photo))))
    return path


def program_command(*arguments: object) -> list[str]:
    """The command line that runs this checkout's vqcodec."""
    return [sys.executable, "-m", "vqcodec", *map(str, arguments)]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run vqcodec in a process of its own, in tmp_path: `program("info", path, stdin=b"")`."""

    def run(*arguments: object, stdin: bytes = b"", **options: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            program_command(*arguments),
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            timeout=60,
            env=program_environment(),
            check=False,
            **options,  # type: ignore[call-overload]  # options of any overload
        )

    return run


def program_environment() -> dict[str, str]:
    """This process's environment, with the checkout importable from any folder."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}
