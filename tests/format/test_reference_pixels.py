"""The decoder of pixel sections agrees with a second one that was written from the specification alone, also on damaged files."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.contents import CONTENTS, DEPTHS, Content, samples
from helpers.reference_pixels import Kind, Predicted
from helpers.reference_reader import read_without_layers
from vqcodec import api
from vqcodec.codec import pixel_codec, predicted
from vqcodec.entropy.pixel_pyramid import Shape
from vqcodec.errors import FormatError
from vqcodec.format import container
from vqcodec.format.header import Section
from vqcodec.options import EncodeOptions
from vqcodec.transform.palette import pixels_of_cells

seeds = st.integers(0, 2**32 - 1)


def file_with_map(pixels: np.ndarray, graphic: np.ndarray, depth: int, tile: int | None, effort: int = 2) -> bytes:
    """A lossless file of pixels [H, W, C] with a given map of graphic cells."""
    header = pixel_codec.header_of(pixels, depth, tile, lossless=True)
    return pixel_codec.file_of_map(pixels, graphic, header, [], EncodeOptions(effort=effort, threads=1))


def random_map(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.random((-(-height // 8), -(-width // 8))) < rng.choice([0, 0.3, 0.7, 1])


@settings(max_examples=60)
@given(st.sampled_from(CONTENTS), st.integers(1, 24), st.integers(1, 24), st.integers(1, 4), st.sampled_from(DEPTHS), seeds)
def test_both_read_what_was_written(content: Content, height: int, width: int, channels: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (height, width, channels), depth)
    data = file_with_map(pixels, random_map(rng, height, width), depth, None, int(rng.integers(1, 10)))
    assert np.array_equal(read_without_layers(data), pixels)
    assert np.array_equal(api.decode(data, threads=1).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("content", CONTENTS)
def test_tile_groups(content: Content) -> None:
    rng = np.random.default_rng(5)
    pixels = samples(content, rng, (70, 75, 3), 8)
    data = file_with_map(pixels, random_map(rng, 70, 75), 8, 64)
    assert np.array_equal(read_without_layers(data), pixels)


@pytest.mark.parametrize("contexts", [1, 2])
@pytest.mark.parametrize("all_neighbours", [False, True])
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (4, 16)])
def test_extents_of_weights(levels: int, all_neighbours: bool, contexts: int, channels: int, depth: int) -> None:
    rng = np.random.default_rng(levels)
    pixels = samples(CONTENTS[0], rng, (17, 21, channels), depth)
    graphic = random_map(rng, 17, 21)
    coded = ~pixels_of_cells(graphic, 17, 21)
    planes = predicted.planes_of(pixels)
    data = predicted.encode(planes, coded, (1 << depth) - 1, Shape(levels, all_neighbours, contexts), (1,))
    found = np.where(coded[..., None], 0, pixels).astype(np.int64)
    Predicted(data, found, graphic.tolist(), Kind(channels, depth))
    assert np.array_equal(found, pixels)


def result_of(read: object, data: bytes, errors: type[Exception]) -> np.ndarray | None:
    """The pixels that are read, or None for an error."""
    try:
        return np.atleast_3d(read(data))  # type: ignore[operator]  # a function
    except errors:
        return None


@settings(max_examples=150)
@given(st.sampled_from(CONTENTS), st.integers(1, 4), st.sampled_from(DEPTHS), seeds)
@example(CONTENTS[0], 3, 8, 0)
def test_both_refuse_the_same_damage(content: Content, channels: int, depth: int, seed: int) -> None:
    """Bits are flipped in sections whose checksums are then made right: both see the same pixels, or an error."""
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (int(rng.integers(1, 17)), int(rng.integers(1, 17)), channels), depth)
    header, sections = container.read_file(file_with_map(pixels, random_map(rng, *pixels.shape[:2]), depth, None))
    for _ in range(8):
        damaged = list(sections)
        number = int(rng.integers(len(sections)))
        section = bytearray(sections[number].data)
        place = int(rng.integers(min(len(section), int(rng.choice([4, 40, 1 << 20])))))  # most often in the first bytes
        section[place] ^= 1 << rng.integers(8)
        damaged[number] = Section(sections[number].type, bytes(section))
        data = container.write_file(header, damaged)
        first = result_of(lambda found: api.decode(found, threads=1), data, FormatError)
        second = result_of(read_without_layers, data, Exception)
        assert (first is None) == (second is None)
        assert first is None or np.array_equal(first, second)
