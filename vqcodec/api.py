"""The Python interface: encode, decode, open_vqz, generate, repair, denoise, estimate_sigma, info, verify."""

from __future__ import annotations

import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, BinaryIO, Final, NoReturn, Self

import numpy as np

from vqcodec import checks
from vqcodec.arrays import Bool, Pixels, UInt8, UInt32
from vqcodec.codec import decoder, denoising, generation, hidden, inpainting, rate_control, sharpening, tokens, walk
from vqcodec.errors import CorruptError, FormatError, InputError, MissingExtraError, ModelError, TruncatedError
from vqcodec.format import alpha, container
from vqcodec.format.header import MAX_METADATA, MAX_PIXELS, Header, Metadata, Section
from vqcodec.io import arguments, icc
from vqcodec.io.arguments import Picture, Source
from vqcodec.nets import convolution
from vqcodec.runtime.blas import with_one_thread
from vqcodec.runtime.workers import usable_cores
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.weights import registry
from vqcodec.weights.denoiser import Denoiser
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Weights
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

AnyModel = ExactModel | TokenModel
ModelName = str | Path | ExactModel | TokenModel | None
RefinerName = str | Path | Refiner | None
DenoiserName = str | Path | Denoiser | None
Region = tuple[int, int, int, int]
"""Left, top, width, height, in pixels."""
REFINES: Final = ("none", "best", "gan")
DEVICES: Final = ("cpu", "cuda", "auto")
SCALES: Final = (1, 2, 4, 8)
_TILES: Final = tuple(1 << log2 for log2 in range(6, 17))
_METADATA: Final = {"icc": container.ICC, "exif": container.EXIF, "xmp": container.XMP}


def _model(model: ModelName) -> AnyModel:
    if isinstance(model, ExactModel | TokenModel):
        return model
    return registry.find_any(None if model is None else arguments.name_or_folder("model", model))


def _model_of_file(model: ModelName, header: Header) -> AnyModel:
    found = registry.find_by_id(header.model_id) if model is None else _model(model)
    if isinstance(found, TokenModel):
        tokens.check_model(header, found)
    else:
        walk.check_model(header, found)
    return found


def _threads(threads: int | None) -> int:
    return usable_cores() if threads is None else checks.whole("threads", threads, 1)


# ------------------------------------------------------------------------------------------------ encoding


