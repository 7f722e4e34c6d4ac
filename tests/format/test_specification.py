"""The worked example of the specification (container.py's docstring, section 8) is what the code does."""

import re
from io import BytesIO

import numpy as np
import pytest

from helpers import reference_reader
from helpers.paths import REPOSITORY
from vqcodec import api
from vqcodec.codec import groups
from vqcodec.format import container, stream_records, zstd_blocks
from vqcodec.format.header import Header
from vqcodec.format.stream_forms import Pairs, Split
from vqcodec.transform.layouts import GREY
from vqcodec.weights import registry

MODEL = registry.find("photo-lite")
EXAMPLE = (container.__doc__ or "").split("8. EXAMPLE\n==========\n")[1].split("9. CHANGES\n")[0]
HEX, _, REST = EXAMPLE.partition("In merge map 9")
FIELDS = re.findall(r"^    ((?:[0-9A-F]{2} )*[0-9A-F]{2}) {3,}(.+)$", HEX, re.MULTILINE)
"""(bytes in hex, meaning) of each field."""
BITS = re.findall(r"^    ([01]+(?: [01]+)?) {3,}(.+)$", REST.partition("Part 0")[0], re.MULTILINE)
"""(bits, meaning) of each part of the records."""
STEPS = re.findall(
    r"^    (.+?), cell (\d) +class +(\d+) +codebook +(\d+) +stream (\d) +symbol +(\d+) "
    r"+residual +(-?\d+) +mean +(-?\d+) +latent +(-?\d+)$",
    EXAMPLE,
    re.MULTILINE,
)
FILE = bytes.fromhex("".join(text for text, _ in FIELDS))


def field(meaning: str) -> bytes:
    """The bytes of the field whose meaning starts so."""
    (found,) = [text for text, said in FIELDS if said.startswith(meaning)]
    return bytes.fromhex(found)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", text)]


def test_the_header_of_the_example_has_the_stated_fields() -> None:
    assert f"{len(FILE)} bytes" in EXAMPLE
    meanings = dict(said.split(" ", 1) for _, said in FIELDS if said.split()[0] in ("version", "width", "height", "step"))
    assert meanings["version"] == ".".join(map(str, container.VERSION))
    step_64, levels = meanings["step"].split(", ")
    header, sections = container.read_file(FILE)
    assert header == Header(
        width=int(meanings["width"]),
        height=int(meanings["height"]),
        layout=GREY.code,
        layers=1,
        group_log2=0,
        model_id=MODEL.file_id,
        step_64=int(step_64),
        merge_map=9,
    )
    assert levels == f"{header.step_levels:.1f} grey levels"
    assert field("magic") == container.MAGIC
    assert field("model id of photo-lite") == MODEL.file_id
    assert field("merge map 9, masking strength 0") == b"\x09"
    names = ("records", "stream 0, part 0", "stream 0, part 1", "stream 1")
    assert [section.data for section in sections] == [b"".join(map(field, names))]
    assert container.write_file(header, sections) == FILE


def test_the_records_of_the_example_are_the_stated_bits() -> None:
    records = field("records")
    assert "".join(text.replace(" ", "") for text, _ in BITS) == "".join(f"{byte:08b}" for byte in records)
    streams = MODEL.streams[9]
    means = [stream.means for stream in streams]
    assert [numbers(said) for _, said in BITS if "expected" in said] == [[2, 0, 2, mean, 14, 2 * mean >> 14] for mean in means[0]]
    (section,) = [section.data for section in container.read_file(FILE)[1]]
    parts, raw = stream_records.read_streams(section, means, 1000)
    assert raw == b""
    modes = zstd_blocks.Mode.BLOCK_WITH_DICTIONARY, zstd_blocks.Mode.BLOCK_WITH_DICTIONARY, zstd_blocks.Mode.VERBATIM
    stored = [field(name) for name in ("stream 0, part 0", "stream 0, part 1", "stream 1")]
    assert parts == [zstd_blocks.StoredPart(*entry) for entry in zip((2, 2, 1), modes, stored, strict=True)]


def test_the_streams_of_the_example_hold_the_stated_symbols() -> None:
    runs, symbols, together, pair, tail = re.findall(
        r"to the runs ([0-9A-F ]+), part 1 to the symbols ([0-9A-F ]+); together they are the symbols ([\d ]+)\. "
        r"Pair ([0-9A-F]{2}) of\s+stream 1 stands for no zeros and the tail (\d+)\.",
        EXAMPLE,
    )[0]
    (section,) = [section.data for section in container.read_file(FILE)[1]]
    streams = MODEL.streams[9]
    parts, _ = stream_records.read_streams(section, [stream.means for stream in streams], 1000)
    given = [dictionary for stream in streams for dictionary in stream.dictionaries]
    unpacked = [zstd_blocks.decompress(part, dictionary) for part, dictionary in zip(parts, given, strict=True)]
    assert unpacked == [bytes.fromhex(runs), bytes.fromhex(symbols), bytes.fromhex(pair)]
    split, pairs = (stream.form for stream in streams)
    assert isinstance(split, Split)
    assert isinstance(pairs, Pairs)
    assert split.unpack(unpacked[:2], 99).tolist() == numbers(together)
    assert pairs.unpack(unpacked[2:], 99).tolist() == [int(tail)]


def test_the_example_is_decoded_by_the_stated_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reader, watched, and the decoder's latents."""
    found: list[list[int]] = []
    order = iter([(0, 0), (0, 1), (1, 0), (1, 1)])  # channel and cell of the calls with cells
    code = reference_reader.Group.code

    def watched(
        group: reference_reader.Group, table_set: int, size: int, places: list[reference_reader.Cell], classes: list[int]
    ) -> list[list[int]]:
        layer = group.layers[0]
        before = [len(stream) for stream in layer.symbols]
        last = [stream[-1] if stream else 0 for stream in layer.symbols]
        residuals = code(group, table_set, size, places, classes)
        if classes and len(found) < 4:
            codebook = group.model.table[table_set][0][classes[0]]
            stream = layer.stream_of_codebook[codebook]
            assert before[stream] - len(layer.symbols[stream]) == 1
            found.append([next(order)[1], classes[0], codebook, stream, last[stream], residuals[0][0]])
        elif classes:
            assert not any(map(any, residuals))
        return residuals

    monkeypatch.setattr(reference_reader.Group, "code", watched)
    (latents,) = reference_reader.read_latents(FILE, REPOSITORY / "models" / "photo-lite")
    assert [list(map(int, step[1:7])) for step in STEPS] == found
    assert [step[0] for step in STEPS] == ["DC", "DC", "tile 0 (01)", "tile 0 (01)"]
    for name, cell, *_, residual, mean, latent in STEPS:
        assert int(mean) + int(residual) == int(latent) == latents[0 if name == "DC" else 1, int(cell)]
    file = container.File(BytesIO(FILE))
    np.testing.assert_array_equal(groups.decode_group(file.header, file.indices(0, 1), (1, 2), MODEL), latents)


def test_the_example_decodes_to_the_stated_pixels() -> None:
    row = numbers(EXAMPLE.split("Every row of the decoded picture is")[1])
    pixels = api.decode(FILE, refine="none")
    np.testing.assert_array_equal(pixels, np.tile(np.array(row, np.uint8), (8, 1)))
    original = np.rint(100 + 30 * np.cos((2 * np.arange(16) + 1) * np.pi / 16)).astype(np.uint8)
    assert api.encode(np.tile(original, (8, 1)), model="photo-lite", quality=20, tune="psnr") == FILE
