"""Alpha, depth, metadata, and colours under clear pixels."""

import io
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.pictures import photo, psnr_db, smooth_picture
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.errors import InputError
from vqcodec.format.header import Metadata
from vqcodec.weights import registry

Pixels = np.ndarray
LITE = registry.find("photo-lite")


def disc_of_photo(samples: Path, hidden: str) -> tuple[Pixels, Pixels]:
    """An RGBA picture with a visible disc, and the disc's mask."""
    disc = np.square(np.mgrid[:192, :192] - 96).sum(axis=0) < 70**2
    picture = np.dstack([photo(), np.where(disc, 255, 0).astype(np.uint8)])
    if hidden == "noise":
        picture[~disc, :3] = np.random.default_rng(0).integers(0, 256, (int((~disc).sum()), 3))
    return picture, disc


@pytest.mark.slow
@pytest.mark.parametrize("hidden", fast_first(["noise", "photo"]))
def test_invisible_colours_cost_nothing(hidden: str, samples: Path) -> None:
    picture, disc = disc_of_photo(samples, hidden)
    exact, usual = (api.encode(picture, quality=60, exact=exact, threads=1) for exact in (True, False))
    assert len(usual) < 0.8 * len(exact)
    decoded = api.decode(usual)
    np.testing.assert_array_equal(decoded[:, :, 3], picture[:, :, 3])
    assert psnr_db(decoded[disc], picture[disc]) > psnr_db(api.decode(exact)[disc], picture[disc]) - 0.3
    assert psnr_db(api.decode(exact)[~disc], picture[~disc]) > 24  # exact keeps hidden colours
    target = api.decode(api.encode(picture, psnr=34, threads=1))
    assert psnr_db(target[disc][:, :3], picture[disc][:, :3]) == pytest.approx(34, abs=0.1)  # over visible pixels