@with_one_thread
def encode(
    pixels: Picture,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    model: ModelName = None,
    effort: int = rate_control.DEFAULT_EFFORT,
    tune: str = rate_control.TUNES[0],
    tile: int | None = None,
    exact: bool = False,
    metadata: Metadata | None = None,
    threads: int | None = None,
) -> bytes:
    """Pixels uint8 [H, W] or [H, W, 1] (grey), [H, W, 2] (grey and alpha), [H, W, 3] (RGB) or [H, W, 4] (RGB and alpha), or
    uint16 grey, to the bytes of a .vqz file. They are an array, a tensor on the CPU, a PIL image, or a picture file: its path, or
    opened in binary mode.

    Integers of other types are taken where they lie in 0 to 255; bool is black and white. A picture file is read as the program
    reads it, upright, with a warning for what is not kept; a PIL image is taken as it is. Their metadata is kept unless `metadata`
    is given.
    `quality` 0..100 (default 60). Instead of it, one of three targets: `bpp` (bits per pixel) or `size` (bytes), for the largest
    file not above it, or `psnr` (dB of the visible pixels of the decode), for the smallest file not below it.
    `effort` 1..9 (default 5): lower is faster and a little larger; from 7 on, with a model that has a synthesis, much slower and a
    little smaller. `tune`: "psnr", or "ssim", which at equal bytes has a little less PSNR and looks more alike: quiet areas and
    low frequencies keep more. `tile`: pixels a side, a power of two from 64 to 65536, of tile groups, which can be decoded one by
    one; 1024 in pictures above 4 megapixels, one group in others.
    An ICC profile of grey beside RGB, or of RGB beside grey, is converted or left out, with a warning.
    Alpha is lossless. Colours under alpha 0, which nobody sees, are replaced by smooth ones that take fewer bytes, unless `exact`.
    Samples of uint16 are coded with 10, 12 or 16 bits, the least that hold them all. A token model has one rate: it takes none of
    quality, bpp, size, psnr, tune and tile.
    `threads`: cores that share the tile groups, all by default. Copies of this process do the work if it has no threads besides
    those that OpenBLAS keeps, else threads, which gain little.
    Raises InputError, ModelError, and LimitError where no file meets the target.
    """
    given = [value for value in (quality, bpp, size, psnr) if value is not None]
    if len(given) > 1:
        raise InputError("give one of quality, bpp, size and psnr")
    quality = None if quality is None else checks.number("quality", quality, 0, 100)
    bpp = None if bpp is None else checks.positive("bpp", bpp)
    size = None if size is None else min(checks.whole("size", size, 1), sys.maxsize)
    psnr = None if psnr is None else checks.positive("psnr", psnr)
    effort = checks.whole("effort", effort, 1, 9)
    exact = checks.flag("exact", exact)
    tune = checks.one_of("tune", tune, rate_control.TUNES)
    tile = None if tile is None else checks.one_of("tile", tile, _TILES)
    found, count = _model(model), _threads(threads)
    metadata = None if metadata is None else arguments.metadata(metadata)
    samples, own_metadata = arguments.picture("pixels", pixels)
    picture, transparency = _apart(samples)
    depth = _depth_of(picture)
    levels = rate_control.EFFORTS[effort - 1].levels[:2]
    visible = None if transparency is None or exact else transparency > 0
    if visible is not None:
        picture = hidden.fill_hidden(picture, visible)
    others = [] if transparency is None else [Section(container.ALPHA, alpha.encode_alpha(transparency, levels))]
    others += _sections_of(own_metadata if metadata is None else _fitted(metadata, grey=picture.shape[2] == 1))
    if isinstance(found, TokenModel):
        if given or tile is not None or tune != "psnr":
            fixed = "its rate is fixed, and it takes no quality, bpp, size, psnr, tune or tile"
            raise InputError(f"{found.name} is a token model: {fixed}")
        if picture.dtype != np.uint8:
            raise InputError(f"{found.name} is a token model, of 8 bits a sample: scale deeper ones to uint8 first")
        chosen = tokens.encode(picture.astype(np.uint8, copy=False), found, count)
        return tokens.write(picture.shape, chosen, found, levels, others)
    choices: dict[str, Any] = {"depth": depth, "tile": tile, "others": others, "tune": tune}
    choices["visible"] = visible
    encoder = rate_control.Encoder(picture, found, count, effort, **choices)
    if bpp is not None:
        size = int(min(bpp * picture.shape[0] * picture.shape[1] / 8, sys.maxsize))
    if size is not None:
        return rate_control.file_of_size(encoder, size)
    if psnr is not None:
        return rate_control.file_of_psnr(encoder, psnr)
    return rate_control.file_of_step(
        encoder, rate_control.step_of_quality(rate_control.DEFAULT_QUALITY if quality is None else quality, depth)
    )


def _apart(pixels: Pixels) -> tuple[Pixels, UInt8 | None]:
    """Grey or RGB samples [H, W, 1 or 3], and the alpha plane uint8 [H, W], if there is one. Raises InputError."""
    picture = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if max(picture.shape[:2]) > container.MAX_SIDE:
        raise InputError(f"pictures have at most {container.MAX_SIDE} pixels a side")
    if picture.dtype == np.uint16 and picture.shape[2] > 1:
        to_8_bits = '(pixels >> 8).astype("uint8")' if picture.max() > 255 else 'pixels.astype("uint8")'
        raise InputError(f"pixels of uint16 are grey without alpha, not {list(pixels.shape)}: {to_8_bits} makes 8 bits of them")
    if picture.shape[2] in (1, 3):
        return picture, None
    return np.ascontiguousarray(picture[:, :, :-1]), np.ascontiguousarray(picture[:, :, -1])


def _depth_of(picture: Pixels) -> int:
    """Bits of a sample."""
    if picture.dtype == np.uint8:
        return 8
    needed = int(picture.max()).bit_length()
    return next(depth for depth in (10, 12, 16) if depth >= needed)


def _fitted(metadata: Metadata, *, grey: bool) -> Metadata:
    """Metadata whose ICC profile is one of grey or RGB, as the samples are, with a warning where it was not. Bytes that are no
    profile stay."""
    if metadata.icc[36:40] != icc.SIGNATURE:
        return metadata
    profile, note = icc.fitted(metadata.icc, grey=grey)
    if note:
        warnings.warn(note, stacklevel=4)
    return replace(metadata, icc=profile)


