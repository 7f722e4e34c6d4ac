"""Pictures of packs: small ones without headers and index sections (format/pack.py, symbol_coder.py), and back.

pack          .vqz file -> Packed, without header and sections if that is smaller
CodedReader   decodes a Packed as a Reader decodes a file
restore       Packed -> .vqz file of the same latents
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from io import BytesIO
from typing import Final, NamedTuple

from vqcodec.codec import streams, symbol_coder
from vqcodec.codec.choices import effort_of
from vqcodec.codec.reader import Reader
from vqcodec.codec.streams import Stored
from vqcodec.codec.symbol_coder import RangeCode
from vqcodec.errors import CorruptError
from vqcodec.format import container
from vqcodec.format.header import Header, Section
from vqcodec.runtime.blas import with_one_thread
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.kinds import AnyModel

_MOST_PIXELS: Final = 1 << 18
"""Pixels of the largest picture that is packed without header: a larger one saves less than its range code takes time to decode."""


class Packed(NamedTuple):
    """A picture as a pack stores it."""

    template: bytes
    """Its header without magic, checksum and step, equal for many pictures; b"": `data` is a .vqz file."""
    step_64: int
    """Quantiser step in 1/64 grey level; 0 in a .vqz file."""
    data: bytes
    """A .vqz file, or symbols (symbol_coder.py)."""


@with_one_thread
def pack(file: bytes, model: AnyModel | None, max_pixels: int) -> Packed:
    """A whole .vqz file as a pack stores it: without header and sections if that is possible and smaller.

    `model`: that of the file, if it is known. Raises FormatError and its subclasses, LimitError.
    """
    reader = Reader(BytesIO(file), max_pixels=max_pixels)
    reader.file.check()
    header = reader.header
    if isinstance(model, ExactModel) and model.decodes(header.model_id) and can_pack(header) and len(reader.file.table) == 1:
        data = symbol_coder.encode(header, reader.file.indices(0, 1)[0], model)
        if len(data) < len(file):
            return Packed(template_of(header), header.step_64, data)
    return Packed(b"", 0, file)


def can_pack(header: Header) -> bool:
    """Whether a picture is small, and has one layer and tile group of DCT blocks and nothing else."""
    alone = header.layers == 1 and not header.group_log2
    return alone and not (header.tokens or header.pixels or header.alpha) and header.width * header.height <= _MOST_PIXELS


def template_of(header: Header) -> bytes:
    """The template of a header; the inverse of `header_of`."""
    file = container.write_file(replace(header, step_64=1, merge_map=0), [Section(container.INDICES, b"")])
    return file[len(container.MAGIC) : -4]


def header_of(template: bytes, step_64: int, max_pixels: int) -> Header:
    """The header of a template and a step in 1/64 grey level. Raises FormatError and its subclasses, LimitError."""
    head = container.MAGIC + template
    found = container.read_header(head + zlib.crc32(head).to_bytes(4, "little"), max_pixels)
    header = replace(found.header, step_64=step_64)
    if found.start != len(head) + 4 or not can_pack(header) or found.header.step_64 != 1 or header.merge_map:
        raise CorruptError("corrupt pack: a template is invalid")
    if [(entry.type, entry.length) for entry in found.table] != [(container.INDICES, 0)]:
        raise CorruptError("corrupt pack: a template has sections")
    return header


def model_id_of(packed: Packed, max_pixels: int) -> bytes:
    """The model id that a packed picture names; b"" if it has none. Raises FormatError and its subclasses, LimitError."""
    if not packed.template:
        return container.read_header(packed.data, max_pixels).header.model_id
    return header_of(packed.template, packed.step_64, max_pixels).model_id


class CodedReader(Reader):
    """A packed picture as the decoder reads it. There is no `file`."""

    def __init__(self, packed: Packed, max_pixels: int) -> None:
        """Raises FormatError and its subclasses, LimitError."""
        self.header = header_of(packed.template, packed.step_64, max_pixels)
        self.code = RangeCode(packed.data)
        self.allow_partial, self.lost, self.notes = False, set(), []

    def indices(self, group: int, layers: int) -> Stored:
        return [self.code]

    def _other(self, kind: int) -> bytes:
        return b""


@with_one_thread
def restore(packed: Packed, model: ExactModel, max_pixels: int, effort: int = 5) -> bytes:
    """The .vqz file of the latents of a packed picture; its bytes may differ from those that were packed. Raises FormatError."""
    reader = CodedReader(packed, max_pixels)
    merge_map, sections = streams.pack([symbol_coder.symbols_of(reader.header, reader.code, model)], model, effort_of(effort), 1)
    header = replace(reader.header, merge_map=merge_map)
    return container.write_file(header, [Section(container.INDICES, data) for data in sections])
