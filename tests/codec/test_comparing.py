"""The choice between the plain decode and the synthesis, which the encoder makes and the file states."""

import io
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.layers import encode_blocks
from helpers.marks import fast_first
from helpers.pictures import photo, psnr_db, sample, signs, smooth_picture
from helpers.vqz_fields import put_together, take_apart, with_synthesis
from vqcodec import api
from vqcodec.codec import comparing
from vqcodec.codec.groups import Errors
from vqcodec.codec.picture import picture_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.format.header import Header, Metadata
from vqcodec.options import EncodeOptions
from vqcodec.weights import registry

PHOTO = registry.find("photo")


def jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture after coding as a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.asarray(image)


def is_plain(data: bytes) -> bool:
    return bool(api.info(data)["best_is_plain"])


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "options", fast_first([{}, {"effort": 1}, {"quality": 30}, {"quality": 80}, {"tune": "ssim"}, {"effort": 9}, {"tile": 64}], 2)
)
def test_flat_saturated_graphics_are_decoded_plainly(options: dict[str, Any]) -> None:
    data = encode_blocks(signs(), threads=1, **options)
    plain = api.decode(data, refine="none")
    assert is_plain(data)
    for refine in (None, "best"):
        np.testing.assert_array_equal(api.decode(data, refine=refine), plain)
    with api.open_vqz(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(opened.read((60, 50, 80, 33)), plain[50:83, 60:140])


def test_aiming_is_left_out_where_the_synthesis_hurts() -> None:
    data, aimed = (encode_blocks(signs(), effort=effort) for effort in (6, 9))
    assert data == aimed


def test_grey_and_transparent_graphics_too() -> None:
    picture = signs()
    grey = np.random.default_rng(0).integers(0, 2, picture.shape[:2]).astype(np.uint8).repeat(3, 0)[:150] * np.uint8(255)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:40] = 0
    for pixels in (grey, np.dstack([picture, alpha])):
        data = encode_blocks(pixels, tune="psnr")
        assert is_plain(data)
        np.testing.assert_array_equal(api.decode(data), api.decode(data, refine="none"))


def test_photographs_go_through_the_synthesis() -> None:
    for pixels in (photo(), photo(100)):  # not compared, and compared
        data = encode_blocks(pixels)
        assert not is_plain(data)
        assert take_apart(data).keys() >= {"step"}
        assert "flags" not in take_apart(data)
        assert psnr_db(api.decode(data), pixels) > psnr_db(api.decode(data, refine="none"), pixels) + 0.1


def test_models_without_a_synthesis_choose_nothing() -> None:
    data = encode_blocks(signs(), model="photo-lite")
    assert not is_plain(data)
    assert "flags" not in take_apart(data)


def test_readers_that_ignore_the_choice_show_the_synthesis() -> None:
    """Earlier versions are such readers. The bit changes nothing else."""
    data = encode_blocks(signs())
    assert take_apart(data)["flags"] == b"\x10"
    other = with_synthesis(data)
    plain = api.decode(data, refine="none")
    np.testing.assert_array_equal(api.decode(other, refine="none"), plain)
    assert psnr_db(api.decode(other), signs()) < psnr_db(plain, signs()) - 1
    old = api.encode(photo(100), tile=64)
    marked = put_together(take_apart(old) | {"flags": b"\x10"})
    np.testing.assert_array_equal(api.decode(marked), api.decode(old, refine="none"))


def test_no_texture_is_added_to_flat_graphics(monkeypatch: pytest.MonkeyPatch) -> None:
    """No refiner is looked for, either."""
    data = encode_blocks(signs(), quality=30)
    assert is_plain(data)
    monkeypatch.setattr("vqcodec.weights.registry.find_refiner", lambda *_: pytest.fail("not needed"))
    with api.open_vqz(data) as opened:
        np.testing.assert_array_equal(opened.read(refine="gan", strength=1), opened.read(refine="none"))
        assert opened.notes == ["no texture is added: the networks make this picture worse"]


@pytest.mark.parametrize("target_db", [35, 45])
def test_a_target_of_psnr_counts_the_decode_that_is_shown(target_db: float) -> None:
    data = encode_blocks(signs(), psnr=target_db)
    assert is_plain(data)
    assert psnr_db(api.decode(data), signs()) >= target_db
    assert psnr_db(api.decode(with_synthesis(data)), signs()) < target_db


@pytest.mark.slow
@pytest.mark.parametrize("jpeg_quality", [60, 80, 90])
@pytest.mark.parametrize("name", ["landscape", "still_life"])
def test_pictures_that_were_jpeg_files_are_never_worse(name: str, jpeg_quality: int) -> None:
    pixels = jpeg(sample(name), jpeg_quality)
    for quality in (60, 90):
        data = api.encode(pixels, quality=quality)
        assert psnr_db(api.decode(data), pixels) > psnr_db(api.decode(data, refine="none"), pixels) - 0.05


# ------------------------------------------------------------------------------------------------ what is compared