@pytest.mark.parametrize(("channels", "tile", "exact"), fast_first(product([4, 2], [None, 64], [False, True]), 2))
def test_smaller_pictures_weigh_colours_by_alpha(exact: bool, tile: int | None, channels: int) -> None:
    """Without weights, a red disc on hidden white had a pink edge at 1/8 of the size: green was 143, not 30."""
    disc = np.square(np.mgrid[:200, :232] - 100).sum(axis=0) < 75**2
    picture = np.full((200, 232, channels), 255, np.uint8)
    picture[..., -1] = np.where(disc, 255, 0)
    colour = (30,) if channels == 2 else (200, 30, 30)
    picture[disc, :-1] = colour
    data = api.encode(picture, quality=95, exact=exact, tile=tile, threads=1)
    for scale in (2, 4, 8):
        with api.open_vqz(io.BytesIO(data)) as file:
            small = file.read(scale=scale, threads=1)
        assert small.shape == (-(-200 // scale), -(-232 // scale), channels)
        visible = small[small[..., -1] > 0]
        assert np.abs(visible[:, :-1].astype(int) - colour).max() < (40 if exact else 8)
        assert (small[..., -1] % 255).any()  # the disc has partly transparent edges


def test_smaller_token_pictures_weigh_colours_by_alpha() -> None:
    digit = np.zeros((28, 28, 2), np.uint8)
    digit[4:24, 12:16, 0] = 255
    digit[:, :14, 1] = 255
    data = api.encode(digit, model="mnist-token", exact=True)
    whole = api.decode(data)
    with api.open_vqz(io.BytesIO(data)) as file:
        small = file.read(scale=4)
    seen = whole[8:12, 12:14, 0].astype(float)  # the left half of the square at (2, 3), which is visible
    assert abs(small[2, 3, 0] - seen.mean()) < 1
    assert small[2, 3, 1] == 128


def test_exact_is_an_option_of_the_command(samples: Path, tmp_path: Path) -> None:
    picture, _ = disc_of_photo(samples, "noise")
    Image.fromarray(picture).save(tmp_path / "disc.png")
    for options, exact in (([], False), (["--exact"], True)):
        assert main(["encode", str(tmp_path / "disc.png"), str(tmp_path / "disc.vqz"), "-f", *options]) == 0
        assert (tmp_path / "disc.vqz").read_bytes() == api.encode(picture, exact=exact)


@pytest.mark.parametrize("channels", [2, 4])
def test_pictures_with_alpha(channels: int) -> None:
    pixels = smooth_picture(33, 41, channels)
    data = api.encode(pixels, model="photo-lite")
    decoded = api.decode(data)
    assert decoded.shape == pixels.shape
    np.testing.assert_array_equal(decoded[:, :, -1], pixels[:, :, -1])
    assert np.abs(decoded.astype(int) - pixels).mean() < 4
    assert api.info(data)["channels"] == channels
    plain = api.encode(np.ascontiguousarray(pixels[:, :, :-1]), model="photo-lite")
    np.testing.assert_array_equal(api.decode(plain).reshape(33, 41, -1), decoded[:, :, :-1])


@pytest.mark.parametrize("bits", fast_first([9, 16, 10, 12]))
def test_deep_grey_keeps_its_depth(bits: int) -> None:
    levels = 1 << bits
    fine = smooth_picture(64, 80, 1).astype(float) / 256 + np.random.default_rng(0).normal(0, 0.002, (64, 80))
    pixels = np.clip(fine * levels, 0, levels - 1).astype(np.uint16)
    pixels[0, 0] = levels - 1
    kept = max(bits, 10)
    for options, most in (({"quality": 60}, 8.0), ({"psnr": 60.0}, 0.26), ({"quality": 100}, 0.26)):
        data = api.encode(pixels, model="photo-lite", **options)
        decoded = api.decode(data)
        assert decoded.dtype == np.uint16
        error = np.sqrt(np.square(decoded.astype(float) - pixels).mean()) / (1 << (kept - 8))
        assert error < most  # in levels of 8 bits: of these alone, rounding would leave 0.29
    assert api.info(data)["depth"] == kept
    np.testing.assert_array_equal(api.decode(data, refine="none"), decoded)


def test_deep_grey_of_eight_bits_decodes_to_the_pixels_of_eight() -> None:
    """Both use the same path: a 16-bit sample is an 8-bit sample with a fraction."""
    pixels = smooth_picture(40, 48, 1)
    shallow = api.decode(api.encode(pixels, quality=60, model="photo-lite"))
    deep = api.decode(api.encode(pixels.astype(np.uint16) << 8, quality=60, model="photo-lite"))
    assert np.abs(deep / 256 - shallow).max() <= 0.5


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_synthesis_of_deep_grey(depth: int) -> None:
    pixels = smooth_picture(64, 80, 1).astype(np.uint16) << (depth - 8)
    pixels[0, 0] = (1 << depth) - 1
    data = api.encode(pixels, quality=40, model="photo")
    plain, refined = (api.decode(data, refine=refine).astype(float) for refine in ("none", "best"))
    assert refined.max() > (1 << depth) / 2
    assert 0 < np.abs(plain - refined).mean() < 6 * (1 << (depth - 8))


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 5), np.uint16), np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)],
)
def test_arrays_that_are_no_pictures(pixels: np.ndarray) -> None:
    with pytest.raises(InputError):
        api.encode(pixels)


def deep_picture(height: int, width: int, channels: int, depth: int = 16) -> Pixels:
    """A smooth picture, uint16 [height, width, channels] of `depth` bits; the last channel of 2 or 4 is a soft-edged disc."""
    levels = 1 << depth
    fine = smooth_picture(height, width, channels).reshape(height, width, channels) / 256
    fine += np.random.default_rng(1).normal(0, 0.001, fine.shape)
    if channels in (2, 4):
        y, x = np.mgrid[:height, :width]
        fine[..., -1] = 0.5 + (0.4 * min(height, width) - np.hypot(y - height / 2, x - width / 2)) / 30
    pixels = np.clip(fine * levels, 0, levels - 1).astype(np.uint16)
    pixels[0, 0] = levels - 1
    return pixels


