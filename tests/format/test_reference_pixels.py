"""The decoder of pixel sections agrees with a second one that was written from the specification alone, also on damaged files."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.contents import CONTENTS, DEPTHS, Content, blocks, noise, noisy_graphic, samples, smooth
from helpers.paths import REPOSITORY
from helpers.pixel_files import contexts_at_any_cost, lossless_file
from helpers.reference_pixels import Kind, Predicted
from helpers.reference_reader import read_file, read_latents, read_pixels, read_without_layers
from vqcodec import api
from vqcodec.codec import predicted
from vqcodec.codec.picture import picture_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.entropy.pixel_pyramid import Shape, Weights, WeightSets, scale_rows
from vqcodec.errors import FormatError
from vqcodec.format import container
from vqcodec.format.header import Metadata, Section
from vqcodec.options import EncodeOptions
from vqcodec.transform.palette import pixels_of_cells
from vqcodec.weights import registry

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


def groups_in_contexts(data: bytes) -> list[bool]:
    """Whether the graphic pixels of each tile group are in contexts."""
    file = read_file(data)
    return [file.pixel_section(number).indices[:2] == b"\0\0" for number in range(len(file.groups))]


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([*CONTENTS, noisy_graphic]),
    st.integers(1, 24),
    st.integers(1, 24),
    st.integers(1, 4),
    st.sampled_from(DEPTHS),
    seeds,
)
def test_both_read_contexts(content: Content, height: int, width: int, channels: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (height, width, channels), depth)
    graphic = random_map(rng, height, width)
    with contexts_at_any_cost():
        data = lossless_file(pixels, graphic, depth)
    colours = np.unique(pixels[pixels_of_cells(graphic, height, width)], axis=0)
    assert groups_in_contexts(data) == [len(colours) > 1]
    assert np.array_equal(read_without_layers(data), pixels)
    assert np.array_equal(api.decode(data, threads=1).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_encoder_uses_contexts_for_noisy_graphics(channels: int) -> None:
    pixels = samples(noisy_graphic, np.random.default_rng(channels), (96, 120, channels), 8)
    data = api.encode(pixels, lossless=True, threads=1)
    assert groups_in_contexts(data) == [True]
    assert np.array_equal(read_without_layers(data), pixels)
    assert np.array_equal(np.atleast_3d(api.decode(data, threads=1)), pixels)


def test_tile_groups_in_contexts() -> None:
    rng = np.random.default_rng(2)
    pixels = samples(noisy_graphic, rng, (100, 230, 1), 8)
    data = lossless_file(pixels, rng.random((13, 29)) < 0.9, tile=128)
    assert groups_in_contexts(data) == [True, True]
    assert np.array_equal(read_without_layers(data), pixels)
    assert np.array_equal(np.atleast_3d(api.decode(data, threads=1)), pixels)


def test_graphic_cells_in_contexts_above_layers() -> None:
    rng = np.random.default_rng(3)
    pixels = samples(smooth, rng, (50, 61, 3), 8)
    graphic = rng.random((7, 8)) < 0.5
    there = pixels_of_cells(graphic, 50, 61)
    pixels[there] = samples(noisy_graphic, rng, (50, 61, 3), 8)[there]
    options, model = EncodeOptions(threads=1), registry.find("photo-lite")
    with contexts_at_any_cost():
        encoder = Encoder(picture_of(pixels, options, Metadata()), model, options, graphic)
        header = encoder.header(1800)
        data = encoder.write(header, [encoder.group(0, header)])
    assert read_file(data).layers > 0
    assert groups_in_contexts(data) == [True]
    folder = REPOSITORY / "models" / "photo-lite"
    found = read_pixels(data, read_latents(data, folder), folder)
    assert np.array_equal(found[there], pixels[there])
    assert np.array_equal(api.decode(data, refine="none", threads=1), found)


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


def assert_same_after_damage(data: bytes, rng: np.random.Generator) -> None:
    """Flip bits in sections whose checksums are then made right; assert that both see the same pixels, or an error."""
    header, sections = container.read_file(data)
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


@settings(max_examples=150)
@given(st.sampled_from(CONTENTS), st.integers(1, 4), st.sampled_from(DEPTHS), seeds)
@example(CONTENTS[0], 3, 8, 0)
def test_both_refuse_the_same_damage(content: Content, channels: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (int(rng.integers(1, 17)), int(rng.integers(1, 17)), channels), depth)
    assert_same_after_damage(lossless_file(pixels, random_map(rng, *pixels.shape[:2]), depth), rng)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([blocks, noisy_graphic]), st.integers(1, 2), seeds)
def test_both_refuse_the_same_damage_of_contexts(content: Content, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = samples(content, rng, (int(rng.integers(1, 25)), int(rng.integers(2, 25)), channels), 8)
    pixels[0, :2, 0] = 1, 2
    with contexts_at_any_cost():
        data = lossless_file(pixels, rng.random((3, 3))[: -(-pixels.shape[0] // 8), : -(-pixels.shape[1] // 8)] < 0.8, 8)
    assert_same_after_damage(data, rng)
