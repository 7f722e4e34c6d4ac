"""Pictures out of packs: found by name, decoded, and restored as .vqz files."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vqcodec.arrays import Pixels
from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import packed, pipeline
from vqcodec.codec.packed import CodedReader, Packed
from vqcodec.codec.reader import Reader
from vqcodec.errors import FormatError, InputError, LimitError, ModelError, VqcodecError, printable
from vqcodec.format.header import Header
from vqcodec.format.pack import Lost, PackFile, Place
from vqcodec.io.files import naming, open_input
from vqcodec.options import DecodeOptions
from vqcodec.weights import registry
from vqcodec.weights.embedded import read_embedded
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.kinds import AnyModel, FileModel
from vqcodec.weights.refiner import Refiner


class PackReader:
    """Decodes the pictures of an open pack."""

    def __init__(self, source: BinaryIO, *, max_pixels: int = MAX_PIXELS, allow_partial: bool = False) -> None:
        """Read the index from a seekable stream. Raises FormatError and its subclasses, InputError for a pipe."""
        if not source.seekable():
            raise InputError("a pack is read in any order, and a pipe cannot be: write it to a file first")
        self.pack = PackFile(source, allow_partial=allow_partial)
        self.max_pixels = max_pixels

    def place(self, name: str) -> Place:
        """The place of a picture. Raises InputError if the pack has none of that name, FormatError."""
        found = self.pack.find(name)
        if found is None:
            raise InputError(f"no picture {printable(name)!r} in the pack")
        return found

    def reader(self, place: Place) -> Reader:
        """A picture as the decoder reads it. Raises FormatError and its subclasses, LimitError."""
        data = self.pack.stored(place)
        if not place.entry.kind:
            reader = Reader(BytesIO(data), max_pixels=self.max_pixels)
            reader.file.check()
            return reader
        return CodedReader(self._packed(place, data), self.max_pixels)

    def header(self, place: Place) -> Header:
        """The header of a picture. Raises FormatError and its subclasses, LimitError."""
        if not place.entry.kind:
            return Reader(BytesIO(self.pack.stored(place)), max_pixels=self.max_pixels).header
        return packed.header_of(place.directory.templates[place.entry.kind - 1], place.entry.step_64, self.max_pixels)

    def _packed(self, place: Place, data: bytes) -> Packed:
        return Packed(place.directory.templates[place.entry.kind - 1], place.entry.step_64, data)

    def model(self, reader: Reader, given: AnyModel | None = None) -> AnyModel:
        """The model of a picture: `given` if it needs one, by default that which it names.

        That may be installed, in the pack or in the picture's own file. Raises ModelError, FormatError.
        """
        return reader.model(given, lambda: self.embedded)

    @cached_property
    def embedded(self) -> list[FileModel]:
        """The models in the pack whose ids are right."""
        found = []
        for stored in self.pack.models():
            with suppress(ModelError, FormatError):
                found.append(read_embedded(stored.data, stored.model_id))
        return found

    def pixels(self, place: Place, options: DecodeOptions, model: AnyModel | None = None, refiner: Refiner | None = None) -> Pixels:
        """The samples of a picture, as `decode` gives them. Raises FormatError, ModelError, LimitError."""
        reader = self.reader(place)
        return pipeline.read(reader, self.model(reader, model), options, refiner)

    def file(self, place: Place, model: AnyModel | None = None) -> bytes:
        """The .vqz file of a picture; decodes to the same pixels. Raises FormatError, ModelError, LimitError."""
        data = self.pack.stored(place)
        if not place.entry.kind:
            return data
        own = self._packed(place, data)
        reader = CodedReader(own, self.max_pixels)
        found = self.model(reader, model)
        if not isinstance(found, ExactModel):
            raise ModelError(f"{found.name} is not the model of the picture")
        pipeline.codec_of(found).check(reader.header)
        return packed.restore(own, found, self.max_pixels)

    def verify(self, lost: list[Lost], model: AnyModel | None = None) -> int:
        """The number of pictures that are intact and decode completely; the others are added to `lost`. Raises ModelError."""
        options, passed = DecodeOptions(refine="none"), 0
        for place in self.pack.each(lost):
            try:
                self.pixels(place, options, model)
                passed += 1
            except (FormatError, LimitError) as error:
                lost.append(Lost(place.entry.name, str(error)))
        return passed


class PackFacts(NamedTuple):
    """The contents of a pack."""

    pictures: list[dict[str, Any]]
    """Name, width, height, channels, bytes and model id of each picture, JSON-able."""
    lost: list[Lost]
    models: list[dict[str, str]]
    """Name and id of each model in the pack."""
    bytes: int
    """Size of the pack."""


def facts_of(source: Path, *, allow_partial: bool, max_pixels: int) -> PackFacts:
    """The contents of a pack; damaged parts are in `lost`. Raises FormatError, InputError."""
    with naming(source), open_input(source) as stream:
        pack = PackReader(stream, max_pixels=max_pixels, allow_partial=allow_partial)
        lost, pictures = list(pack.pack.gaps), list[dict[str, Any]]()
        for place in pack.pack.each(lost):
            try:
                header = pack.header(place)
            except VqcodecError as error:
                lost.append(Lost(place.entry.name, str(error)))
                continue
            size = {"width": header.width, "height": header.height, "channels": header.channels, "bytes": place.entry.size}
            pictures.append({"name": place.entry.name, **size, "model_id": header.model_id.hex()})
        models = [{"name": model.name, "id": model.file_id.hex()} for model in pack.embedded]
        return PackFacts(pictures, lost, models, pack.pack.size)


class Verified(NamedTuple):
    """The result of verifying a pack: the number of intact pictures, and the others."""

    passed: int
    lost: list[Lost]


def verify_pack(source: Path, *, model: str | None, max_pixels: int) -> Verified:
    """Check all checksums of a pack, and decode all pictures. Raises FormatError, InputError, ModelError."""
    given = None if model is None else registry.find_for_decoding(model)
    with naming(source), open_input(source) as stream:
        pack = PackReader(stream, max_pixels=max_pixels)
        lost: list[Lost] = []
        return Verified(pack.verify(lost, given), lost)
