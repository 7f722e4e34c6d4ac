"""The Python interface: encode, decode, open_vqz, open_pack, generate, repair, denoise, estimate_sigma, info, verify."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NoReturn, Self, TypeVar, Unpack, cast

from vqcodec import checks
from vqcodec.arrays import Bool, Pixels, UInt8, UInt32
from vqcodec.checks import MAX_PIXELS
from vqcodec.codec import denoising, generation, inspection, pictures, pipeline, refinement, tokens
from vqcodec.codec.file_codec import FileCodec
from vqcodec.codec.reader import Reader
from vqcodec.errors import InputError, ModelError
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.io import arguments, icc
from vqcodec.io.arguments import Picture, Source
from vqcodec.options import DecodeChoices, DecodeOptions, EncodeChoices, EncodeOptions, Region, Scale, check_names, takes
from vqcodec.runtime.blas import with_one_thread
from vqcodec.runtime.workers import usable_cores
from vqcodec.weights import registry
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.denoiser import Denoiser
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Weights
from vqcodec.weights.graphic import GraphicModel
from vqcodec.weights.kinds import AnyModel, FileModel, profiles_of
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel

if TYPE_CHECKING:
    from vqcodec.format.pack import Lost, Place

ModelName = str | Path | ExactModel | TokenModel | GraphicModel | None
RefinerName = str | Path | Refiner | None
DenoiserName = str | Path | Denoiser | None


def _model(model: ModelName, *, lossless: bool) -> AnyModel:
    """The model to encode with. Raises InputError, ModelError."""
    if isinstance(model, ExactModel | TokenModel) and lossless:
        raise InputError(f"lossless files are made with a graphic model or none: {model.name} is {model.noun}")
    if isinstance(model, Weights):
        return model
    return registry.find_for_encoding(None if model is None else arguments.name_or_folder("model", model), lossless=lossless)


def _model_of_file(reader: Reader, model: ModelName) -> AnyModel:
    """The model to read a file with: `model`, by default that of the file; BUILT_IN for files without a model."""
    return reader.model(None if model is None or not reader.header.model_id else _given_model(model))


def _given_model(model: str | Path | FileModel) -> FileModel:
    """A model to decode files with. Raises InputError, ModelError."""
    return model if isinstance(model, Weights) else registry.find_for_decoding(arguments.name_or_folder("model", model))


def _refiner(name: RefinerName) -> Refiner:
    if isinstance(name, Refiner):
        return name
    return registry.find_refiner(None if name is None else arguments.name_or_folder("refiner", name))


def _threads(threads: int | None) -> int:
    return usable_cores() if threads is None else checks.whole("threads", threads, 1)


# ------------------------------------------------------------------------------------------------ encoding


@takes(EncodeOptions, EncodeChoices)
@with_one_thread
def encode(
    pixels: Picture,
    *,
    model: ModelName = None,
    metadata: Metadata | None = None,
    embed_model: bool = False,
    **choices: Unpack[EncodeChoices],
) -> bytes:
    """Encode a picture to the bytes of a .vqz file.

    `pixels` are uint8 or uint16, [H, W] or [H, W, 1] (grey), [H, W, 2] (grey and alpha), [H, W, 3] (RGB) or [H, W, 4] (RGB and
    alpha): an array or a tensor on the CPU, of any library with `__array__`, `__array_interface__` or `__dlpack__`; a PIL image; or
    a picture file, as its path or opened in binary mode. Integers of other types are accepted if they lie in 0 to 255; bool is
    black and white. A picture file is read as by the command, upright, with a warning for content that is not kept; a PIL image is
    taken as it is. Their metadata is kept unless `metadata` is given. `embed_model` puts the model into the file, which then
    decodes where that is not installed; targets of size do not count it. With a graphic model, the default model codes what is not
    graphic.

    The other keywords are the fields of options.EncodeOptions:

    - `quality` 0..100 (default 60), or one of four targets: `bpp` (bits per pixel) or `size` (bytes) for the largest file not
      above it; `psnr` (dB over the visible pixels of the decode) or `ssimulacra2` (0..100, with transparent pixels over mid grey)
      for the smallest file not below it. `ssimulacra2` needs vqcodec[metrics], 8 bits a sample and 8 pixels a side.
    - `effort` 1..9 (default 5): higher is slower and makes smaller files; from 7 on four times as slow or more, with models that
      have a synthesis.
    - `tune`: "ssim" (default) for perceived quality, with more bytes for quiet areas and low frequencies, or "psnr" for the least
      squared error (default with a target `psnr`).
    - `tile`: side of tile groups, which can be decoded one by one, in pixels: a power of two from 64 to 65536. By default 1024 in
      pictures above 4 megapixels, one group in others.
    - `exact`: keep the colours under alpha 0; by default they are replaced by smooth ones that take fewer bytes. Alpha is lossless.
    - `lossless`: keep every sample, colours under alpha 0 included. The file has no quality: `quality` and targets are refused, and
      `tune` has no effect. It needs no model, unless `model` is a graphic one and makes it smaller; others are refused.
    - `threads`: cores that share the tile groups, all by default. Forked processes do the work if this process has no threads
      besides those that OpenBLAS keeps, else threads, which gain little.

    An ICC profile of grey beside RGB, or of RGB beside grey, is converted or left out, with a warning. Samples of uint16 are coded
    with 10, 12 or 16 bits, the least that hold them all, alpha included. A token model has a fixed rate and 8 bits: it refuses
    targets, quality, tune, tile and uint16. Raises InputError, ModelError, MissingExtraError without the package for SSIMULACRA2,
    and LimitError if no file meets the target.
    """
    check_names("encode", choices, EncodeChoices)
    options = EncodeOptions(**choices)
    found = _model(model, lossless=options.lossless)
    given = None if metadata is None else arguments.metadata(metadata)
    samples, own_metadata = arguments.picture("pixels", pixels)
    if given is not None:
        own_metadata = _fitted(given, grey=samples.ndim == 2 or samples.shape[2] < 3)
    data = pipeline.encode(samples, found, options, own_metadata)
    if not embed_model:
        return data
    from vqcodec.codec.embedding import with_model  # only this needs it

    return with_model(data, found, samples.shape[0] * samples.shape[1])


def _fitted(metadata: Metadata, *, grey: bool) -> Metadata:
    """Metadata with an ICC profile of grey or of RGB, like the samples; warns if it is another. Other bytes stay."""
    if metadata.icc[36:40] != icc.SIGNATURE:
        return metadata
    profile, note = icc.fitted(metadata.icc, grey=grey)
    if note:
        warnings.warn(note, stacklevel=4)
    return replace(metadata, icc=profile)


# ------------------------------------------------------------------------------------------------ decoding


class _Opened:
    """A file or pack that is open for reading; `close`, the end of a `with` block, or its own end closes what was opened for it."""

    _noun: ClassVar[str]

    def __init__(self, source: BinaryIO) -> None:
        self.closed = False
        self._resources = ExitStack()  # closed with it
        self._source = source
        self._given: Source = source  # as the caller gave it: errors name a path

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is an open file, which cannot be copied or pickled: hand on its path or bytes instead"
        )

    def close(self) -> None:
        """Close it, unless it is the caller's own stream. Reading raises InputError from now on."""
        self.closed = True
        self._resources.close()

    def _check_open(self) -> None:
        if self.closed or getattr(self._source, "closed", False):  # the caller may close it, too
            raise InputError(f"the {self._noun} is closed: read from it before close() or inside of the with block")


