"""Settings and fixtures of all tests."""

import io
import os
import subprocess
from pathlib import Path

# numpy and torch read these when they are imported. The matrices of tests are small, and BLAS threads that wait for each other are
# slow on a busy machine. Tests of threads set them anew for the programs that they start.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

import vqcodec
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import Program, program_command, program_environment

settings.register_profile("untimed", deadline=None)  # the machine may be busy
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample pictures."""
    return REPOSITORY / "samples"


@pytest.fixture(scope="session")
def still_life(samples: Path) -> NDArray[np.uint8]:
    """The pixels of the sample still_life.png, uint8 [H, W, 3]."""
    with Image.open(samples / "still_life.png") as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder beside the checkout. Without it the test is skipped."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def photo_png() -> bytes:
    """A 48 x 40 colour PNG."""
    stream = io.BytesIO()
    Image.fromarray(smooth_picture(40, 48)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def photo_vqz(photo_png: bytes) -> bytes:
    """The picture of `photo_png`, encoded with the default options."""
    return vqcodec.encode(np.asarray(Image.open(io.BytesIO(photo_png))))


@pytest.fixture
def photo(tmp_path: Path, photo_png: bytes) -> Path:
    """photo.png, 48 x 40 pixels in colour, in tmp_path."""
    path = tmp_path / "photo.png"
    path.write_bytes(photo_png)
    return path


@pytest.fixture
def vqz(photo: Path, photo_vqz: bytes) -> Path:
    """photo.vqz beside photo.png: the picture, encoded with the default options."""
    path = photo.with_suffix(".vqz")
    path.write_bytes(photo_vqz)
    return path


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs vqcodec in a process of its own in tmp_path: `program("info", path, stdin=b"")`."""

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
