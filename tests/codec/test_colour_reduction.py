"""Fewer colours: what is merged, and what stays."""

import numpy as np
import pytest

from vqcodec.arrays import Pixels
from vqcodec.codec.colour_reduction import reduce_colours


def discs(channels: int = 3, depth: int = 8) -> Pixels:
    """Discs of several colours with smooth edges on white."""
    y, x = np.mgrid[:96, :128].astype(np.float64)
    picture = np.full((96, 128, channels), 255.0)
    for number, colour in enumerate(((200, 30, 40), (20, 90, 200), (250, 200, 0), (0, 0, 0))):
        distance = np.hypot(y - 20 - 17 * number, x - 25 - 26 * number)
        cover = np.clip(17.3 - distance, 0, 1)[:, :, None]
        picture = picture * (1 - cover) + np.resize(colour, channels) * cover
    return np.rint(picture * ((1 << depth) - 1) / 255).astype(np.uint8 if depth == 8 else np.uint16)


def reduced(pixels: Pixels, step_levels: float = 20, lambda_: float = 0.1, *, depth: int = 8, alpha: bool = False) -> Pixels:
    return reduce_colours(pixels, None, step_levels=step_levels, lambda_=lambda_, depth=depth, alpha=alpha)


def colours(pixels: Pixels) -> int:
    return len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0))


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (1, 16), (3, 12)])
def test_shades_of_edges_are_merged_and_areas_stay(channels: int, depth: int) -> None:
    pixels = discs(channels, depth)
    found = reduced(pixels, depth=depth)
    assert colours(found) < 0.9 * colours(pixels)
    flat = (pixels[1:-1, 1:-1] == pixels[:-2, 1:-1]).all(axis=2) & (pixels[1:-1, 1:-1] == pixels[1:-1, :-2]).all(axis=2)
    np.testing.assert_array_equal(found[1:-1, 1:-1][flat], pixels[1:-1, 1:-1][flat])
    error = np.abs(found.astype(float) - pixels) / (1 << (depth - 8))
    assert 0 < error.max() <= 30


def test_a_coarser_step_leaves_fewer_colours() -> None:
    pixels = discs()
    numbers = [colours(reduced(pixels, step)) for step in (1, 5, 20, 60)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[-1]


def test_gradients_keep_their_shades_where_noise_does_not() -> None:
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[:, None] + 96, 64, axis=1)[:, :, None]
    noise = np.random.default_rng(0).permutation(ramp.reshape(-1)).reshape(ramp.shape)
    assert colours(reduced(ramp)) > 2 * colours(reduced(noise))
    assert np.abs(reduced(ramp).astype(int) - ramp).max() <= 2


def test_alpha_stays() -> None:
    rng = np.random.default_rng(0)
    opacity = rng.choice(np.array([0, 1, 100, 254, 255], np.uint8), (96, 128))
    pixels = np.dstack([discs() * (opacity > 0)[:, :, None], opacity])
    found = reduced(pixels, alpha=True)
    np.testing.assert_array_equal(found[:, :, 3], opacity)
    assert not found[opacity == 0].any()
    assert colours(found) < colours(pixels)


@pytest.mark.parametrize("depth", [8, 16])
def test_more_values_of_alpha_than_codewords_stay(depth: int) -> None:
    rng = np.random.default_rng(0)
    dtype = np.uint8 if depth == 8 else np.uint16
    opacity = rng.integers(1, 1 << depth, (96, 128)).astype(dtype)
    pixels = np.dstack([(rng.integers(0, 40, (96, 128, 3)) * 5 << (depth - 8)).astype(dtype), opacity])
    pixels[:48] = pixels[:1]  # common colours
    found = reduced(pixels, 60, depth=depth, alpha=True)
    assert (found != pixels).any()
    np.testing.assert_array_equal(found[:, :, 3], pixels[:, :, 3])


def test_only_the_chosen_pixels_change() -> None:
    pixels = discs()
    chosen = np.zeros(pixels.shape[:2], bool)
    chosen[:, 40:90] = True
    found = reduce_colours(pixels, chosen, step_levels=20, lambda_=0.1, depth=8, alpha=False)
    changed = (found != pixels).any(axis=2)
    assert changed.any()
    assert not changed[~chosen].any()


def test_pictures_of_too_many_colours_stay() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    assert reduced(pixels) is pixels
    page = np.concatenate([pixels] + [np.tile(discs(), (2, 2, 1))[:160, :160]] * 2)
    found = reduced(page)
    assert np.mean(found[:159] == pixels[:159]) > 0.999  # but for colours that are there twice
    assert colours(found[160:]) < 0.9 * colours(page[160:])
    assert reduced(np.full((9, 9, 3), 7, np.uint8)).tolist() == np.full((9, 9, 3), 7).tolist()


def test_bands_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reduced(discs())
    monkeypatch.setattr("vqcodec.transform.palette._BAND", 128 * 5)
    np.testing.assert_array_equal(reduced(discs()), whole)
