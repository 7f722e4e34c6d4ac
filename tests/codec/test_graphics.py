"""Graphic cells in files with layers: exact pixels over the decode, in every way of reading a file."""

from io import BytesIO

import numpy as np
import pytest

import vqcodec
from helpers.contents import blocks, smooth
from helpers.pictures import sample
from vqcodec.codec import content, inspection, pipeline
from vqcodec.codec.graphics import Overlay
from vqcodec.codec.picture import picture_of
from vqcodec.codec.reader import Reader
from vqcodec.format.header import Metadata
from vqcodec.options import EncodeOptions
from vqcodec.runtime.progress import share_done, watched
from vqcodec.weights import registry

LITE = registry.find("photo-lite")


def mixed_picture(height=160, width=144, channels=3):
    """A photograph with a graphic in its middle, and the map of the graphic's cells."""
    rng = np.random.default_rng(5)
    pixels = np.clip(smooth(rng, height, width, channels, 255), 0, 255).astype(np.uint8)
    graphic = np.zeros((height // 8, width // 8), bool)
    graphic[5:13, 4:12] = True
    own = blocks(rng, 64, 64, channels, 255).astype(np.uint8)
    pixels[40:104, 32:96] = own
    return pixels, graphic


def file_of(pixels, graphic, model=LITE, **choices):
    options = EncodeOptions(threads=1, **choices)
    picture = picture_of(pixels, options, Metadata())
    return pipeline.Encoder(picture, model, options, graphic).file(28 * 64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [None, 64])
def test_graphic_cells_are_exact_and_others_as_usual(channels, tile):
    pixels, graphic = mixed_picture(channels=channels)
    data = file_of(pixels, graphic, tile=tile)
    decoded = vqcodec.decode(data).reshape(pixels.shape)
    inside = graphic.repeat(8, axis=0).repeat(8, axis=1)
    assert np.array_equal(decoded[inside], pixels[inside])
    errors = np.square(decoded[~inside].astype(float) - pixels[~inside])
    assert 0 < errors.mean() < 60


def test_graphic_cells_cost_the_blocks_nothing():
    pixels, graphic = mixed_picture()
    with_map, without = file_of(pixels, graphic), file_of(pixels, None)
    reader = Reader(BytesIO(with_map))
    table = inspection.index_table(reader.header, reader.indices, LITE, Overlay(reader, [0]).cells)
    assert len(table["index"]) > 0
    assert not graphic[table["row"], table["column"]].any()
    assert len(reader.file.indices(0, 1)[0]) < 0.7 * len(without)


def test_all_cells_graphic():
    pixels, graphic = mixed_picture()
    data = file_of(pixels, np.ones_like(graphic))
    assert np.array_equal(vqcodec.decode(data), pixels)


@pytest.mark.parametrize("model", ["photo", "photo-lite"])
def test_regions_and_smaller_pictures(model):
    pixels, graphic = mixed_picture()
    data = file_of(pixels, graphic, registry.find(model), tile=64)
    with vqcodec.open_vqz(data) as opened:
        whole = opened.read(refine="none")
        for region in ((20, 30, 100, 90), (40, 48, 20, 20), (0, 0, 144, 160), (130, 150, 14, 10)):
            left, top, width, height = region
            assert np.array_equal(opened.read(region, refine="none"), whole[top : top + height, left : left + width])
        for scale in (2, 4, 8):
            small = opened.read(scale=scale)
            here = np.s_[40 // scale : 104 // scale, 32 // scale : 96 // scale]
            means = pixels[40:104, 32:96].reshape(64 // scale, scale, 64 // scale, scale, 3).mean(axis=(1, 3))
            assert np.array_equal(small[here], np.floor(means + 0.5))


def test_a_damaged_pixel_section_loses_its_group_alone():
    pixels, graphic = mixed_picture()
    data = bytearray(file_of(pixels, graphic, tile=64))
    reader = Reader(BytesIO(bytes(data)))
    data[reader.file.offsets[4] + 1] ^= 1  # the group in the middle
    with pytest.raises(vqcodec.errors.CorruptError):
        vqcodec.decode(bytes(data))
    with vqcodec.open_vqz(bytes(data), allow_partial=True) as opened:
        found = opened.read()
        assert opened.lost == {4}
    inside = graphic.repeat(8, axis=0).repeat(8, axis=1)
    inside[64:128, 64:128] = False
    assert np.array_equal(found[inside], pixels[inside])


def test_a_mixed_page_is_coded_as_one():
    pixels, _ = mixed_picture(320, 288)
    pixels[200:] = 255
    pixels[210:300:6, 8:280:2] = 0
    data = vqcodec.encode(pixels)
    with vqcodec.open_vqz(data) as opened:
        assert opened.header.pixels
        assert opened.header.layers == 1
        decoded = opened.read()
    assert np.array_equal(decoded[208:], pixels[208:])
    assert vqcodec.encode(pixels, psnr=36) != data


def test_photographs_are_not_tried():
    pixels = np.clip(smooth(np.random.default_rng(2), 256, 256, 3, 255), 0, 255).astype(np.uint8)
    assert not content.may_hold_graphics(pixels, 8)
    with vqcodec.open_vqz(vqcodec.encode(pixels)) as opened:
        assert not opened.header.pixels


@pytest.mark.parametrize("every", [4, 6, 8])
def test_thumbnails_are_coded_as_photographs(every):
    thumbnail = np.ascontiguousarray(sample("still_life")[::every, ::every][:128, :128])
    data = vqcodec.encode(thumbnail)
    with vqcodec.open_vqz(data) as opened:
        assert not opened.header.pixels
    assert len(data) < 8 * thumbnail[::8, ::8].size  # as graphics they would have six times as many bytes


def test_small_drawings_in_smooth_shades_are_exact_where_that_is_smaller():
    drawing = np.add.outer(4 * np.arange(64), 2 * np.arange(56)).astype(np.uint8)[:, :, None] * np.ones(3, np.uint8)
    assert not content.may_hold_graphics(drawing, 8)
    data = vqcodec.encode(drawing)
    assert len(data) <= len(vqcodec.encode(drawing, lossless=True))
    np.testing.assert_array_equal(vqcodec.decode(data), drawing)


def test_targets_on_graphics():
    rng = np.random.default_rng(8)
    pixels = blocks(rng, 200, 200, 3, 255).astype(np.uint8)
    exact = vqcodec.encode(pixels)
    assert np.array_equal(vqcodec.decode(exact), pixels)
    assert vqcodec.encode(pixels, psnr=30) == exact
    assert vqcodec.encode(pixels, size=len(exact)) == exact
    smaller = vqcodec.encode(pixels, size=len(exact) - 1)
    assert len(smaller) < len(exact)


def test_hidden_colours_do_not_make_a_photograph_of_a_sprite():
    rng = np.random.default_rng(4)
    pixels = np.dstack([blocks(rng, 160, 160, 3, 255), np.zeros((160, 160))]).astype(np.uint8)
    pixels[40:70, 30:90, 3] = 255
    pixels[100:, 100:, 3] = 99
    hidden = pixels[:, :, 3] == 0
    pixels[hidden, :3] = rng.integers(0, 256, (int(hidden.sum()), 3))
    data = vqcodec.encode(pixels)
    assert len(data) < 1000
    decoded = vqcodec.decode(data)
    assert np.array_equal(decoded[:, :, 3], pixels[:, :, 3])
    assert np.array_equal(decoded[~hidden], pixels[~hidden])


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (EncodeOptions(threads=1, tile=64), 0.25),  # sketches are the first of four steps
        (EncodeOptions(threads=1, tile=64, size=9000), 0.5),  # the exact file and those of fewer colours are the first two
    ],
)
def test_all_trials_are_one_stage_of_progress(options, first, monkeypatch):
    shares: list[float] = []

    def watching(encoder, *arguments):
        shares.append(share_done(stages).done)
        return code(encoder, *arguments)

    code = pipeline.Encoder.group
    monkeypatch.setattr(pipeline.Encoder, "group", watching)
    with watched() as stages:
        pipeline.encode(mixed_picture()[0], LITE, options)
    assert shares == sorted(shares)
    assert first - 0.05 < shares[0] < first + 0.05
    assert first + 0.2 < shares[-1] < 1
