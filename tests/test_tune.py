"""`--tune ssim`: lambda, cell by cell, and what it does to errors."""

from pathlib import Path

import numpy as np
import pytest

from vqcodec import api, dct, rate, registry
from vqcodec.bands import COLOR_4X4, COLOR_8X8, GREY
from vqcodec.bench.metrics import measure
from vqcodec.cli import main
from vqcodec.convert import EncodeOptions
from vqcodec.errors import InputError
from vqcodec.imageio import read_image
from vqcodec.model import AC_SET
from vqcodec.symbols import EncoderWriter, Weighting
from vqcodec.vq import FACTORS


def half_busy(side: int, components: int) -> np.ndarray:
    """Faint texture on the left, strong on the right."""
    noise = np.random.default_rng(0).normal(0, 1, (side, side, 1))
    strength = np.where(np.arange(side) < side // 2, 3, 40)[None, :, None]
    return np.broadcast_to(np.clip(128 + strength * noise, 0, 255), (side, side, components)).astype(np.uint8)


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_lambda_is_small_where_it_is_quiet(layout) -> None:
    pixels = half_busy(256, layout.components)
    coefficients = dct.forward(pixels, layout, registry.find("photo-lite").color)
    factors = rate.masking(coefficients, (32, 32), layout).reshape(32, 32)
    assert factors.dtype == np.float32
    assert factors[:, :12].max() < 0.8
    assert factors[:, 20:].min() > 1.2
    assert np.exp(np.log(factors).mean()) == pytest.approx(1, abs=0.02)
    assert (np.diff(factors.mean(axis=0)[11:20]) > 0).all()  # from one to the other, over the cells around
    turned = rate.masking(coefficients[:, ::-1], (32, 32), layout).reshape(32, 32)
    np.testing.assert_allclose(factors, turned[::-1, ::-1], rtol=1e-4)


def test_lambda_is_as_it_was_in_a_flat_picture() -> None:
    flat = np.full((64, 64, 1), 100, np.uint8)
    color = registry.find("photo-lite").color
    np.testing.assert_allclose(rate.masking(dct.forward(flat, GREY, color), (8, 8), GREY), 1, rtol=1e-5)


def test_lambda_grows_with_frequency_and_stays_within_its_bounds() -> None:
    for layout in (GREY, COLOR_4X4, COLOR_8X8):
        factors = dict(zip(layout.positions, rate.tilt(layout).tolist(), strict=True))
        assert all(factors[component, 0, 0] == 1 for component in range(layout.components))
        assert factors[0, 0, 1] == factors[0, 1, 0] < factors[0, 1, 2] < factors[0, 2, 3] < factors[0, 7, 0]
        assert factors[0, 1, 2] == pytest.approx(1)
    cells = np.geomspace(0.01, 100, 40).astype(np.float32)
    model = registry.find("photo-lite")
    writer = EncoderWriter(model, np.zeros((GREY.channels, 40), np.float32), 0.13, Weighting(cells, rate.tilt(GREY)))
    writer.start_layer(0)
    for tile in GREY.tiles:
        writer.code(AC_SET, tile.channels, np.arange(40), np.zeros((tile.size, 40), np.int32), np.zeros(40, np.uint8))
        assert (writer.factors.min(), writer.factors.max()) == pytest.approx(FACTORS)


@pytest.mark.parametrize("model", ["photo-lite", "photo"])
def test_errors_go_where_they_are_not_seen(model: str, samples: Path) -> None:
    pixels = read_image(samples / "still_life.png").pixels[40:296, 40:296]
    coefficients = dct.forward(pixels, COLOR_8X8, registry.find(model).color)
    seen = 1 / rate.masking(coefficients, (32, 32), COLOR_8X8).reshape(32, 32)
    files = {tune: api.encode(pixels, bpp=0.5, model=model, tune=tune) for tune in rate.TUNES}
    assert 0.97 < len(files["ssim"]) / len(files["psnr"]) < 1.03
    errors = {}
    for tune, data in files.items():
        squares = (api.decode(data).astype(float) - pixels).reshape(32, 8, 32, 8, 3) ** 2
        errors[tune] = squares.mean(axis=(1, 3, 4))
    gain = np.log(errors["ssim"] / errors["psnr"])
    assert np.corrcoef(gain.reshape(-1), seen.reshape(-1))[0, 1] < -0.1  # more is gained where errors are seen
    likeness = {tune: measure(pixels, api.decode(data)).ms_ssim for tune, data in files.items()}
    assert likeness["ssim"] > likeness["psnr"]


def test_tune_is_an_option_of_every_way_to_encode(tmp_path: Path) -> None:
    from PIL import Image

    import vqcodec.pillow  # noqa: F401  # registers

    pixels, photo = half_busy(64, 3), tmp_path / "a.png"
    Image.fromarray(pixels).save(photo)
    options = {"quality": 30, "model": "photo-lite"}
    wanted = api.encode(pixels, tune="ssim", **options)
    assert wanted != api.encode(pixels, **options)
    assert EncodeOptions().tune == "psnr"
    assert main(["encode", str(photo), str(tmp_path / "a.vqz"), "-q", "30", "-m", "photo-lite", "--tune", "ssim", "--strip"]) == 0
    assert (tmp_path / "a.vqz").read_bytes() == wanted
    Image.fromarray(pixels).save(tmp_path / "b.vqz", tune="ssim", **options)
    assert (tmp_path / "b.vqz").read_bytes() == wanted
    assert main(["encode", str(photo), str(tmp_path / "c.vqz"), "--tune", "grain"]) == 2
    with pytest.raises(InputError, match="tune is one of psnr, ssim"):
        api.encode(pixels, tune="grain")