@pytest.mark.parametrize(("channels", "depth"), fast_first(product([4, 2, 3], [16, 10, 12]), 3))
def test_deep_colour_and_alpha_keep_their_depth(channels: int, depth: int) -> None:
    pixels = deep_picture(64, 80, channels, depth)
    visible = pixels[..., -1] > 0 if channels != 3 else np.ones((64, 80), bool)
    colours = slice(0, 1) if channels == 2 else slice(0, 3)
    for options, most in (({"quality": 60}, 8.0), ({"psnr": 58.0, "tile": 64}, 0.33), ({"quality": 100}, 0.4)):
        data = api.encode(pixels, model="photo-lite", threads=1, **options)
        decoded = api.decode(data)
        assert (decoded.dtype, decoded.shape) == (np.uint16, pixels.shape)
        difference = (decoded.astype(float) - pixels)[visible][:, colours]
        assert np.sqrt(np.square(difference).mean()) / (1 << (depth - 8)) < most  # rounding to 8 bits leaves 0.29
        np.testing.assert_array_equal(decoded[..., colours.stop :], pixels[..., colours.stop :])  # alpha
    assert api.info(data)["depth"] == depth
    assert api.info(data)["channels"] == channels


@pytest.mark.parametrize("channels", [2, 4])
def test_the_depth_of_a_picture_holds_its_alpha_plane(channels: int) -> None:
    pixels = deep_picture(24, 32, channels, 10)
    pixels[5, 5, -1] = 4095
    data = api.encode(pixels, model="photo-lite")
    assert api.info(data)["depth"] == 12
    np.testing.assert_array_equal(api.decode(data)[..., -1], pixels[..., -1])
    assert [section["type"] for section in api.info(data)["sections"]] == ["indices", "deep alpha"]


