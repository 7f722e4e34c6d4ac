"""Lossless files that copy cells from the pictures of a graphic model."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vqcodec
from helpers.graphic_models import GOLDEN_MODEL, METADATA, PROFILE, desktop, graphic_model, icons, saved_model
from helpers.paths import REPOSITORY
from helpers.reference_reader import read_without_layers
from helpers.vqz_fields import put_together, take_apart
from vqcodec import Metadata
from vqcodec.codec import pattern_search
from vqcodec.codec.pattern_book import book_of, window_hashes
from vqcodec.errors import CorruptError, FormatError, ModelError, UnsupportedError
from vqcodec.format import container
from vqcodec.weights import registry
from vqcodec.weights.graphic import GraphicModel

ICONS = icons(np.random.default_rng(1))
MODEL = graphic_model([desktop(np.random.default_rng(number), ICONS) for number in (2, 3, 4)])


def picture(seed: int = 9, channels: int = 4) -> np.ndarray:
    """A picture of the icons that the model has, [90, 110, channels]; without alpha or colour its icons are others."""
    rng = np.random.default_rng(seed)
    return desktop(rng, ICONS)[:, :, {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 64])
def test_a_file_with_copies_is_smaller_and_exact(channels: int, tile: int | None, tmp_path: Path) -> None:
    pixels = picture(channels=channels)
    model = graphic_model([picture(seed, channels) for seed in (2, 3, 4)], name="own")
    plain = vqcodec.encode(pixels, lossless=True, tile=tile, threads=1)
    data = vqcodec.encode(pixels, lossless=True, tile=tile, model=model, threads=1)
    assert len(data) < 0.75 * len(plain)
    assert np.array_equal(vqcodec.decode(data, model=model).reshape(pixels.shape), pixels)
    assert np.array_equal(read_without_layers(data, saved_model(tmp_path, model)), pixels)
    header = container.read_header(data).header
    assert (header.patterns, header.model_id, header.lossless) == (True, model.file_id, True)


def test_a_part_of_a_file(tmp_path: Path) -> None:
    pixels = picture()
    data = vqcodec.encode(pixels, lossless=True, tile=64, model=MODEL, threads=1)
    with vqcodec.open_vqz(data, model=MODEL) as opened:
        assert np.array_equal(opened.read((30, 20, 50, 60)), pixels[20:80, 30:80])


@pytest.mark.parametrize("make", [lambda rng: rng.integers(0, 256, (40, 50, 3)), lambda rng: np.full((40, 50, 3), 7)])
def test_a_picture_without_known_content_names_no_model(make: Callable[[np.random.Generator], np.ndarray]) -> None:
    pixels = make(np.random.default_rng(0)).astype(np.uint8)
    assert vqcodec.encode(pixels, lossless=True, model=MODEL, threads=1) == vqcodec.encode(pixels, lossless=True, threads=1)


def test_deep_samples_are_not_copied() -> None:
    pixels = picture().astype(np.uint16) * 257
    assert vqcodec.encode(pixels, lossless=True, model=MODEL, threads=1) == vqcodec.encode(pixels, lossless=True, threads=1)


def test_predicted_cells_beside_copied_ones(tmp_path: Path) -> None:
    pixels = picture(channels=3)
    y, x = np.mgrid[:90, :60]
    noise = np.random.default_rng(0).integers(0, 5, (90, 60, 3))
    pixels[:, 50:] = (noise + y[:, :, None] + x[:, :, None]).astype(np.uint8)
    model = graphic_model([pixels[:, :56]], name="left")
    data = vqcodec.encode(pixels, lossless=True, model=model, threads=1, effort=7)
    assert container.read_header(data).header.patterns
    assert np.array_equal(vqcodec.decode(data, model=model), pixels)
    assert np.array_equal(read_without_layers(data, saved_model(tmp_path, model)), pixels)


@pytest.mark.parametrize("pixels", [picture(), np.zeros((20, 20, 3), np.uint8)], ids=["with copies", "without copies"])
def test_a_profile_of_the_model(pixels: np.ndarray) -> None:
    metadata = Metadata(icc=PROFILE, xmp=b"<x/>")
    data = vqcodec.encode(pixels, lossless=True, model=MODEL, metadata=metadata, threads=1)
    assert len(data) < len(vqcodec.encode(pixels, lossless=True, model=MODEL, metadata=Metadata(xmp=b"<x/>"), threads=1)) + 48
    with vqcodec.open_vqz(data, model=MODEL) as opened:
        assert opened.metadata == metadata
        assert np.array_equal(opened.read(), pixels)
    fewer = GraphicModel(MODEL.name, graphic_model([], ()).tensors)
    changed = put_together(take_apart(data) | {"model": fewer.file_id})
    with vqcodec.open_vqz(changed, model=fewer) as opened, pytest.raises(CorruptError, match="one that is not in the model"):
        _ = opened.metadata


def test_a_file_needs_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, other = vqcodec.encode(picture(), lossless=True, model=MODEL, threads=1), graphic_model([picture(5)], name="other")
    with pytest.raises(ModelError, match=f"the file needs model {MODEL.file_id.hex()}, which is not installed"):
        vqcodec.decode(data)
    with pytest.raises(ModelError, match=r"the file was made with model .*, not with other"):
        vqcodec.decode(data, model=other)
    with pytest.raises(ModelError, match="not with photo-lite"):
        vqcodec.decode(data, model="photo-lite")
    assert vqcodec.info(data)["model"] is None
    assert vqcodec.open_vqz(data).metadata == Metadata()
    with_profile = vqcodec.encode(picture(), lossless=True, model=MODEL, metadata=METADATA, threads=1)
    with pytest.raises(ModelError, match="is not installed"):
        _ = vqcodec.open_vqz(with_profile).metadata
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path))
    saved_model(tmp_path, MODEL)
    assert np.array_equal(vqcodec.decode(data), picture())
    facts = vqcodec.info(data, streams=True)
    assert (facts["model"], facts["layout"], facts["lossless"]) == ("icons", "pixels", True)
    assert facts["copied_cells"] > 20
    assert [entry.kind for entry in registry.list_models() if entry.name == "icons"] == ["graphic"]


def test_damaged_files_are_refused() -> None:
    good = vqcodec.encode(picture(), lossless=True, model=MODEL, threads=1)
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 0x55
        with pytest.raises((FormatError, ModelError)):
            vqcodec.decode(bytes(damaged), model=MODEL)


@pytest.mark.parametrize("displacement", [(3, 0, 0), (0, 9, 0), (0, 0, 65535)], ids=["sheet", "below", "left"])
def test_a_copy_from_outside_is_refused(displacement: tuple[int, int, int]) -> None:
    book = book_of(MODEL)
    copies = pattern_search.Copies(np.array([displacement], np.uint16), np.ones((11, 13), np.uint16))
    with pytest.raises(CorruptError, match="corrupt file: a copied cell is"):
        book.paste(np.zeros((88, 104, 3), np.uint8), copies)


def test_patterns_beside_layers_are_refused() -> None:
    data = (REPOSITORY / "tests" / "golden" / "decode" / "tiles-q50.vqz").read_bytes()
    fields = take_apart(data)
    assert container.read_header(data).header.layers
    with pytest.raises(UnsupportedError, match="it needs a pattern codebook"):
        vqcodec.decode(put_together(fields | {"flags": bytes((fields["flags"][0] | 2,))}))


def test_windows_of_equal_pixels_have_equal_hashes() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 3, (20, 30)).astype(np.uint32)
    colours[9:17, 20:28] = colours[1:9, 2:10]
    hashes = window_hashes(colours)
    assert hashes.shape == (13, 23)
    assert hashes[9, 20] == hashes[1, 2]
    assert len(np.unique(hashes)) == hashes.size - 1


@pytest.mark.parametrize("path", sorted((REPOSITORY / "tests" / "golden" / "patterns").glob("*.vqz")), ids=lambda path: path.stem)
def test_golden_files(path: Path) -> None:
    model = registry.find_graphic(path.parent / GOLDEN_MODEL)
    pixels = vqcodec.decode(path, model=model)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == path.with_suffix(".sha256").read_text().strip()
    assert np.array_equal(read_without_layers(path.read_bytes(), path.parent / GOLDEN_MODEL), np.atleast_3d(pixels))
    assert vqcodec.open_vqz(path, model=model).metadata == METADATA
    assert container.read_header(path.read_bytes()).header.model_id == model.file_id
