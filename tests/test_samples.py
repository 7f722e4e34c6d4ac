"""The sample pictures are small, readable and drawn by the scripts beside them; the demo runs on them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.processes import program_environment
from vqcodec.io.image_reader import read_image

FLAT = {"pixel_art", "page"}
"""Pictures of flat colours and sharp text: PNG may be smaller than a DCT codec at the default quality."""


def test_they_are_few_small_and_plain(samples: Path) -> None:
    pictures = sorted(samples.glob("*.png"))
    assert 4 <= len(pictures) <= 6
    assert sum(path.stat().st_size for path in pictures) < 3_000_000
    shapes = {path.stem: read_image(path).pixels.shape for path in pictures}
    assert all(read_image(path).notes == () for path in pictures)
    assert len(shapes["scan"]) == 2
    assert shapes["still_life"] == shapes["landscape"] == (512, 768, 3)


def test_the_script_still_draws_them(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(samples)
    import documents

    with Image.open(samples / "pixel_art.png") as image:
        np.testing.assert_array_equal(documents.pixel_art(), np.asarray(image))


@pytest.mark.slow
def test_demo(samples: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(samples / "demo.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env=program_environment(),
        check=True,
    )
    for path in samples.glob("*.png"):
        assert f"{path.name} " in done.stdout
        assert (tmp_path / path.name).exists()
    assert "page.png and pixel_art.png grew" in done.stdout
    for path in samples.glob("*.png"):
        assert (tmp_path / f"{path.stem}.vqz").stat().st_size < path.stat().st_size or path.stem in FLAT
    with Image.open(tmp_path / "comparison.png") as strip:
        assert strip.width > 3 * strip.height