def test_regions_and_sizes_of_deep_colour_with_alpha() -> None:
    pixels = deep_picture(150, 170, 4)
    data = api.encode(pixels, model="photo", quality=50, tile=64, threads=1)
    with api.open_vqz(io.BytesIO(data)) as file:
        for refine in ("none", "best"):
            whole = file.read(refine=refine, threads=1).astype(int)
            part = file.read((40, 50, 70, 60), refine=refine, threads=1)
            assert part.dtype == np.uint16
            assert np.abs(whole[50:110, 40:110] - part).max() <= (0 if refine == "none" else 257)
        for scale in (2, 4, 8):
            small = file.read(scale=scale, threads=1)
            assert (small.dtype, small.shape) == (np.uint16, (-(-150 // scale), -(-170 // scale), 4))


def test_smaller_deep_pictures_weigh_colours_by_alpha() -> None:
    disc = np.square(np.mgrid[:200, :232] - 100).sum(axis=0) < 75**2
    picture = np.full((200, 232, 4), 65535, np.uint16)
    picture[..., -1] = np.where(disc, 65535, 0)
    picture[disc, :-1] = colour = (51400, 7710, 7711)
    data = api.encode(picture, quality=95, threads=1)
    with api.open_vqz(io.BytesIO(data)) as file:
        small = file.read(scale=8, threads=1)
    visible = small[small[..., -1] > 0]
    assert np.abs(visible[:, :-1].astype(int) - colour).max() < 8 * 257
    assert (small[..., -1] % 65535).any()  # the disc has partly transparent edges


def test_deep_colour_of_eight_bits_decodes_to_the_pixels_of_eight() -> None:
    pixels = smooth_picture(40, 48, 4)
    for refine in ("none", "best"):
        shallow, deep = (
            api.decode(api.encode(each, quality=60, effort=7, threads=1), refine=refine)
            for each in (pixels, pixels.astype(np.uint16) << 8)
        )
        assert np.abs(deep[..., :3] / 256 - shallow[..., :3]).max() <= (0.5 if refine == "none" else 1)
        np.testing.assert_array_equal(deep[..., 3] >> 8, shallow[..., 3])


def test_plain_deep_colours_are_exact() -> None:
    """The overshoot of clipping.py, at the end of 16 bits."""
    pixels = np.zeros((48, 64, 3), np.uint16)
    pixels[:, :24], pixels[:, 24:40, 0] = 65535, 65535
    decoded = api.decode(api.encode(pixels, quality=60, model="photo-lite"), refine="none")
    np.testing.assert_array_equal(decoded[8:-8, np.r_[0:16, 56:64]], pixels[8:-8, np.r_[0:16, 56:64]])


def test_deep_pictures_cannot_be_coded_as_tokens() -> None:
    with pytest.raises(InputError, match="of 8 bits a sample"):
        api.encode(np.zeros((16, 16, 2), np.uint16), model="mnist-token")


def test_damaged_deep_alpha_is_replaced_in_part() -> None:
    pixels = deep_picture(100, 100, 4)
    data = bytearray(api.encode(pixels, model="photo-lite", tile=64))
    data[-5] ^= 1  # the alpha section is the last
    with api.open_vqz(bytes(data), allow_partial=True) as file:
        found = file.read()
    assert (found[..., 3] == 65535).all()
    assert file.notes == ["the alpha plane was damaged: all is opaque"]


def test_metadata_is_kept_and_costs_no_pixels() -> None:
    pixels, given = smooth_picture(30, 30), Metadata(b"profile", b"II*\0exif", b"<xmp/>")
    data = api.encode(pixels, metadata=given)
    with api.open_vqz(io.BytesIO(data)) as opened:
        assert opened.metadata == given
    without = api.encode(pixels)
    np.testing.assert_array_equal(api.decode(data), api.decode(without))
    assert len(without) + 7 + 8 + 6 < len(data) < len(without) + 7 + 8 + 6 + 40


def test_metadata_counts_for_a_target() -> None:
    pixels = smooth_picture(64, 64)
    data = api.encode(pixels, size=1500, metadata=Metadata(icc=bytes(700)), model="photo-lite")
    assert len(data) <= 1500


def test_too_much_metadata_is_refused() -> None:
    with pytest.raises(InputError, match="16 MiB"):
        api.encode(smooth_picture(8, 8), metadata=Metadata(xmp=bytes((1 << 24) + 1)))


# ------------------------------------------------------------------------------------------------ black and white in colour


def in_three(grey: np.ndarray) -> np.ndarray:
    """Samples [H, W] in three equal components."""
    return grey[:, :, None].repeat(3, axis=2)


@pytest.mark.parametrize(
    "options", [{"quality": 40}, {"quality": 40, "tile": 64}, {"psnr": 33.0}, {"quality": 20, "model": "photo-lite", "effort": 1}]
)
def test_equal_components_are_coded_once(options: dict[str, Any]) -> None:
    grey = smooth_picture(136, 152)[:, :, 0]
    data, alone = (api.encode(picture, **options) for picture in (in_three(grey), grey))
    assert api.info(data)["layout"].startswith("grey")
    assert api.info(data)["channels"] == 3
    assert 0 <= len(data) - len(alone) <= 10
    np.testing.assert_array_equal(api.decode(data), in_three(api.decode(alone)))
    with api.open_vqz(io.BytesIO(data)) as opened, api.open_vqz(io.BytesIO(alone)) as other:
        assert opened.channels == 3
        parts: tuple[dict[str, Any], ...] = {"region": (5, 7, 40, 50)}, {"scale": 4}
        for part in parts:
            np.testing.assert_array_equal(opened.read(**part), in_three(other.read(**part)))


def test_equal_components_with_alpha_or_of_16_bits_come_back() -> None:
    grey = smooth_picture(136, 152)[:, :, 0]
    alpha = np.full_like(grey, 77)
    decoded = api.decode(api.encode(np.dstack([in_three(grey), alpha]), quality=70))
    assert decoded.shape == (136, 152, 4)
    assert (decoded[:, :, 3] == alpha).all()
    deep = in_three(grey.astype(np.uint16) * 257)
    decoded = api.decode(api.encode(deep, quality=70))
    assert (decoded.shape, decoded.dtype) == (deep.shape, deep.dtype)
    assert np.abs(decoded.astype(int) - deep).mean() < 1285  # five grey levels of 256


def test_one_pixel_in_colour_or_few_pixels_are_coded_in_colour() -> None:
    almost = in_three(smooth_picture(136, 152)[:, :, 0])
    almost[100, 20, 1] ^= 1
    for picture in (almost, in_three(smooth_picture(64, 72)[:, :, 0])):
        assert api.info(api.encode(picture, quality=40))["layout"].startswith("colour")


def test_without_loss_equal_components_stay_three() -> None:
    picture = in_three(smooth_picture(136, 152)[:, :, 0])
    np.testing.assert_array_equal(api.decode(api.encode(picture, lossless=True)), picture)