def _sections_of(metadata: Metadata) -> list[Section]:
    given = [(kind, getattr(metadata, name)) for name, kind in _METADATA.items()]
    if any(len(data) > MAX_METADATA for _, data in given):
        raise InputError("metadata of more than 16 MiB")
    return [Section(kind, data) for kind, data in given if data]


# ------------------------------------------------------------------------------------------------ decoding


class VqzFile:
    """A .vqz file of which only what is asked for is read and checked; from `open_vqz`.

    `close`, the end of a `with` block, or the end of the object closes what `open_vqz` has opened; what the header says stays.
    """

    def __init__(self, source: BinaryIO, *, model: ModelName, max_pixels: int, allow_partial: bool) -> None:
        try:
            self.file = container.File(source, max_pixels)
        except (CorruptError, TruncatedError) as error:
            if not allow_partial:
                raise
            raise type(error)(f"{error}; nothing is left of it: only files with tile groups are read in part") from error
        self.header = self.file.header
        self.allow_partial = allow_partial
        self.closed = False
        self._resources = ExitStack()  # what is closed with it
        self.lost: set[int] = set()
        """Tile groups of which something was damaged where `read` met it, with `allow_partial`."""
        self.notes: list[str] = []
        """What a user should know of what `read` did."""
        self._model_name, self._source = model, source
        self._given: Source = source  # as `open_vqz` got it: errors name a path

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a VqzFile is an open file, which cannot be copied or pickled: hand on its path or bytes instead")

    def close(self) -> None:
        """Close the file, where it is not the caller's own stream. `read` and `metadata` raise InputError from now on."""
        self.closed = True
        self._resources.close()

    def _check_open(self) -> None:
        if self.closed or getattr(self._source, "closed", False):  # which the caller may do, too
            raise InputError("the .vqz file is closed: read from it before close() or inside of the with block")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.header.width, self.header.height

    @property
    def channels(self) -> int:
        """1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
        return LAYOUTS[self.header.layout].components + self.header.alpha

    @property
    def metadata(self) -> Metadata:
        """Raises FormatError, InputError."""
        self._check_open()
        with arguments.naming_source(self._given):
            return Metadata(**{name: self._other(kind) for name, kind in _METADATA.items()})

    @with_one_thread
    def read(
        self,
        region: Region | None = None,
        *,
        scale: int = 1,
        refine: str | None = None,
        strength: float | None = None,
        refiner: RefinerName = None,
        device: str = "cpu",
        threads: int | None = None,
    ) -> Pixels:
        """The pixels as `decode` gives them, of the whole picture or of a region, from the tile groups that it touches.

        `scale` 2, 4 or 8 gives the whole picture so many times smaller, rounded up, from its low frequencies. The other arguments
        are those of `decode`, as are the errors.
        """
        self._check_open()
        refine = None if refine is None else checks.one_of("refine", refine, REFINES)
        device = checks.one_of("device", device, DEVICES)
        scale = checks.one_of("scale", scale, SCALES)
        strength = None if strength is None else checks.number("strength", strength, 0, 1)
        if scale > 1 and (region is not None or refine in ("best", "gan")):
            raise InputError("a smaller picture is whole, and plainly decoded")
        if refine != "gan" and (strength is not None or refiner is not None):
            raise InputError("strength and refiner are for refine gan")
        rectangle = None if region is None else self._rectangle(region)
        count = _threads(threads)
        with arguments.naming_source(self._given):
            return self._read(rectangle, scale, refine, strength, refiner, device, count)

    def _read(
        self,
        rectangle: walk.Rectangle | None,
        scale: int,
        refine: str | None,
        strength: float | None,
        refiner: RefinerName,
        device: str,
        count: int,
    ) -> Pixels:
        """`read` with checked arguments."""
        model = _model_of_file(self._model_name, self.header)
        plane = self._alpha() if self.header.alpha else None
        if isinstance(model, TokenModel):
            if refine in ("best", "gan"):
                raise ModelError(f"{model.name} is a token model: its files have one decode, and neither best nor gan")
            pixels = self._decode_tokens(model, rectangle, scale, device, count, plane)
            return self._finished(pixels, rectangle, scale, plane)
        if refine == "best" and model.synthesis is None:
            raise ModelError(f"model {model.name} has no synthesis: its files have the plain decode, and gan")
        inference = None if model.context is None else _inference(device)
        if inference is not None:
            model = inference.model_on("cuda", model)
        if scale > 1:
            pixels = decoder.decode_scaled(self.header, self._indices, model, scale, count, plane)
        elif refine == "none":
            pixels = decoder.decode(self.header, self._indices, model, count, rectangle)
        else:
            sharpener = self._sharpener(model, refiner, strength, device) if refine == "gan" else None
            runner = None if model.synthesis is None else self._runner(device, model, "synthesis", model.synthesis)
            pixels = decoder.decode_refined(self.header, self._indices, model, count, rectangle, runner, sharpener)
        return self._finished(pixels, rectangle, scale, plane)

    def _finished(self, pixels: Pixels, rectangle: walk.Rectangle | None, scale: int, plane: UInt8 | None) -> Pixels:
        """Decoded pixels [H, W, 1 or 3] with the alpha plane uint8 of the whole picture, if there is one, as `read` gives them."""
        if plane is not None:
            plane = alpha.smaller(plane, scale) if scale > 1 else plane
            if rectangle is not None:
                top, left, height, width = rectangle
                plane = plane[top : top + height, left : left + width]
            return np.concatenate([pixels, plane[:, :, None]], axis=2)
        own = np.array(pixels)  # decoded in memory that a fork would share, to which users may write
        return own[:, :, 0] if own.shape[2] == 1 else own

    def _decode_tokens(
        self,
        model: TokenModel,
        rectangle: walk.Rectangle | None,
        scale: int,
        device: str,
        threads: int,
        plane: UInt8 | None,
    ) -> Pixels:
        """The pixels of a token file. Nothing is left of a damaged one, whatever was allowed: there is one section."""
        indices = tokens.read(self.header, self.file.indices(0, 1)[0], model)
        shape = self.header.height, self.header.width, LAYOUTS[self.header.layout].components
        run = self._runner(device, model, "decoder", model.decoder)
        pixels = tokens.decode(indices, model, shape, scale=scale, threads=threads, run=run)
        if scale > 1 and plane is not None:
            whole = tokens.decode(indices, model, shape, threads=threads, run=run)
            alpha.weigh_colours(pixels, alpha.mixed_boxes(plane, scale), whole, plane, scale)
        top, left, height, width = rectangle or (0, 0, *pixels.shape[:2])
        return pixels[top : top + height, left : left + width]

    def _sharpener(self, model: ExactModel, name: RefinerName, strength: float | None, device: str) -> sharpening.Sharpener | None:
        """None where nothing is to be added."""
        if strength is None:
            strength = sharpening.default_strength(self.header.step_levels)
        if strength == 0:
            return None
        if isinstance(name, Refiner):
            refiner = name
        else:
            refiner = registry.find_refiner(None if name is None else arguments.name_or_folder("refiner", name))
        if not np.array_equal(refiner.color, model.color):
            raise ModelError(f"refiner {refiner.name} works in other colours than model {model.name}")
        return sharpening.Sharpener(refiner, strength, self._runner(device, refiner, "refiner", refiner.network))

    def _runner(self, device: str, weights: Weights, kind: str, network: convolution.ConvNetwork) -> convolution.RunNetwork | None:
        """What runs a network on a device, or here where that has too little memory; None is numpy, here."""
        run = _network_runner(device, weights, kind)
        return run and convolution.with_memory_fallback(run, partial(convolution.run_network, network), network.halo, self._tell)

    def _tell(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _rectangle(self, region: Region) -> walk.Rectangle:
        left, top, width, height = checks.region(region)
        if min(left, top) < 0 or min(width, height) < 1 or left + width > self.size[0] or top + height > self.size[1]:
            raise InputError(f"the region {left},{top},{width},{height} is not in the picture of {self.size[0]}x{self.size[1]}")
        return top, left, height, width

    def _indices(self, group: int, layers: int) -> walk.Stored:
        if not self.allow_partial:
            return self.file.indices(group, layers)
        found = self.file.intact_indices(group, layers)
        if None in found:
            self.lost.add(group)
        return found

    def _alpha(self) -> UInt8:
        """The alpha plane uint8 [H, W]; opaque, with a note, where it was damaged and that is allowed."""
        height, width = self.header.height, self.header.width
        try:
            return alpha.decode_alpha(self.file.other(container.ALPHA), height, width)
        except FormatError:
            if not self.allow_partial:
                raise
            self._tell("the alpha plane was damaged: all is opaque")
            return np.full((height, width), 255, np.uint8)

    def _other(self, kind: int) -> bytes:
        try:
            return self.file.other(kind)
        except FormatError:
            if not self.allow_partial:
                raise
            self._tell(f"{container.NAMES[kind]} was damaged and is left out")
            return b""


def open_vqz(
    source: Source,
    *,
    model: ModelName = None,
    max_pixels: int = MAX_PIXELS,
    allow_partial: bool = False,
) -> VqzFile:
    """A .vqz file opened for reading, with or without `with`: a path, bytes, or a binary stream, which stays open.

    A stream that cannot be sought in is read whole. With `allow_partial`, damaged tile groups are decoded as far as they go, and
    listed in `lost`; otherwise they are an error. Raises InputError, FormatError and its kinds, LimitError.
    """
    limit = checks.whole("max_pixels", max_pixels, 1)
    in_part = checks.flag("allow_partial", allow_partial)
    with ExitStack() as stack:
        stream = stack.enter_context(arguments.open_source(source, limit))
        opened = VqzFile(stream, model=model, max_pixels=limit, allow_partial=in_part)
        opened._resources, opened._given = stack.pop_all(), source
    return opened


def decode(
    data: Source,
    *,
    model: ModelName = None,
    refine: str | None = None,
    strength: float | None = None,
    refiner: RefinerName = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    threads: int | None = None,
) -> Pixels:
    """A .vqz file, its bytes, its path, or opened in binary mode, to pixels uint8 (uint16 where samples have more than 8 bits)
    [H, W] or [H, W, 2 to 4], as encoded.

    `refine`: "none" is the plain decode, the same on every machine; "best" goes through the model's synthesis network, is
    closer to the original, and the same within 1 of 255; "gan" adds to the best that the model has what a refiner invents, which
    looks sharper and is further from the original; None is the best that the model has. `strength` 0..1 is how much of it "gan"
    adds, 0 nothing; by itself 0.7 in files of less than about 0.2 bits per pixel, falling to 0 at 1 (sharpening.default_strength).
    `refiner` is a name or a folder instead of photo-gan. Token files have one decode, the same within 1 of 255, and neither "best"
    nor "gan". `device` is where the networks run: "cpu" needs numpy alone, "cuda" torch and a GPU, "auto" takes what there is.

    Raises FormatError and its kinds, ModelError, LimitError, InputError, MissingExtraError.
    """
    with open_vqz(data, model=model, max_pixels=max_pixels) as opened:
        with arguments.naming_source(data):
            opened.file.check()
        return opened.read(refine=refine, strength=strength, refiner=refiner, device=device, threads=threads)


# ------------------------------------------------------------------------------------------------ noise


@with_one_thread
def denoise(pixels: Picture, *, model: DenoiserName = None, sigma: float | None = None, threads: int | None = None) -> UInt8:
    """Pixels of any kind that `encode` takes, of 8 bits, to uint8 [H, W] or [H, W, 1 to 4] with less white Gaussian noise.

    They keep their shape, and alpha stays as it is. `sigma` is the noise's standard deviation in grey levels, 0 to 100; None is
    that of `estimate_sigma`. Below 1 the picture stays as it is. `model` is a denoiser or the name or folder of one instead of
    photo-denoise. Pixels agree within 1 of 255 between machines. Raises InputError, ModelError.
    """
    given = None if sigma is None else checks.number("sigma", sigma, 0, denoising.MAX_SIGMA)
    count = _threads(threads)
    if isinstance(model, Denoiser):
        denoiser = model
    else:
        denoiser = registry.find_denoiser(None if model is None else arguments.name_or_folder("model", model))
    samples = arguments.picture("pixels", pixels)[0]
    noisy = _without_alpha(samples)
    level = denoising.estimate_sigma(noisy) if given is None else given
    out = np.atleast_3d(samples).astype(np.uint8)
    if level >= denoising.MIN_SIGMA:
        colors = 3 if out.shape[2] > 2 else 1
        out[:, :, :colors] = denoising.denoise(noisy, denoiser, level, count)
    return out.reshape(samples.shape)


@with_one_thread
def estimate_sigma(pixels: Picture) -> float:
    """Standard deviation in grey levels, at most 100, of the white noise in pixels of any kind that `encode` takes, of 8 bits.

    Raises InputError.
    """
    return denoising.estimate_sigma(_without_alpha(arguments.picture("pixels", pixels)[0]))


def _without_alpha(pixels: Pixels) -> UInt8:
    """Samples without alpha [H, W, 1 or 3], 1 where RGB are alike. Raises InputError, also for more than 8 bits."""
    picture, _ = _apart(pixels)
    if picture.dtype != np.uint8:
        raise InputError('noise is taken out of 8 bits a sample, not of uint16: (pixels >> 8).astype("uint8") makes 8 bits of 16')
    found = picture.astype(np.uint8, copy=False)
    return found[:, :, :1] if (found == found[:, :, :1]).all() else found


def _network_runner(device: str, weights: Weights, kind: str) -> convolution.RunNetwork | None:
    """What runs the network `kind` on a device; None is numpy, here."""
    inference = _inference(device)
    return None if inference is None else inference.run_network_on("cuda", weights, kind)


def _inference(device: str) -> ModuleType | None:
    """The room that runs networks on a GPU; None where they run here. torch takes seconds to import: only where asked for."""
    if device == "cpu":
        return None
    try:
        from vqcodec.neural import inference
    except ImportError as error:
        if device == "auto":
            return None
        raise MissingExtraError("decoding on a GPU needs torch: pip install 'vqcodec[neural]'") from error
    return None if device == "auto" and not inference.has_gpu() else inference


# ------------------------------------------------------------------------------------------------ pictures made up


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
    """Pictures uint8 [count, H, W] or [count, H, W, 3] that a token prior makes up, and the class of each; "" where it knows none.

    They are of the class `label` or, without one, of all classes in order, as many of each as of others. `temperature` 0.01..100
    divides logits; `guidance` 0..100 moves them away from those without a class, if there are classes (generation.py).
    Raises ModelError, InputError.
    """
    count = checks.whole("count", count, 1)
    options: dict[str, Any] = {"guidance": checks.number("guidance", guidance, 0, generation.MAX_GUIDANCE)}
    options |= {"temperature": _temperature(temperature), "seed": checks.whole("seed", seed, 0)}
    found, model = registry.find_prior(arguments.name_or_folder("prior", prior))
    in_turn = np.arange(count) * max(1, len(found.labels)) // count
    numbers = in_turn if label is None else np.full(count, _class_number(found, label))
    pictures = generation.generate(found, model, numbers, **options)
    return pictures[..., 0] if pictures.shape[3] == 1 else pictures, [found.labels[n] if found.labels else "" for n in numbers]


def _temperature(temperature: float) -> float:
    return checks.number("temperature", temperature, *generation.TEMPERATURES)


def _class_number(prior: TokenPrior, label: str | None) -> int:
    """The number of a class by its name, that of all classes for None. Raises InputError."""
    if label is not None and checks.text("label", label) not in prior.labels:
        known = ", ".join(prior.labels) or "none"
        raise InputError(f"token prior {prior.name} has no class {label} (it has: {known})")
    return prior.network.classes if label is None else prior.labels.index(label)


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
    """Pixels as `encode` takes them, of uint8, with the colours under the mask [H, W] drawn by a token prior (inpainting.inpaint).
    `label` is the class of the picture, if it is known.

    All other pixels, and alpha, are the same. Raises ModelError, InputError.
    """
    options: dict[str, Any] = {"temperature": _temperature(temperature), "seed": checks.whole("seed", seed, 0)}
    options["threads"] = _threads(threads)
    found, model = registry.find_prior(arguments.name_or_folder("prior", prior))
    options["label"] = _class_number(found, label)
    samples, hidden = arguments.picture("pixels", pixels)[0], arguments.mask(mask)
    picture, transparency = _apart(samples)
    if picture.dtype != np.uint8:
        raise InputError('token models have 8 bits a sample, not uint16: (pixels >> 8).astype("uint8") makes 8 bits of 16')
    if hidden.shape != picture.shape[:2]:
        raise InputError(f"the mask has {list(hidden.shape)} pixels, and the picture {list(picture.shape[:2])} (height, width)")
    mended = inpainting.inpaint(picture.astype(np.uint8, copy=False), hidden, found, model, **options)
    if transparency is not None:
        mended = np.dstack([mended, transparency])
    return mended.reshape(samples.shape)


# ------------------------------------------------------------------------------------------------ about files


def _whole_file(data: Source, max_pixels: int) -> container.File:
    """A file all of whose checksums hold."""
    file = container.File(BytesIO(arguments.file_bytes(data, max_pixels)), max_pixels)
    file.check()
    return file


@with_one_thread
def indices(data: Source, *, model: ModelName = None, max_pixels: int = MAX_PIXELS) -> dict[str, UInt32]:
    """Every codebook index of a file, for those who study them: columns uint32 [n] in decoding order. Raises as `decode`.

    `index` (0 is the likeliest word of its codebook), `codebook`, `class` (of scale, 0 the quietest), `channel` (of the first
    coefficient it stands for), `row` and `column` of its 8x8 cell. The values after an escape are not listed. Token files have
    `index`, `row` and `column`.
    """
    with arguments.naming_source(data):
        return _indices(_whole_file(data, max_pixels), model)


def _indices(file: container.File, model: ModelName) -> dict[str, UInt32]:
    found = _model_of_file(model, file.header)
    if isinstance(found, TokenModel):
        grid = tokens.read(file.header, file.indices(0, 1)[0], found)
        rows, columns = np.indices(grid.shape, np.uint32)
        return {"index": grid.reshape(-1).astype(np.uint32), "row": rows.reshape(-1), "column": columns.reshape(-1)}
    tables = []
    for number, (top, left, h, w) in enumerate(file.header.groups):
        table = walk.indices_of_group(file.header, file.indices(number, file.header.layers), (h, w), found)
        cell = table.pop("cell")
        tables.append(table | {"row": top + cell // np.uint32(w), "column": left + cell % np.uint32(w)})
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


@with_one_thread
def verify(data: Source, *, model: ModelName = None, max_pixels: int = MAX_PIXELS) -> None:
    """Raise a VqcodecError unless all checksums of a file, given as to `decode`, hold and it decodes completely."""
    decode(data, model=model, refine="none", max_pixels=max_pixels)


@with_one_thread
def info(data: Source, *, model: ModelName = None, streams: bool = False, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """The facts of a file, given as to `decode`, as a JSON-able dict: header, name of the model (None where it is not installed),
    sections, sizes.

    A token file has cells and the bits of an index instead of a step. With `streams`, which decodes everything: the bytes of each
    stream, the ideal bytes and the share of each band, where the model is installed; of a token file the number of codewords that
    it uses, and of those that the model has. Raises FormatError and its kinds, LimitError, and ModelError for a `model` that is
    not the file's.
    """
    with arguments.naming_source(data):
        return _facts(_whole_file(data, max_pixels), model, streams=streams)


def _facts(file: container.File, model: ModelName, *, streams: bool) -> dict[str, Any]:
    header, layout = file.header, LAYOUTS[file.header.layout]
    if header.tokens is None:
        coding = {"step": header.step_levels, "layers": header.layers, "groups": len(header.groups), "merge_map": header.merge_map}
        coding["masking"] = header.masking
    else:
        coding = tokens.describe(header)
    result: dict[str, Any] = {
        "width": header.width,
        "height": header.height,
        "channels": layout.components + header.alpha,
        "depth": header.depth,
        "layout": layout.name if header.tokens is None else "tokens",
        "version": ".".join(map(str, container.VERSION)),
        "model": None,
        "model_id": header.model_id.hex(),
        **coding,
        "bytes": file.size,
        "bpp": 8 * file.size / (header.width * header.height),
        "sections": [
            {"type": container.NAMES.get(kind, f"{kind:#04x}"), "bytes": length, "checksum": f"{checksum:08x}"}
            for kind, length, checksum in file.table
        ],
    }
    if streams and header.tokens is not None:
        result["used_codewords"] = tokens.count_used(header, file.indices(0, 1)[0])
    try:
        if model is None and not streams:
            return result | {"model": registry.name_by_id(header.model_id)}
        found = _model_of_file(model, header)
    except ModelError:
        if model is not None:
            raise
        return result
    result["model"] = found.name
    if not streams:
        return result
    if isinstance(found, TokenModel):
        tokens.read(header, file.indices(0, 1)[0], found)
        return result | {"codewords": len(found.codebook)}
    return result | walk.describe(header, file.indices, found)
