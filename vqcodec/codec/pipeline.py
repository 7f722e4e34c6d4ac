"""The codec on one page: pixels -> bytes, and bytes -> pixels, stage by stage. Stages are functions of the modules on the left.

    module           encode: read down                    decode: read up
    channels         split, then hidden.fill_hidden       join
    transform.dct    forward (Source.coefficients)        inverse, then seams (Reconstruction)
    targets          with_overshoot, targets_of           synthesis and refiner (Reconstruction)
    groups           encode_group                         open_each, finish_group
    streams          pack                                 unpack
    container        write_file                           File (Reader)

Rate control wraps encoding: it codes the picture at one quantiser step or at several. Regions, smaller sizes and networks are kinds
of reconstruction; damaged files are the reader's. Token models replace the stages between channels and container (tokens.py).
Shapes: H x W pixels, h x w cells of 8x8 pixels, C coded channels; aiming transforms C' >= C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any, Final

from vqcodec.arrays import Bool, Int16, Pixels
from vqcodec.codec import channels, devices, groups, hidden, pixel_codec, rate_control, reconstruction, refinement, streams
from vqcodec.codec.choices import effort_of
from vqcodec.codec.file_codec import FileCodec
from vqcodec.codec.groups import CodedGroup, OpenGroup
from vqcodec.codec.inspection import ExactFiles
from vqcodec.codec.pixel_codec import PixelCodec
from vqcodec.codec.rate_control import TooFineError
from vqcodec.codec.reader import Reader
from vqcodec.codec.source import Source
from vqcodec.codec.symbols import GroupSymbols
from vqcodec.codec.targets import targets_of, with_overshoot
from vqcodec.codec.tokens import TokenCodec
from vqcodec.format import container
from vqcodec.format.header import Header, Metadata, Section
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.blas import with_one_thread
from vqcodec.runtime.workers import usable_cores
from vqcodec.transform.rect import Rect
from vqcodec.weights.builtin import BUILT_IN, BuiltIn
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel

AnyModel = ExactModel | TokenModel | BuiltIn


@with_one_thread
def encode(pixels: Pixels, model: AnyModel, options: EncodeOptions, metadata: Metadata | None = None) -> bytes:
    """The bytes of a .vqz file of samples [H, W] or [H, W, 1 to 4], uint8 or uint16. Raises InputError, LimitError."""
    if options.lossless:
        return pixel_codec.encode_lossless(pixels, metadata or Metadata(), options)
    colours, opacity = channels.split(pixels)  # [H, W, 1 or 3]; [H, W] or None
    visible = None if opacity is None or options.exact else opacity > 0  # bool [H, W] or None
    colours = colours if visible is None else hidden.fill_hidden(colours, visible)  # [H, W, 1 or 3]
    depth = channels.depth_of(pixels)
    others = channels.other_sections(opacity, metadata or Metadata(), effort_of(options.effort).plane_levels)  # list[Section]
    return codec_of(model).encode(colours, visible, others, options, depth)


def decode(data: bytes, model: AnyModel, options: DecodeOptions, refiner: Refiner | None = None) -> Pixels:
    """The samples of a whole file, shaped as for `encode`, whose inverse this is. Raises FormatError, ModelError, InputError."""
    reader = Reader(BytesIO(data))
    reader.file.check()
    return read(reader, model, options, refiner)


@with_one_thread
def read(reader: Reader, model: AnyModel, options: DecodeOptions, refiner: Refiner | None = None) -> Pixels:
    """The samples that the options select: [H', W'] or [H', W', 2 to 4]. Raises FormatError, ModelError, InputError."""
    codec = codec_of(model if reader.header.layers else BUILT_IN)
    codec.check(reader.header)
    region = reader.region(options.region)  # in pixels, or None
    opacity = reader.opacity()  # [H, W] or None, also if the pixels have it
    colours = codec.decode(reader, options, region, opacity, refiner)  # [H', W', 1 or 3]
    return channels.join(colours, opacity, region, options.scale)  # [H', W'] or [H', W', 2 to 4]


class Encoder(Source):
    """A picture and an exact model; codes files at any quantiser step, for rate control to choose from."""

    def group(self, number: int, header: Header) -> CodedGroup:
        """The latents and symbols of a tile group."""
        settings = self.settings(header)
        coefficients = self.coefficients(number, self.transformed(header))  # dct.forward: float32 [C', h * w], grey levels
        coefficients = with_overshoot(coefficients, self.part(number), self.model, step_64=settings.step_64, depth=self.depth)
        cells = header.groups[number].shape  # h, w
        with progress.stage("", 2 * self.rounds + 1):  # a round of aiming codes the group, then moves the targets
            targets = targets_of(coefficients, cells, self.model, settings, self.rounds)  # float32 [C, h * w], steps
            return groups.encode_group(targets, cells, self.model, settings)  # latents int16 [C, h * w], symbols uint8

    def code(self, step_64: int) -> list[CodedGroup]:
        """The latents and symbols of every tile group at a step."""
        header = self.header(step_64)
        with progress.stage("coding"):
            return self.each_group(lambda number: self.group(number, header))

    def file(self, step_64: int) -> bytes:
        """The file at a step in 1/64 grey level. Raises TooFineError."""
        header = self.header(step_64)
        with progress.stage("coding"):  # keeps the symbols only: latents need as much memory as the picture
            symbols = self.each_group(lambda number: self.group(number, header).symbols)
        if any(group.clipped for group in symbols):
            raise TooFineError
        return self.write(header, symbols)

    def write(self, header: Header, symbols: Sequence[GroupSymbols]) -> bytes:
        """The file with these symbols, one item per tile group."""
        merge_map, sections = streams.pack(symbols, self.model, self.effort, self.threads)  # sections: layer by layer
        header = replace(header, merge_map=merge_map)
        return container.write_file(header, [*(Section(container.INDICES, data) for data in sections), *self.others])

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

    def encode(self, colours: Pixels, visible: Bool | None, others: Sequence[Section], options: EncodeOptions, depth: int) -> bytes:
        """The file of samples [H, W, 1 or 3]. Raises LimitError."""
        encoder = Encoder(colours, self.model, options, visible=visible, others=others, depth=depth)
        return rate_control.file_for(encoder, options)

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: Pixels | None, refiner: Refiner | None
    ) -> Pixels:
        """The samples [H', W', 1 or 3] of a file. Raises CorruptError, TruncatedError, ModelError, InputError."""
        header, threads = reader.header, options.threads or usable_cores()
        model = devices.model_on(options.device, self.model)
        image = refinement.choose(header, model, options, region=region, opacity=opacity, refiner=refiner, tell=reader.tell)

        def finish(group: OpenGroup) -> None:
            latents: Int16 = groups.finish_group(header, group, model, image.tiles_of(group.place))  # int16 [C, h * w]
            image.add(group.place, latents)  # dct.inverse at once, or stored for the networks

        groups.open_each(header, reader.indices, model, image.groups, finish, threads=threads, layers=image.layers)
        return image.pixels(threads)  # synthesis and refiner, seams


CODECS: Final[dict[type, Callable[[Any], FileCodec]]] = {ExactModel: ExactCodec, TokenModel: TokenCodec, BuiltIn: PixelCodec}


def codec_of(model: AnyModel) -> FileCodec:
    """The codec of a model's kind."""
    return next(codec(model) for kind, codec in CODECS.items() if isinstance(model, kind))
