"""Lossless files, field by field, and broken ones."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from helpers.contents import blocks, samples, smooth
from helpers.vqz_fields import bomb, put_together, take_apart
from vqcodec.codec import pixel_codec
from vqcodec.format import container, index_planes, palettes
from vqcodec.format.bits import write_varint
from vqcodec.format.header import Section
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.options import EncodeOptions

Part = bytes | StoredPart
"""A part, or the bytes of one that is stored verbatim."""


def part_bytes(part: Part) -> bytes:
    """A part as it is written."""
    return palettes.write_part(part if isinstance(part, StoredPart) else StoredPart(len(part), Mode.VERBATIM, part), 0)


def letters_of(numbers: Sequence[int]) -> tuple[bytes, str]:
    """Letters of integers, and their raw bits as a text of 0 and 1 (container.py, section 4)."""
    letters, raw = bytearray(), ""
    for number in numbers:
        size = abs(number)
        if size < 16:
            letters.append(2 * size - (number > 0) if size else 0)
        else:
            octave = size.bit_length() - 1
            letters.append(31 + 16 * (octave - 4) + 2 * ((size >> octave - 3) - 8) + (number < 0))
            raw += f"{size & (1 << octave - 3) - 1:0{octave - 3}b}"
    return bytes(letters), raw


def predicted_bytes(
    numbers: Sequence[int],
    streams: Sequence[Sequence[Part]] = ((b"",),),
    *,
    head: int = 0,
    starts: int = 1,
    forms: bytes = b"",
    letters: Part | None = None,
    raw: str = "",
) -> bytes:
    """Predicted pixels (predicted.py) with the parts of each stream; `letters` in place of those of the numbers."""
    own, own_raw = letters_of(numbers)
    parts = [own if letters is None else letters, *(part for stream in streams for part in stream)]
    text = own_raw + raw
    data = bytes((head,)) + starts.to_bytes(3, "little") + (forms or bytes(len(streams)))
    for part in parts:
        size = part.size if isinstance(part, StoredPart) else len(part)
        data += write_varint(size) + (part_bytes(part) if size else b"")
    return data + bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8))


def numbers_of(channels: int = 1, *, root: int = 10, mean: int = 0, scale: int = 0, bias: int = 0) -> list[int]:
    """The numbers of the smallest extent of weights, with one level, the nearest neighbours and one context; all weights equal."""
    found = []
    for channel in range(channels):
        one = [mean] * (4 + 4 * channel) + [scale] * (5 + 3 * channel) + [bias]
        found += [root, *one * 3]
    return found


def lossless_file(pixels: np.ndarray, graphic: np.ndarray, depth: int = 8, *, tile: int | None = None, effort: int = 2) -> bytes:
    """A lossless file of pixels [H, W, C] with a given map of graphic cells bool [h, w]."""
    header = pixel_codec.header_of(pixels, depth, tile, lossless=True)
    return pixel_codec.code_map(pixels, graphic, header, EncodeOptions(effort=effort, threads=1)).file(header, [])


@contextmanager
def contexts_at_any_cost() -> Iterator[None]:
    """A block of code in which the encoder, from effort 2 on, stores graphics in contexts even where these take more bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_planes, "_CONTEXTS_SAVE", -math.inf)
        yield


def small_file(depth: int = 8, channels: int = 3) -> bytes:
    """A lossless file of 24 x 16 pixels whose left cells are graphic; its sections are pixels and palette."""
    rng = np.random.default_rng(0)
    pixels = samples(smooth, rng, (16, 24, channels), depth)
    pixels[:, :8] = samples(blocks, rng, (16, 8, channels), depth)
    return lossless_file(pixels, np.array([[True, False, False]] * 2), depth)


def with_section(data: bytes, kind: int, changed: bytes | None) -> bytes:
    """A file with the first section of a type changed, or without it; checksums are made right."""
    header, sections = container.read_file(data)
    number = [section.type for section in sections].index(kind)
    new = [] if changed is None else [Section(kind, changed)]
    return container.write_file(header, [*sections[:number], *new, *sections[number + 1 :]])


def broken_pixel_files() -> dict[str, bytes]:
    """Broken lossless files. The key names the defect."""
    good = small_file()
    fields = take_apart(good)
    zeros = bomb(1 << 24, claimed=100)
    palette, pixels = container.PALETTE, container.PIXELS
    grey = lossless_file(np.full((8, 8, 1), 10, np.uint8), np.zeros((1, 1), bool))
    two = lossless_file(np.arange(2, dtype=np.uint8).repeat(32).reshape(8, 8, 1), np.ones((1, 1), bool))

    def predicted(numbers: list[int], *streams: Sequence[Part]) -> bytes:
        return with_section(grey, pixels, b"\1" + predicted_bytes(numbers, streams or ((b"",),)))

    return {
        "pixels-in-version-0.3": put_together(fields | {"version": b"\x03"}),
        "pixels-too-many": put_together(fields | {"width": b"\xff\xff\x03", "height": b"\xff\xff\x03"}),
        "palette-bomb": with_section(two, palette, b"\4\0" + part_bytes(zeros)),
        "palette-too-large": with_section(two, palette, write_varint(2 * 4081)),
        "palette-missing": with_section(two, palette, None),
        "palette-index-too-large": with_section(two, pixels, b"\0\1" + part_bytes(bytes([2] * 64))),
        "map-bomb": with_section(good, pixels, b"\2" + part_bytes(zeros)),
        "map-of-one-kind": with_section(good, pixels, b"\2" + part_bytes(b"\x80")),
        "weights-too-large": predicted(numbers_of(mean=20_000)),
        "sample-out-of-range": predicted(numbers_of(), (b"\x1e" * 63,)),
        "streams-too-long": predicted(numbers_of(), (bomb(1 << 24, claimed=1 << 24),)),
    }