class VqzFile(_Opened):
    """An open .vqz file, made by `open_vqz`. Only the parts that are asked for are read and checked.

    `close`, the end of a `with` block, or the end of the object closes what `open_vqz` opened; the header's facts stay. `lost` are
    the damaged tile groups, and `notes` the remarks, that `read` has met.
    """

    _noun = ".vqz file"

    def __init__(self, source: BinaryIO, *, model: ModelName, max_pixels: int, allow_partial: bool) -> None:
        super().__init__(source)
        self._reader = Reader(source, max_pixels=max_pixels, allow_partial=allow_partial)
        self.file, self.header, self.allow_partial = self._reader.file, self._reader.header, allow_partial
        self.lost, self.notes = self._reader.lost, self._reader.notes
        self._model_name = model

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.header.width, self.header.height

    @property
    def channels(self) -> int:
        """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
        return self.header.channels

    @property
    def metadata(self) -> Metadata:
        """ICC profile, EXIF and XMP. Raises FormatError, InputError."""
        self._check_open()
        with arguments.naming_source(self._given):
            needs_model = self.header.patterns and container.MODEL_ICC in [entry.type for entry in self.file.table]
            model = _model_of_file(self._reader, self._model_name) if needs_model else BUILT_IN
            return self._reader.read_metadata(profiles_of(model))

    @takes(DecodeOptions, DecodeChoices)
    def read(
        self,
        region: Region | None = None,
        *,
        scale: Scale = 1,
        refiner: RefinerName = None,
        **choices: Unpack[DecodeChoices],
    ) -> Pixels:
        """Decode the whole picture, or a region from the tile groups that it touches, to pixels as `decode` gives them.

        `region` is left, top, width, height in pixels. `scale` 2, 4 or 8 gives the whole picture at 1/2, 1/4 or 1/8 of its size,
        rounded up, from its low frequencies. The other arguments and the errors are those of `decode`.
        """
        check_names("VqzFile.read", choices, DecodeChoices)
        self._check_open()
        options = DecodeOptions(region=region, scale=scale, **choices)
        if refiner is not None:
            options.require_gan()
        self._reader.region(options.region)
        with arguments.naming_source(self._given):
            model = _model_of_file(self._reader, self._model_name)
            wanted = _refiner(refiner) if refinement.uses_refiner(options, self.header) else None
            return pipeline.read(self._reader, model, options, wanted)


def open_vqz(
    source: Source,
    *,
    model: ModelName = None,
    max_pixels: int = MAX_PIXELS,
    allow_partial: bool = False,
) -> VqzFile:
    """Open a .vqz file for reading, with or without `with`: a path, bytes, or a binary stream, which stays open.

    A stream that cannot seek is read whole. With `allow_partial`, damaged tile groups are decoded as far as they go, and listed in
    `lost`; otherwise they are an error. Raises InputError, FormatError and its subclasses, LimitError.
    """
    return _open(VqzFile, source, model, max_pixels, allow_partial)


class Pack(_Opened, Mapping[str, Pixels]):
    """An open pack of pictures, made by `open_pack`: `pack[name]` decodes one, as `decode` does. Names are in order.

    `close`, the end of a `with` block, or the end of the object closes what `open_pack` opened.
    """

    _noun = "pack"

    def __init__(self, source: BinaryIO, *, model: ModelName, max_pixels: int, allow_partial: bool) -> None:
        from vqcodec.io.pack_reader import PackReader  # files need none of it

        super().__init__(source)
        self._reader = PackReader(source, max_pixels=max_pixels, allow_partial=allow_partial)
        self._model = None if model is None else _given_model(model)
        self.lost: list[Lost] = self._reader.pack.gaps
        """Parts of a damaged pack that were found to be lost; with `allow_partial` only."""
        self._allow_partial, self._max_pixels, self._names = allow_partial, max_pixels, list[str]()

    @property
    def names(self) -> list[str]:
        """The names of all pictures, sorted. Raises FormatError for damage, unless the pack was opened with `allow_partial`."""
        self._check_open()
        if not self._names:
            with arguments.naming_source(self._given):
                places = self._reader.pack.each(self.lost if self._allow_partial else None)
                self._names = sorted((place.entry.name for place in places), key=lambda name: name.encode())
        return list(self._names)

    def __len__(self) -> int:
        return len(self._reader.pack)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        self._check_open()
        return isinstance(name, str) and self._reader.pack.find(name) is not None

    def __getitem__(self, name: str) -> Pixels:
        """The pixels of a picture. Raises KeyError, FormatError, ModelError, LimitError."""
        return self.read(name)

    @takes(DecodeOptions, DecodeChoices)
    def read(self, name: str, *, refiner: RefinerName = None, **choices: Unpack[DecodeChoices]) -> Pixels:
        """The pixels of a picture; arguments and errors are those of `decode`. Raises KeyError for a name that is not there."""
        check_names("Pack.read", choices, DecodeChoices)
        options = DecodeOptions(**choices)
        if refiner is not None:
            options.require_gan()
        with arguments.naming_source(self._given):
            place = self._place(name)
            wanted = _refiner(refiner) if refinement.uses_refiner(options, self._reader.header(place)) else None
            return self._reader.pixels(place, options, self._model, wanted)

    def bytes(self, name: str) -> bytes:
        """A picture as the bytes of a .vqz file that decodes to the same pixels. Raises KeyError and the errors of `decode`."""
        with arguments.naming_source(self._given):
            return self._reader.file(self._place(name), self._model)

    def file(self, name: str) -> VqzFile:
        """A picture as an open .vqz file: its header, its metadata, and parts of it. Raises KeyError and the errors of `decode`."""
        data = self.bytes(name)
        opened = open_vqz(data, max_pixels=self._max_pixels)
        if opened.header.model_id:
            opened._model_name = cast(ModelName, self._reader.model(opened._reader, self._model))
        return opened

    def _place(self, name: str) -> Place:
        self._check_open()
        found = self._reader.pack.find(name)
        if found is None:
            raise KeyError(name)
        return found


def open_pack(
    source: Source,
    *,
    model: ModelName = None,
    max_pixels: int = MAX_PIXELS,
    allow_partial: bool = False,
) -> Pack:
    """Open a pack for reading, with or without `with`: a path, bytes, or a binary stream, which stays open.

    Only the index is read at first. With `allow_partial`, a pack that is cut or damaged is read as far as it is intact. Raises
    InputError, FormatError and its subclasses, ModelError, LimitError.
    """
    return _open(Pack, source, model, max_pixels, allow_partial)


Kind = TypeVar("Kind", VqzFile, Pack)


def _open(kind: type[Kind], source: Source, model: ModelName, max_pixels: int, allow_partial: bool) -> Kind:
    """A file or pack for `open_vqz` or `open_pack`, closed again if it cannot be read."""
    limit = checks.whole("max_pixels", max_pixels, 1)
    in_part = checks.flag("allow_partial", allow_partial)
    with ExitStack() as stack:
        stream = stack.enter_context(arguments.open_source(source, limit))
        opened = kind(stream, model=model, max_pixels=limit, allow_partial=in_part)
        opened._resources, opened._given = stack.pop_all(), source
    return opened


@takes(DecodeOptions, DecodeChoices)
def decode(
    data: Source,
    *,
    model: ModelName = None,
    refiner: RefinerName = None,
    max_pixels: int = MAX_PIXELS,
    **choices: Unpack[DecodeChoices],
) -> Pixels:
    """Decode a .vqz file, given as its bytes, its path or a binary stream, to pixels of the shape and type that were encoded.

    They are uint8, or uint16 if samples have more than 8 bits: [H, W] or [H, W, 2 to 4].

    - `refine`: "none" is the plain decode, the same on every machine; "best" goes through the model's synthesis network, is closer
      to the original, and agrees within 1 of 255 between machines; "gan" adds texture that a refiner invents, which looks sharper
      and is further from the original. None is the best that the model has. Where the encoder found the plain decode closer than
      the synthesis, as on flat graphics, all of these are the plain decode. Token files have a single decode, which agrees within
      1 of 255, and neither "best" nor "gan". Files without a model, such as lossless ones, have a single decode, which is exact:
      options of networks and `model` have no effect.
    - `strength` 0..1: share of the refiner's texture that "gan" adds; by default 0.7 in files of less than about 0.2 bits per
      pixel, falling to 0 at 1 (sharpening.default_strength). `refiner`: a name or a folder instead of photo-gan.
    - `device` for the networks: "cpu" needs only numpy, "cuda" torch and a GPU, "auto" takes the GPU if there is one.
    - `threads`: cores, all by default.

    Raises FormatError and its subclasses, ModelError, LimitError, InputError, MissingExtraError.
    """
    check_names("decode", choices, DecodeChoices)
    with open_vqz(data, model=model, max_pixels=max_pixels) as opened:
        with arguments.naming_source(data):
            opened.file.check()
        return opened.read(refiner=refiner, **choices)


# ------------------------------------------------------------------------------------------------ noise


@with_one_thread
def denoise(pixels: Picture, *, model: DenoiserName = None, sigma: float | None = None, threads: int | None = None) -> UInt8:
    """Remove white Gaussian noise from a picture of 8 bits, given as to `encode`: uint8 [H, W] or [H, W, 1 to 4].

    Shape and alpha stay. `sigma` is the noise's standard deviation in grey levels, 0 to 100; by default that of `estimate_sigma`.
    Below 1 the picture is returned unchanged. `model` is a denoiser, or the name or folder of one instead of photo-denoise. Pixels
    agree within 1 of 255 between machines. Raises InputError, ModelError.
    """
    given = None if sigma is None else checks.number("sigma", sigma, 0, denoising.MAX_SIGMA)
    cores = None if threads is None else checks.whole("threads", threads, 1)
    if isinstance(model, Denoiser):
        denoiser = model
    else:
        denoiser = registry.find_denoiser(None if model is None else arguments.name_or_folder("model", model))
    samples = arguments.picture("pixels", pixels)[0]
    return pictures.denoise(samples, denoiser, pictures.estimate_sigma(samples) if given is None else given, cores)


@with_one_thread
def estimate_sigma(pixels: Picture) -> float:
    """Standard deviation in grey levels, at most 100, of the white noise in a picture of 8 bits, given as to `encode`.

    Raises InputError.
    """
    return pictures.estimate_sigma(arguments.picture("pixels", pixels)[0])


# ------------------------------------------------------------------------------------------------ token priors


@with_one_thread
def generate(
    count: int,
    *,
    prior: str | Path,
    label: str | None = None,
    temperature: float = 1.0,
    guidance: float = 1.0,
    seed: int = 0,
) -> tuple[UInt8, list[str]]:
    """Draw pictures from a token prior: uint8 [count, H, W] or [count, H, W, 3], and the class of each, "" if it has no classes.

    `label` is the class of all; by default all classes in order, equally often. `temperature` 0.01..100 divides logits;
    `guidance` 0..100 moves them away from those without a class, if there are classes (generation.py). Raises ModelError,
    InputError.
    """
    count = checks.whole("count", count, 1)
    guidance = checks.number("guidance", guidance, 0, generation.MAX_GUIDANCE)
    temperature, seed = _temperature(temperature), checks.whole("seed", seed, 0)
    found, model = registry.find_prior(arguments.name_or_folder("prior", prior))
    drawn = pictures.generate(found, model, count, label=_label(label), temperature=temperature, guidance=guidance, seed=seed)
    return drawn.pictures, drawn.labels


@with_one_thread
def repair(
    pixels: Picture,
    mask: Bool,
    *,
    prior: str | Path,
    label: str | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
) -> UInt8:
    """Redraw the colours under the mask bool [H, W] from a token prior, in a picture of 8 bits, given as to `encode`.

    `label` is the class of the picture, if it is known. All other pixels, and alpha, stay. Raises ModelError, InputError.
    """
    temperature, seed = _temperature(temperature), checks.whole("seed", seed, 0)
    cores = None if threads is None else checks.whole("threads", threads, 1)
    found, model = registry.find_prior(arguments.name_or_folder("prior", prior))
    samples, hidden = arguments.picture("pixels", pixels)[0], arguments.mask(mask)
    return pictures.repair(samples, hidden, found, model, label=_label(label), temperature=temperature, seed=seed, threads=cores)


def _temperature(temperature: float) -> float:
    return checks.number("temperature", temperature, *generation.TEMPERATURES)


def _label(label: str | None) -> str | None:
    return None if label is None else checks.text("label", label)


# ------------------------------------------------------------------------------------------------ about files


@with_one_thread
def indices(data: Source, *, model: ModelName = None, max_pixels: int = MAX_PIXELS) -> dict[str, UInt32]:
    """Every codebook index of a file: columns uint32 [n] in decoding order. Raises the errors of `decode`.

    `index` (0 is the likeliest codeword of its codebook), `codebook`, `class` (scale class, 0 the quietest), `channel` (of the
    vector's first coefficient), `row` and `column` of its 8x8 cell. The values after an escape are not listed. Token files have
    `index`, `row` and `column`.
    """
    with arguments.naming_source(data):
        reader = _whole_file(data, max_pixels)
        return _codec_of_file(reader, model).indices(reader)


def verify(data: Source, *, model: ModelName = None, max_pixels: int = MAX_PIXELS) -> None:
    """Raise a VqcodecError unless all checksums of a file (given as to `decode`) are right and it decodes completely."""
    decode(data, model=model, refine="none", max_pixels=max_pixels)


@with_one_thread
def info(data: Source, *, model: ModelName = None, streams: bool = False, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """The facts of a file, given as to `decode`, as a JSON-able dict: header, name of the model, sections, sizes.

    `model` is None if the model is not installed, "none" if the file needs none. `lossless`: the file holds exactly the samples
    that the encoder was given. Instead of a step a token file has cells and the bits of an index, and a file without a model
    (layout "pixels") has the numbers of `cells`, `graphic_cells`, and `colours` in its palette. `streams` decodes everything and
    adds, unless the model is not installed, the bytes of each stream, the ideal bytes (with a model) and the share of each band;
    for a token file it adds the number of codewords that it uses, and the number that the model has. Raises FormatError and its
    subclasses, LimitError, and ModelError for a `model` that is not the file's.
    """
    with arguments.naming_source(data):
        reader = _whole_file(data, max_pixels)
        result = inspection.header_facts(reader)
        if streams:
            result |= tokens.used_codewords(reader)
        try:
            if model is None and not streams:
                with suppress(ModelError):
                    return result | {"model": registry.name_by_id(reader.header.model_id)}
            codec = _codec_of_file(reader, model)
        except ModelError:
            if model is not None:
                raise
            return result
        result["model"] = codec.model.name
        return result | (codec.describe(reader) if streams else {})


def _whole_file(data: Source, max_pixels: int) -> Reader:
    """A file whose checksums all hold."""
    reader = Reader(BytesIO(arguments.file_bytes(data, max_pixels)), max_pixels=max_pixels)
    reader.file.check()
    return reader


def _codec_of_file(reader: Reader, model: ModelName) -> FileCodec:
    """The codec of a file's model, or of `model`. Raises ModelError, CorruptError."""
    codec = pipeline.codec_of(_model_of_file(reader, model))
    codec.check(reader.header)
    return codec
