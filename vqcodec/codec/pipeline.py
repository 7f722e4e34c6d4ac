"""The codec on one page: pixels -> bytes, and bytes -> pixels, stage by stage. Stages are functions of the modules on the left.

    module           encode: read down                    decode: read up
    picture          picture_of: channels, hidden colours channels.join
    trials           which cells are graphic              graphics.Overlay.paint
    transform.dct    forward (Source.coefficients)        inverse, then seams (Reconstruction)
    targets          with_overshoot, targets_of           synthesis and refiner (Reconstruction)
    groups           encode_group                         open_each, finish_group
    streams          pack                                 unpack
    container        write_file                           File (Reader)

Rate control codes the picture at one quantiser step or at several. Regions, smaller sizes and networks are kinds of reconstruction.
Token models (tokens.py) and exact pixels (pixel_codec.py) have stages of their own between picture and container.
Shapes: H x W pixels, h x w cells of 8x8 pixels, C coded channels; aiming transforms C' >= C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO

from vqcodec.arrays import Bool, Int16, Pixels
from vqcodec.codec import channels, comparing, devices, groups, rate_control, reconstruction, refinement, streams, trials
from vqcodec.codec.file_codec import FileCodec
from vqcodec.codec.graphics import Overlay
from vqcodec.codec.inspection import ExactFiles
from vqcodec.codec.picture import Picture, picture_of
from vqcodec.codec.reader import Reader
from vqcodec.codec.source import Source
from vqcodec.codec.targets import targets_of, with_overshoot
from vqcodec.codec.tokens import TokenCodec
from vqcodec.format import container
from vqcodec.format.header import Header, Metadata, Section
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.blas import with_one_thread
from vqcodec.runtime.workers import usable_cores
from vqcodec.transform.rect import Rect
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.kinds import AnyModel, PixelModel
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel


@with_one_thread
def encode(pixels: Pixels, model: AnyModel, options: EncodeOptions, metadata: Metadata | None = None) -> bytes:
    """The bytes of a .vqz file of samples [H, W] or [H, W, 1 to 4], uint8 or uint16. Raises InputError, LimitError."""
    picture = picture_of(pixels, options, metadata or Metadata())  # colours [H, W, 1 or 3], opacity [H, W] or None
    return codec_of(BUILT_IN if options.lossless and not isinstance(model, PixelModel) else model).encode(picture, options)


def decode(data: bytes, model: AnyModel, options: DecodeOptions, refiner: Refiner | None = None) -> Pixels:
    """The samples of a whole file, shaped as for `encode`, whose inverse this is. Raises FormatError, ModelError, InputError."""
    reader = Reader(BytesIO(data))
    reader.file.check()
    return read(reader, model, options, refiner)


@with_one_thread
def read(reader: Reader, model: AnyModel, options: DecodeOptions, refiner: Refiner | None = None) -> Pixels:
    """The samples that the options select: [H', W'] or [H', W', 2 to 4]. Raises FormatError, ModelError, InputError."""
    codec = codec_of(model if reader.header.model_id else BUILT_IN)
    codec.check(reader.header)
    region = reader.region(options.region)  # in pixels, or None
    opacity = reader.opacity()  # [H, W] or None, also if the pixels have it
    colours = codec.decode(reader, options, region, opacity, refiner)  # [H', W', 1 or 3]
    return channels.join(colours, opacity, region, options.scale)  # [H', W'] or [H', W', 2 to 4]


class Encoder(Source):
    """A picture and an exact model; codes files at any quantiser step, for rate control to choose from."""

    def group(self, number: int, header: Header) -> groups.CodedGroup:
        """The latents and symbols of a tile group."""
        settings = self.settings(header)
        coefficients = self.coefficients(number, self.transformed(header))  # dct.forward: float32 [C', h * w], grey levels
        coefficients = with_overshoot(coefficients, self.part(number), self.model, step_64=settings.step_64, depth=self.depth)
        cells, graphic = header.groups[number].shape, self.graphic_cells(number)  # h, w; bool [h, w] or None
        with progress.stage("", 2 * self.rounds + 1):  # a round of aiming codes the group, then moves the targets
            targets = targets_of(coefficients, cells, self.model, settings, self.rounds, graphic)  # float32 [C, h * w], steps
            return groups.encode_group(targets, cells, self.model, settings, graphic)  # latents int16 [C, h * w], symbols uint8

    def code(self, step_64: int, *, with_latents: bool = False) -> tuple[Header, list[groups.CodedGroup]]:
        """The header and every tile group at a step; together latents need as much memory as the picture. Raises TooFineError."""
        header = self.header(step_64)
        if self.rounds and comparing.synthesis_may_hurt(self, header):  # aiming is left out where the plain decode will be shown
            unaimed, coded = self.without_aiming().code(step_64, with_latents=with_latents)
            if unaimed.best_is_plain:
                return unaimed, coded
        compare = comparing.comparison(self, header, with_latents=with_latents)  # adds the errors of the plain decode and of "best"
        with progress.stage("coding"):
            coded = self.each_group(lambda number: compare(number, self.group(number, header)))
        return comparing.chosen(header, coded), coded

    def file(self, step_64: int) -> bytes:
        """The file at a step in 1/64 grey level. Raises TooFineError."""
        return self.write(*self.code(step_64))

    def write(self, header: Header, coded: Sequence[groups.CodedGroup]) -> bytes:
        """The file with these tile groups."""
        merge_map, sections = streams.pack([group.symbols for group in coded], self.model, self.effort, self.threads)  # by layer
        header, own = replace(header, merge_map=merge_map), [Section(container.INDICES, data) for data in sections]
        return container.write_file(header, [*self.graphic_sections, *own, *self.others])

    def decoded(self, step_64: int) -> Pixels:
        """The samples [H, W, components] of the best decode at a step, without graphic cells. Raises TooFineError."""
        header, coded = self.code(step_64, with_latents=True)
        return reconstruction.best_pixels(header, self.model, [group.latents for group in coded], self.threads)


class ExactCodec(ExactFiles):
    """Encodes and decodes files of an exact model."""

    def encode(self, picture: Picture, options: EncodeOptions, graphic: PixelModel = BUILT_IN) -> bytes:
        """The file of a picture: with DCT blocks in all cells, in some, or by `graphic` in none (trials). Raises LimitError."""
        plain = DecodeOptions(refine="none", threads=options.threads)

        def decoded(file: bytes) -> Pixels:
            return self.decode(Reader(BytesIO(file)), plain, None, picture.opacity, None)

        def with_layers(other: Picture, cells: Bool | None) -> bytes:
            return rate_control.file_for(Encoder(other, self.model, options, cells), options)

        return trials.Trials(picture, options, self.model, graphic, with_layers, decoded).best()

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: Pixels | None, refiner: Refiner | None
    ) -> Pixels:
        """The samples [H', W', 1 or 3] of a file. Raises CorruptError, TruncatedError, ModelError, InputError."""
        header, threads = reader.header, options.threads or usable_cores()
        model = devices.model_on(options.device, self.model)
        image = refinement.choose(header, model, options, region=region, opacity=opacity, refiner=refiner, tell=reader.tell)

        def finish(group: groups.OpenGroup) -> None:
            latents: Int16 = groups.finish_group(header, group, model, image.tiles_of(group.place))  # int16 [C, h * w]
            image.add(group.place, latents)  # dct.inverse at once, or stored for the networks

        graphic = Overlay(reader, image.groups)
        groups.open_each(header, graphic, model, image.groups, finish, threads=threads, layers=image.layers)
        return channels.in_colour(graphic.paint(image.pixels(threads), region, options.scale, opacity), header)  # networks, seams


def codec_of(model: AnyModel) -> FileCodec:
    """The codec of a model's kind."""
    if isinstance(model, PixelModel):
        from vqcodec.codec.pixel_codec import PixelCodec  # slow to import, and photographs do not need it

        return PixelCodec(model)
    return TokenCodec(model) if isinstance(model, TokenModel) else ExactCodec(model)
