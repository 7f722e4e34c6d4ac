"""The inside of a file: indices and streams."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.paths import REPOSITORY
from helpers.pictures import sample
from vqcodec import api
from vqcodec.codec import pixel_codec
from vqcodec.codec.pipeline import Encoder
from vqcodec.errors import CorruptError
from vqcodec.format import container
from vqcodec.options import EncodeOptions
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.weights import registry

SAMPLES = REPOSITORY / "samples"


@pytest.fixture(scope="module")
def small() -> bytes:
    return api.encode(sample("still_life", (300, 200, 396, 296)), quality=50)


def test_info_counts_every_byte(small: bytes) -> None:
    facts = api.info(small, streams=True)
    assert facts["bytes"] == len(small)
    assert sum(s["bytes"] for s in facts["sections"]) < len(small)
    assert sum(facts["shares"].values()) == pytest.approx(1)
    assert len(small) - facts["ideal_bytes"] < 150


def test_info_counts_the_cells_of_a_file_of_pixels() -> None:
    pixels = np.array(sample("still_life", (300, 200, 420, 290)))  # [90, 120, 3]
    pixels[:32] = (200, 30, 40)
    graphic = np.zeros((12, 15), bool)
    graphic[:4] = True
    header = pixel_codec.header_of(pixels, 8, 64, lossless=False)
    data = pixel_codec.code_map(pixels, graphic, header, EncodeOptions(lossless=True, threads=1)).file(header, [])
    np.testing.assert_array_equal(api.decode(data), pixels)
    facts = api.info(data, streams=True)
    assert (facts["cells"], facts["graphic_cells"], facts["colours"], facts["lossless"]) == (180, 60, 1, False)
    streams = {one["name"]: one for one in facts["streams"]}
    counts = {name: one["count"] for name, one in streams.items()}
    assert counts == {"map": 180, "graphic pixels": 32 * 120, "predicted pixels": 58 * 120}
    sections = {one["type"]: sum(s["bytes"] for s in facts["sections"] if s["type"] == one["type"]) for one in facts["sections"]}
    assert sum(one["bytes"] for one in streams.values()) == sections["pixels"]
    assert facts["shares"]["palette"] == sections["palette"] / (sections["palette"] + sections["pixels"])
    assert sum(facts["shares"].values()) == pytest.approx(1)
    assert api.info(data).items() <= facts.items()
    table = api.indices(data)
    assert {name: len(column) for name, column in table.items()} == {"index": 0, "row": 0, "column": 0}


def test_indices_are_listed_with_their_positions(samples: Path) -> None:
    with Image.open(samples / "still_life.png") as image:
        pixels = np.asarray(image.convert("RGB"))[100:173, 120:209]
    encoder = Encoder(pixels, registry.find(None), EncodeOptions(threads=1, tile=64), layers=2)
    data = encoder.file(900)
    table = api.indices(data)
    with pytest.raises(CorruptError, match="after the last section"):
        api.indices(data + b"\0")
    model, header = registry.find(None), container.read_header(data).header
    layout = LAYOUTS[header.layout]
    assert {len(column) for column in table.values()} == {len(table["index"])}
    assert int(table["row"].max()) == header.cells[0] - 1
    assert int(table["column"].max()) == header.cells[1] - 1
    first = np.cumsum([layout.components] + [tile.size for tile in layout.tiles])
    for book, scale_class, channel in zip(table["codebook"], table["class"], table["channel"], strict=True):
        codebook_set = int(channel >= layout.components)
        size = layout.tiles[int(np.searchsorted(first, channel, "right")) - 1].size if codebook_set else 1
        assert model.table[codebook_set, size.bit_length() - 1, scale_class] == book
    sizes = np.array([book.size for book in model.codebooks])
    assert (table["index"] < sizes[table["codebook"]]).all()
    dims = np.array([book.dim for book in model.codebooks])[table["codebook"]]
    pieces = zip(table["channel"], table["row"], table["column"], dims, strict=True)
    places = [(channel + i, row, column) for channel, row, column, dim in pieces for i in range(dim)]
    assert len(set(places)) == len(places)  # no coefficient is coded twice
