"""`--tune ssim`: words of sizes of their own in each cell, lambda by frequency, and what both do to errors."""

import io
from pathlib import Path

import numpy as np
import pytest

from vqcodec import api, container, masking, rate, registry
from vqcodec.bands import COLOR_4X4, COLOR_8X8, GREY
from vqcodec.bench.metrics import measure
from vqcodec.cli import main
from vqcodec.convert import EncodeOptions
from vqcodec.errors import InputError
from vqcodec.imageio import read_image
from vqcodec.model import AC_SET
from vqcodec.symbols import EncoderWriter
from vqcodec.vq import FACTORS, NATURAL, UNIT, resized

STEP = 64 * 16


def half_busy(side: int, components: int) -> np.ndarray:
    """Faint texture on the left, strong on the right; in squares of four pixels, so that means of cells differ, too."""
    noise = np.random.default_rng(0).normal(0, 1, (side // 4, side // 4)).repeat(4, 0).repeat(4, 1)
    strength = np.where(np.arange(side) < side // 2, 3, 40)
    return np.broadcast_to(np.clip(128 + strength * noise, 0, 255)[:, :, None], (side, side, components)).astype(np.uint8)


def dcs_of(means: np.ndarray) -> np.ndarray:
    """DC latents at STEP of cells with these means, in grey levels."""
    return np.rint(np.asarray(means, float) * 8 * UNIT * 64 / STEP).astype(np.int16)


def test_activity_is_the_mean_square_of_differences_to_the_cells_beside() -> None:
    means = np.zeros((9, 9))
    means[4, 4] = 100
    found = masking.activity(dcs_of(means), STEP).reshape(9, 9) / 2304
    far = np.maximum.outer(np.abs(np.arange(9) - 4), np.abs(np.arange(9) - 4))
    assert not found[far > 2].any()
    # nine cells of four differences each: all four of the middle, and one of each beside it
    np.testing.assert_allclose(found[far <= 1][[0, 2, 6, 8]], 100**2 * (4 + 2) / 36, rtol=0.01)
    assert found[4, 4] == pytest.approx(100**2 * (4 + 4) / 36, rel=0.01)
    assert found[2, 4] == pytest.approx(100**2 * 1 / 36, rel=0.01)
    assert masking.activity(dcs_of(np.full((3, 4), 200)), STEP).tolist() == [0] * 12


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_activity_turns_with_the_picture(turn) -> None:
    dcs = dcs_of(np.random.default_rng(1).integers(0, 256, (7, 7)))
    found = masking.activity(dcs, STEP).reshape(7, 7)
    np.testing.assert_array_equal(masking.activity(turn(dcs), STEP).reshape(7, 7), turn(found))


def test_words_are_small_where_it_is_quiet() -> None:
    rng = np.random.default_rng(2)
    means = 128 + np.where(np.arange(24) < 12, 1, 60) * rng.choice((-1, 1), (8, 24))
    assert masking.mask_of(dcs_of(means), STEP, 0) is None
    last = 1.0
    for strength in range(1, masking.STRENGTHS):
        mask = masking.mask_of(dcs_of(means), STEP, strength)
        assert mask is not None
        sizes, scores = mask.sizes.reshape(8, 24), mask.scores.reshape(8, 24)
        assert (sizes[:, :10] < NATURAL).all()
        assert (sizes[:, 14:] > NATURAL).all()
        assert (np.sign(scores) == np.sign(NATURAL - sizes)).all()  # classes of smaller words are larger
        contrast = sizes[:, 14:].min() / sizes[:, :10].max()
        assert contrast > last
        last = contrast
    assert (sizes.min(), sizes.max()) >= (NATURAL // 2, NATURAL)
    assert sizes.max() <= 2 * NATURAL


def test_the_step_changes_nothing_but_rounding() -> None:
    means = np.random.default_rng(3).integers(0, 100, (12, 12))
    sizes = []
    for step in (STEP // 4, STEP):
        mask = masking.mask_of(np.rint(means * 8.0 * UNIT * 64 / step).astype(np.int16), step, 5)
        assert mask is not None
        sizes.append(mask.sizes)
    np.testing.assert_allclose(*sizes, rtol=0.05)  # a level is 4.4 %


def test_resized_words_are_rounded_half_up() -> None:
    words = np.array([[-3, -2, -1, 0, 1, 2, 3], [16, 32, 48, -16, -32, -48, 5]], np.int32)
    assert resized(words, NATURAL) is words
    np.testing.assert_array_equal(resized(words, NATURAL // 2), (words + 1) >> 1)
    sizes = np.array([128, 181, 215, 256, 304, 362, 512], np.int32)
    np.testing.assert_array_equal(resized(words, sizes), np.floor(words * (sizes / 256) + 0.5))


def test_lambda_grows_with_frequency_and_stays_within_its_bounds() -> None:
    for layout in (GREY, COLOR_4X4, COLOR_8X8):
        factors = dict(zip(layout.positions, rate.tilt(layout).tolist(), strict=True))
        assert all(factors[component, 0, 0] == 1 for component in range(layout.components))
        assert factors[0, 0, 1] == factors[0, 1, 0] < factors[0, 1, 2] < factors[0, 2, 3] < factors[0, 7, 0]
        assert factors[0, 1, 2] == pytest.approx(1)
    found = []
    for power in (1, 9):
        targets = np.zeros((GREY.channels, 4), np.float32)
        writer = EncoderWriter(registry.find("photo-lite"), targets, 0.13, rate.tilt(GREY) ** power)
        writer.start_layer(0)
        for tile in GREY.tiles:
            writer.code(AC_SET, tile.channels, np.arange(4), np.zeros((tile.size, 4), np.int32), np.zeros(4, np.uint8))
            found.append(writer.factor)
    assert (min(found), max(found)) == pytest.approx(FACTORS)


@pytest.mark.parametrize("components", [1, 3])
def test_errors_go_where_it_is_busy(components: int) -> None:
    pixels = half_busy(256, components).squeeze()
    files = {tune: api.encode(pixels, bpp=0.5 * components, model="photo-lite", tune=tune) for tune in rate.TUNES}
    assert [container.read_file(files[tune])[0].masking for tune in rate.TUNES] == [0, 5]
    errors = {tune: (api.decode(data).astype(float) - pixels) ** 2 for tune, data in files.items()}
    quiet, busy = (np.s_[:, :112], np.s_[:, 144:])
    assert errors["ssim"][quiet].mean() < 0.8 * errors["psnr"][quiet].mean()
    assert errors["ssim"][busy].mean() > errors["psnr"][busy].mean()


@pytest.mark.parametrize("model", ["photo-lite", "photo"])
def test_likeness_is_gained(model: str, samples: Path) -> None:
    pixels = read_image(samples / "still_life.png").pixels[40:296, 40:296]
    files = {tune: api.encode(pixels, bpp=0.5, model=model, tune=tune) for tune in rate.TUNES}
    assert 0.97 < len(files["ssim"]) / len(files["psnr"]) < 1.03
    likeness = {tune: measure(pixels, api.decode(data)).ms_ssim for tune, data in files.items()}
    assert likeness["ssim"] > likeness["psnr"] + 0.001


def test_parts_of_a_masked_file_are_those_of_the_whole(samples: Path) -> None:
    pixels = read_image(samples / "still_life.png").pixels
    data = api.encode(pixels, quality=40, model="photo-lite", tune="ssim", tile=128)
    whole = api.decode(data)
    with api.open_vqz(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(opened.read((100, 90, 150, 60)), whole[90:150, 100:250])
        half = opened.read(scale=2).astype(float)
    h, w = (side // 2 * 2 for side in whole.shape[:2])
    means = whole[:h, :w].astype(float).reshape(h // 2, 2, w // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(half[: h // 2, : w // 2] - means).mean() < 2


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
