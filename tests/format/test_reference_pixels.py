"""The decoder of pixel sections agrees with a second one that was written from the specification alone, also on damaged files."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.contents import CONTENTS, DEPTHS, Content, noise, samples
from helpers.paths import REPOSITORY
from helpers.pixel_files import lossless_file
from helpers.reference_pixels import Kind, Predicted
from helpers.reference_reader import read_without_layers
from vqcodec import api
from vqcodec.codec import predicted
from vqcodec.entropy.pixel_pyramid import Shape, Weights, WeightSets, scale_rows
from vqcodec.errors import FormatError
from vqcodec.format import container
from vqcodec.format.header import Section
from vqcodec.transform.palette import pixels_of_cells

seeds = st.integers(0, 2**32 - 1)


def random_map(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.random((-(-height // 8), -(-width // 8))) < rng.choice([0, 0.3, 0.7, 1])


@settings(max_examples=60)
@given(st.sampled_from(CONTENTS), st.integers(1, 24), st.integers(1, 24), st.integers(1, 4), st.sampled_from(DEPTHS), seeds)
def test_both_read_what_was_written(content: Content, height: int, width: int, channels: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (height, width, channels), depth)
    data = lossless_file(pixels, random_map(rng, height, width), depth, effort=int(rng.integers(1, 10)))
    assert np.array_equal(read_without_layers(data), pixels)
    assert np.array_equal(api.decode(data, threads=1).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("content", CONTENTS)
def test_tile_groups(content: Content) -> None:
    rng = np.random.default_rng(5)
    pixels = samples(content, rng, (70, 75, 3), 8)
    data = lossless_file(pixels, random_map(rng, 70, 75), tile=64)
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


@pytest.mark.parametrize("depth", [8, 16])
def test_the_largest_weights_are_exact(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of 8 bits nearly reach 2**24, where float32 is no longer exact."""
    rng = np.random.default_rng(depth)
    shape = Shape(2, True, 2)

    def random_weights(planes: np.ndarray, *_: object) -> WeightSets:
        found = {}
        for channel, level, number in product(range(len(planes)), range(2), range(3)):
            means = rng.normal(0, 1, (2, shape.rows(channel, number)))
            scales = rng.normal(0, 1, scale_rows(channel))
            means *= 65_700 / np.abs(means).sum(axis=1, keepdims=True) if depth == 8 else 30_000
            scales *= 65_400 / np.abs(scales).sum()
            found[channel, level, number] = Weights(
                99, means.clip(-131071, 131071).astype(np.int64), scales.astype(np.int64), int(rng.integers(1 << 13))
            )
        return found

    monkeypatch.setattr(predicted, "fit", random_weights)
    pixels = samples(noise, rng, (16, 16, 3), depth)
    planes = predicted.planes_of(pixels)
    data = predicted.encode(planes, None, (1 << depth) - 1, shape, (1,))
    found = np.zeros((16, 16, 3), np.int64)
    Predicted(data, found, [[False] * 2] * 2, Kind(3, depth))
    assert np.array_equal(found, pixels)
    decoded = np.zeros_like(planes)
    predicted.decode(data, decoded, None, (1 << depth) - 1)
    assert np.array_equal(decoded, planes)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "tests" / "golden" / "lossless").glob("*.vqz")), ids=lambda path: path.stem)
def test_golden_file(path: Path) -> None:
    data = path.read_bytes()
    assert np.array_equal(read_without_layers(data), np.atleast_3d(api.decode(data, threads=1)))


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
    header, sections = container.read_file(lossless_file(pixels, random_map(rng, *pixels.shape[:2]), depth))
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
