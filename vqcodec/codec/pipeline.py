"""The codec on one page: pixels -> bytes, and bytes -> pixels, stage by stage. Each stage is a function of the module on the left.

                          encode, downwards                     decode, upwards
    channels              split, then hidden.fill_hidden        join
    transform (dct)       Source.coefficients: dct.forward      Reconstruction: dct.inverse, seams
    targets               beyond_the_ends, targets_of           Reconstruction: synthesis and refiner
    groups (entropy)      encode_group                          open_groups, finish_group
    streams               pack                                  unpack
    container             write_file                            File (in Reader)

Rate control wraps encoding: it codes the picture at one step or at several. Regions, smaller sizes and networks are kinds of
reconstruction; damaged files are the reader's. Models with a learned transform have a way of their own (tokens.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any, Final

from vqcodec.arrays import Bool, Int16, Pixels, UInt8
from vqcodec.codec import channels, devices, groups, hidden, rate_control, reconstruction, refinement, streams
from vqcodec.codec.choices import effort_of
from vqcodec.codec.file_codec import FileCodec
from vqcodec.codec.groups import CodedGroup, OpenGroup
from vqcodec.codec.inspection import ExactFiles
from vqcodec.codec.rate_control import TooFineError
from vqcodec.codec.reader import Reader
from vqcodec.codec.source import Source
from vqcodec.codec.symbols import GroupSymbols
from vqcodec.codec.targets import beyond_the_ends, targets_of
from vqcodec.codec.tokens import TokenCodec
from vqcodec.format import container
from vqcodec.format.header import Header, Metadata, Section
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.blas import with_one_thread
from vqcodec.runtime.workers import usable_cores
from vqcodec.transform.rect import Rect
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel

AnyModel = ExactModel | TokenModel


@with_one_thread
def encode(pixels: Pixels, model: AnyModel, options: EncodeOptions, metadata: Metadata | None = None) -> bytes:
    """Samples [H, W] or [H, W, 1 to 4], uint8 or grey uint16, to the bytes of a file. Raises InputError, LimitError."""
    colours, opacity = channels.split(pixels)  # [H, W, 1 or 3]; uint8 [H, W] or None
    visible = None if opacity is None or options.exact else opacity > 0  # bool [H, W] or None
    colours = colours if visible is None else hidden.fill_hidden(colours, visible)  # [H, W, 1 or 3]
    beside = channels.sections_beside(opacity, metadata or Metadata(), effort_of(options.effort).levels[:2])
    return codec_of(model).encode(colours, visible, beside, options)


def decode(data: bytes, model: AnyModel, options: DecodeOptions, refiner: Refiner | None = None) -> Pixels:
    """The bytes of a whole file to samples as they were encoded; the inverse of `encode`. Raises FormatError and its kinds."""
    reader = Reader(BytesIO(data))
    reader.file.check()
    return read(reader, model, options, refiner)


@with_one_thread
def read(reader: Reader, model: AnyModel, options: DecodeOptions, refiner: Refiner | None = None) -> Pixels:
    """The part of a file that the options ask for: samples [h, w] or [h, w, 2 to 4]. Raises FormatError, ModelError, InputError."""
    codec = codec_of(model)
    codec.check(reader.header)
    region = reader.region(options.region)  # in pixels, or None
    opacity = reader.opacity()  # uint8 [H, W] or None
    colours = codec.decode(reader, options, region, opacity, refiner)  # [h, w, 1 or 3]
    return channels.join(colours, opacity, region, options.scale)  # [h, w] or [h, w, 2 to 4]


class Encoder(Source):
    """A picture and an exact model: files at any step, for rate control to choose from."""

    def group(self, number: int, header: Header) -> CodedGroup:
        """One tile group, from pixels to latents and symbols."""
        settings = self.settings(header)
        coefficients = self.coefficients(number, self.transformed(header))  # dct.forward: float32 [C', h * w], grey levels
        coefficients = beyond_the_ends(coefficients, self.part(number), self.model, step_64=settings.step_64, depth=self.depth)
        cells = header.groups[number].shape  # h, w
        with progress.stage("", 2 * self.rounds + 1):  # each round of aiming codes, and then aims
            targets = targets_of(coefficients, cells, self.model, settings, self.rounds)  # float32 [C, h * w], steps
            return groups.encode_group(targets, cells, self.model, settings)  # latents int16 [C, h * w], symbols uint8

    def code(self, step_64: int) -> list[CodedGroup]:
        """Every tile group at a step."""
        header = self.header(step_64)
        with progress.stage("coding"):
            return self.each_group(lambda number: self.group(number, header))

    def file(self, step_64: int) -> bytes:
        """The file at a step in 1/64 grey level. Raises TooFineError."""
        header = self.header(step_64)
        with progress.stage("coding"):  # keeps symbols alone: latents take as much memory as the picture
            symbols = self.each_group(lambda number: self.group(number, header).symbols)
        if any(group.clipped for group in symbols):
            raise TooFineError
        return self.write(header, symbols)

    def write(self, header: Header, symbols: Sequence[GroupSymbols]) -> bytes:
        """The file of the symbols of every tile group."""
        merge_map, sections = streams.pack(symbols, self.model, self.effort, self.threads)  # bytes, layer by layer
        header = replace(header, merge_map=merge_map)
        return container.write_file(header, [*(Section(container.INDICES, data) for data in sections), *self.beside])

    def psnr_db(self, step_64: int) -> float:
        """PSNR over the visible samples of the best decode at a step. Raises TooFineError."""
        header, coded = self.header(step_64), self.code(step_64)
        if any(group.symbols.clipped for group in coded):
            raise TooFineError
        image = reconstruction.best(header, self.model)
        self.each_group(lambda number: image.add(header.groups[number], coded[number].latents))
        return self.psnr_of(image.pixels(self.threads))


class ExactCodec(ExactFiles):
    """Encodes and decodes files of an exact model."""

    def encode(self, colours: Pixels, visible: Bool | None, beside: Sequence[Section], options: EncodeOptions) -> bytes:
        """Samples [H, W, 1 or 3] to a file. Raises LimitError."""
        encoder = Encoder(colours, self.model, options, visible=visible, beside=beside)
        return rate_control.file_for(encoder, options)

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: UInt8 | None, refiner: Refiner | None
    ) -> Pixels:
        """A file to samples [h, w, 1 or 3]. Raises CorruptError, TruncatedError, ModelError, InputError."""
        header, threads = reader.header, options.threads or usable_cores()
        model = devices.model_on(options.device, self.model)
        image = refinement.choose(header, model, options, region=region, opacity=opacity, refiner=refiner, tell=reader.tell)

        def finish(group: OpenGroup) -> None:
            latents: Int16 = groups.finish_group(header, group, model, image.tiles_of(group.place))  # int16 [C, h * w]
            image.add(group.place, latents)  # dct.inverse, or kept until all are there

        groups.each_group(header, reader.indices, model, image.groups, finish, threads=threads, layers=image.layers)
        return image.pixels(threads)  # synthesis and refiner, seams


CODECS: Final[dict[type, Callable[[Any], FileCodec]]] = {ExactModel: ExactCodec, TokenModel: TokenCodec}


def codec_of(model: AnyModel) -> FileCodec:
    """The codec of a model's kind."""
    return next(codec(model) for kind, codec in CODECS.items() if isinstance(model, kind))
