"""The sample pictures are small, readable and drawn by the scripts beside them; the demo runs on them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.processes import program_environment
from vqcodec import api
from vqcodec.io.image_reader import read_image


def test_they_are_few_small_and_plain(samples: Path) -> None:
    pictures = sorted(samples.glob("*.png"))
    assert len(pictures) == 11
    assert sum(path.stat().st_size for path in pictures) < 2_000_000
    read = {path.stem: read_image(path) for path in pictures}
    assert all(picture.notes == () for picture in read.values())
    shapes = {name: picture.pixels.shape for name, picture in read.items()}
    assert [name for name, shape in shapes.items() if len(shape) == 2] == ["scan", "xray"]
    assert [name for name, shape in shapes.items() if shape[2:] == (4,)] == ["logo"]
    assert [name for name, picture in read.items() if picture.pixels.dtype == np.uint16] == ["landscape_deep", "xray"]
    assert shapes["still_life"] == shapes["landscape"] == (512, 768, 3)


def test_the_deep_samples_use_their_bits(samples: Path) -> None:
    for name in ("landscape_deep", "xray"):
        pixels = read_image(samples / f"{name}.png").pixels
        assert len(np.unique(pixels & 0xFF)) == 256
        assert np.ptp(pixels) > 50_000


def test_the_script_still_draws_them(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that have no text; text depends on the version of Pillow."""
    monkeypatch.syspath_prepend(samples)
    import deep
    import documents

    with Image.open(samples / "pixel_art.png") as image:
        np.testing.assert_array_equal(documents.pixel_art(), np.asarray(image))
    drawn = deep.xray().astype(np.int32) - read_image(samples / "xray.png").pixels
    assert np.mean(drawn == 0) > 0.99  # the noise may differ where another machine rounds otherwise


def test_drawings_have_their_shapes(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(samples)
    import drawings

    photo = read_image(samples / "still_life.png").pixels
    drawn = {
        "mixed_page": drawings.mixed_page(photo),
        "screenshot": drawings.screenshot(),
        "chart": drawings.chart(),
        "logo": drawings.logo(),
    }
    for name, pixels in drawn.items():
        assert pixels.shape == read_image(samples / f"{name}.png").pixels.shape, name
    alpha = drawn["logo"][:, :, 3]
    assert (alpha == 0).mean() > 0.3
    assert (alpha == 255).any()
    assert ((alpha > 0) & (alpha < 255)).mean() > 0.1  # soft edges


def test_a_png_of_deep_colour_is_read_as_it_was_written(samples: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(samples)
    import make_samples

    y, x = np.mgrid[:24, :31].astype(np.uint16)
    smooth = np.stack([900 * x + y, 2000 * y, 65535 - 1100 * x], 2)
    noisy = np.random.default_rng(0).integers(0, 65536, (24, 31, 3), np.uint16)
    for pixels in (smooth, noisy, np.concatenate([noisy, smooth])):
        (tmp_path / "deep.png").write_bytes(make_samples.png_of_deep_colour(pixels))
        np.testing.assert_array_equal(read_image(tmp_path / "deep.png").pixels, pixels)


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
    lossless = {}
    for path in samples.glob("*.png"):
        data = (tmp_path / f"{path.stem}.vqz").read_bytes()
        assert len(data) < path.stat().st_size
        lossless[path.stem] = api.info(data)["lossless"]
    assert lossless["pixel_art"]
    assert not lossless["still_life"]
    with Image.open(tmp_path / "comparison.png") as strip:
        assert strip.width > 3 * strip.height