@pytest.mark.parametrize("pixels", [photo(), sample("still_life", (100, 100, 340, 300)), smooth_picture(200, 180, 1)[:, :, None]])
def test_photographs_are_not_compared(pixels: NDArray[np.uint8]) -> None:
    encoder = Encoder(pixels, PHOTO, EncodeOptions(threads=1))
    for step_levels in (6, 12, 20, 60):
        assert not comparing.synthesis_may_hurt(encoder, encoder.header(64 * step_levels))


@pytest.mark.parametrize("shape", [(150, 170), (16, 4000), (3, 4000), (4000, 3), (1, 1)])
def test_graphics_of_any_shape_are_compared(shape: tuple[int, int]) -> None:
    encoder = Encoder(signs(*shape), PHOTO, EncodeOptions(threads=1))
    assert comparing.synthesis_may_hurt(encoder, encoder.header(64 * 20))
    assert not comparing.synthesis_may_hurt(encoder, encoder.header(64 * 2))  # too fine for the synthesis
    assert not comparing.synthesis_may_hurt(
        Encoder(signs(*shape), registry.find("photo-lite"), EncodeOptions(threads=1)), encoder.header(64 * 20)
    )


@pytest.mark.parametrize("kind", ["noise", "dither", "palette", "JPEG file", "chroma"])
def test_pictures_unlike_photographs_are_compared(kind: str) -> None:
    random = np.random.default_rng(0).random((192, 192, 1))
    still_life = sample("still_life", (200, 100, 520, 340))
    pixels = {
        "noise": 255 * (random < 0.5),
        "dither": 255 * (random < np.linspace(0, 1, 192)[:, None]),
        "palette": photo() // 51 * 51,
        "JPEG file": jpeg(still_life, 60),
        "chroma": np.dstack([photo()[:, :, 0], 200 - photo()[:, :, 0] // 2, np.full((192, 192), 90)]),
    }[kind]
    encoder = Encoder(pixels.astype(np.uint8), PHOTO, EncodeOptions(threads=1))
    assert comparing.synthesis_may_hurt(encoder, encoder.header(64 * 20))


@pytest.mark.parametrize("hidden", [False, True])
def test_errors_are_those_of_the_decodes(hidden: bool) -> None:
    pixels = sample("page", (40, 40, 190, 141))
    visible = np.arange(150) < 90 if hidden else np.ones(150, bool)
    mask = np.broadcast_to(visible, pixels.shape[:2]) if hidden else None
    options = EncodeOptions(threads=1)
    encoder = Encoder(replace(picture_of(pixels, options, Metadata()), visible=mask), PHOTO, options)
    header = encoder.header(64 * 20)
    group = encoder.group(0, header)
    found = comparing.errors_of(encoder, 0, header, group.latents)
    data = encoder.write(header, [group])
    for refine, error in zip(("none", "best"), found, strict=True):
        wanted = np.square(api.decode(data, refine=refine, threads=1).astype(int) - pixels)[:, visible].sum()
        assert error == pytest.approx(wanted, rel=1e-4)


def test_errors_of_tile_groups_leave_out_their_neighbours_only() -> None:
    pixels = sample("page", (40, 40, 240, 190))
    encoder = Encoder(pixels, PHOTO, EncodeOptions(threads=1, tile=64))
    header, coded = encoder.code(64 * 20, with_latents=True)
    found = [comparing.errors_of(encoder, number, header, group.latents) for number, group in enumerate(coded)]
    data = encoder.write(header, coded)
    assert [each.symbols for each in coded]
    for refine, error in zip(("none", "best"), map(sum, zip(*found, strict=True)), strict=True):
        wanted = np.square(api.decode(data, refine=refine, threads=1).astype(int) - pixels).sum()
        assert error == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(("height", "width", "share"), [(2048, 2048, 1), (600, 5000, 1), (3000, 4000, 0.18), (65535, 200, 0.16)])
def test_a_part_of_large_pictures_is_compared(height: int, width: int, share: float) -> None:
    header = Header(width=width, height=height, layout=1, layers=3, group_log2=7, model_id=b"", step_64=1280)
    areas, tops = [], set()
    for number, place in enumerate(header.groups):
        rows = list(comparing._compared_rows(number, header))
        areas.append(sum(each.height for each in rows) / place.height)
        tops.add(rows[0].top)
        assert all(each.width == place.width and each.height > 0 and each.bottom <= place.height for each in rows)
        assert all(first.bottom <= second.top for first, second in pairwise(rows))
    assert np.mean(areas) == pytest.approx(share, rel=0.2)
    assert share == 1 or len(tops) > 3


def test_ties_and_little_gains_are_not_worth_the_bytes() -> None:
    encoder = Encoder(signs(), PHOTO, EncodeOptions(threads=1))
    header = encoder.header(64 * 20)
    group = encoder.group(0, header)
    cases = ((0, 0, False), (1000, 1000, False), (1000, 1004, False), (1000, 1010, True), (0, 1, True), (9, 8, False))
    for plain, best, wanted in cases:
        coded = [replace(group, errors=Errors(plain, best))]
        assert comparing.chosen(header, coded).best_is_plain is wanted
