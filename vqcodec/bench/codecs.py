"""The codecs a bench can compare, each behind the same four names: `name`, `version`, `encode`, `decode`.

A spec is a codec's name: `jpeg`, `webp`, `avif`, `jxl`, `none`, and `vqz`, which takes a model, an effort and what to tune for:
`vqz:MODEL`, `vqz:MODEL:EFFORT:TUNE`, `vqz:::ssim` (empty parts are defaults); and a decoder: `vqz+gan`, `vqz:MODEL+none`.
Pixels are uint8, [H,W] for grey and [H,W,3] for RGB; grey is handed to every codec as grey. Pillow's codecs run as its users run
them, at settings that favour size.
"""

import importlib
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL
from PIL import AvifImagePlugin, Image, features

from vqcodec.arrays import UInt8
from vqcodec.codec.rate_control import TUNES
from vqcodec.errors import CorruptError, MissingExtraError, VqcodecError


class BenchUsageError(VqcodecError):
    """What was asked of the bench makes no sense: an unknown codec, an anchor that is not benched, a bad quality."""

    exit_code = 2


class Codec(Protocol):
    """What the bench needs from a codec."""

    name: str  # the spec it was made from, without folders
    description: str  # settings that are not the quality
    version: str  # of the library that does the work
    qualities: tuple[float, ...]  # the default sweep: on photos it spans 0.1-2 bpp
    has_grey: bool  # False: a grey picture may come back as RGB

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        """A whole file of `pixels`, uint8 [H,W] or [H,W,3]."""

    def decode(self, data: bytes) -> UInt8:
        """The pixels of a file made by `encode`: uint8 [H,W] or [H,W,3]."""


class VqzCodec:
    """vqcodec itself, through its public API."""

    qualities: tuple[float, ...] = (10, 14, 20, 26, 32, 38, 44, 50, 56, 62, 68, 74, 80, 86, 91, 95)
    has_grey = True

    def __init__(
        self,
        model: str | None = None,
        effort: int | None = None,
        tune: str | None = None,
        refine: str | None = None,
        *,
        threads: int | None = 1,
    ) -> None:
        from vqcodec import __version__, api

        self._api = api
        self._model = model
        self._threads = threads
        self._refine = refine
        self._options: dict[str, Any] = {"effort": effort, "tune": tune}
        self._options = {name: value for name, value in self._options.items() if value is not None}
        self.name = ":".join(["vqz", *_parts(model, effort, tune)]) + (f"+{refine}" if refine else "")
        self.description = f"{Path(model).name if model else 'default'} model, {effort or 'default'} effort"
        if tune:
            self.description += f", tuned for {tune}"
        if refine:
            self.description += f", decoder {refine}"
        probe = self.encode(np.zeros((8, 8), np.uint8), 50)  # finds a missing model now, and names the one in use
        facts = api.info(probe, model=model)
        used = [str(facts[key]) for key in ("model", "model_id") if facts.get(key)]
        self.version = " ".join([f"vqcodec {__version__}, model", *used])

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return self._api.encode(pixels, quality=quality, model=self._model, threads=self._threads, **self._options)

    def decode(self, data: bytes) -> UInt8:
        return np.asarray(self._api.decode(data, model=self._model, refine=self._refine, threads=self._threads), np.uint8)


class JpegCodec:
    """libjpeg-turbo through Pillow: optimised Huffman tables, progressive, 4:2:0."""

    name = "jpeg"
    description = "optimize, progressive, 4:2:0"
    qualities: tuple[float, ...] = (1, 5, 8, 12, 18, 27, 40, 55, 70, 82, 90, 94)
    has_grey = True

    def __init__(self) -> None:
        self.version = _pillow_version("libjpeg-turbo", "libjpeg_turbo")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        options = {"optimize": True, "progressive": True, "subsampling": "4:2:0"}
        return _pillow_encode(pixels, "JPEG", quality=_whole(quality, self.name), **options)

    def decode(self, data: bytes) -> UInt8:
        return _pillow_decode(data, "JPEG")


class WebpCodec:
    """libwebp through Pillow at its slowest method. WebP has no grey: a grey picture comes back as RGB."""

    name = "webp"
    description = "method 6"
    qualities: tuple[float, ...] = (0, 4, 12, 25, 40, 58, 74, 84, 91, 95)
    has_grey = False

    def __init__(self) -> None:
        if not features.check("webp"):
            raise MissingExtraError("this Pillow was built without WebP: pip install --force-reinstall pillow")
        self.version = _pillow_version("libwebp", "webp")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return _pillow_encode(pixels, "WEBP", quality=_whole(quality, self.name), method=6)

    def decode(self, data: bytes) -> UInt8:
        return _pillow_decode(data, "WEBP")


class AvifCodec:
    """libavif (libaom, dav1d) through Pillow: speed 6, 4:2:0, or 4:0:0 for grey."""

    name = "avif"
    description = "speed 6, 4:2:0"
    qualities: tuple[float, ...] = (5, 12, 20, 30, 40, 50, 60, 70, 80, 88)
    has_grey = True

    def __init__(self, *, threads: int | None = 1) -> None:
        if not features.check("avif"):
            raise MissingExtraError("this Pillow was built without AVIF: pip install --force-reinstall pillow")
        self._threads = threads
        self.version = _pillow_version("libavif", "avif")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        threads = {} if self._threads is None else {"max_threads": self._threads}
        return _pillow_encode(pixels, "AVIF", quality=_whole(quality, self.name), speed=6, **threads)

    def decode(self, data: bytes) -> UInt8:
        AvifImagePlugin.DEFAULT_MAX_THREADS = self._threads or 0  # Pillow has no other way to say it; 0 is all cores
        return _pillow_decode(data, "AVIF")


class JxlCodec:
    """libjxl through imagecodecs."""

    name = "jxl"
    description = "effort 7"
    qualities: tuple[float, ...] = (0, 8, 20, 28, 43, 60, 72, 82, 88, 93)
    has_grey = True

    def __init__(self, *, threads: int | None = 1) -> None:
        try:
            self._library = importlib.import_module("imagecodecs")
        except ImportError as error:
            raise MissingExtraError("JPEG XL needs imagecodecs: pip install 'vqcodec[jxl]'") from error
        if not self._library.JPEGXL.available:
            raise MissingExtraError("this imagecodecs was built without JPEG XL")
        self._threads = {1: 0, None: -1}.get(threads, threads)  # 0 is the calling thread, -1 all cores
        self.version = f"{self._library.jpegxl_version()} (imagecodecs {self._library.__version__})"

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        distance = _jxl_distance(quality)
        return bytes(self._library.jpegxl_encode(pixels, distance=distance, effort=7, numthreads=self._threads))

    def decode(self, data: bytes) -> UInt8:
        return np.asarray(self._library.jpegxl_decode(data, numthreads=self._threads))


def _jxl_distance(quality: float) -> float:
    """The distance that cjxl takes for a quality (libjxl's JxlEncoderDistanceFromQuality)."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


class NoneCodec:
    """Stores the raw pixels: what it measures (infinite PSNR, 24 bpp, speed of a copy) proves the bench itself."""

    name = "none"
    description = "raw pixels"
    version = "no library"
    qualities: tuple[float, ...] = (100,)
    has_grey = True

    _header = struct.Struct("<IIB")  # height, width, channels

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        height, width = pixels.shape[:2]
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return self._header.pack(height, width, channels) + pixels.tobytes()

    def decode(self, data: bytes) -> UInt8:
        height, width, channels = self._header.unpack_from(data)
        pixels = np.frombuffer(data, np.uint8, offset=self._header.size)
        if pixels.size != height * width * channels:
            raise CorruptError(f"none: {pixels.size} bytes of pixels where {height}x{width}x{channels} are due")
        return pixels.reshape((height, width) if channels == 1 else (height, width, channels)).copy()


DECODERS = ("none", "best", "gan")
CODEC_NAMES = ("vqz", "jpeg", "webp", "avif", "jxl", "none")


def open_codec(spec: str, *, threads: int | None = 1) -> Codec:
    """The codec of a spec; `threads` is a count or None for all cores (JPEG and WebP always use one).

    Raises BenchUsageError for a spec that means nothing, MissingExtraError when what it needs is not installed.
    """
    name, refine = decoder_of(spec)
    kind, *options = name.split(":")
    if kind == "vqz":
        return _open_vqz(spec, options, refine, threads)
    makers: dict[str, Callable[[], Codec]] = {
        "jpeg": JpegCodec,
        "webp": WebpCodec,
        "avif": lambda: AvifCodec(threads=threads),
        "jxl": lambda: JxlCodec(threads=threads),
        "none": NoneCodec,
    }
    if kind not in makers:
        raise BenchUsageError(f"unknown codec {kind!r}: choose from {', '.join(CODEC_NAMES)}")
    if options or refine:
        raise BenchUsageError(f"codec {spec!r}: {kind} takes no options")
    return makers[kind]()


def with_decoders(specs: Sequence[str], decoders: Sequence[str]) -> list[str]:
    """The specs, each of a vqz that names no decoder with one decoder after the other. Raises BenchUsageError."""
    if unknown := [name for name in decoders if name not in DECODERS]:
        raise BenchUsageError(f"unknown decoder {unknown[0]!r}: choose from {', '.join(DECODERS)}")
    found: list[str] = []
    for spec in specs:
        plain = spec.split(":")[0] == "vqz" and decoder_of(spec)[1] is None
        found.extend([f"{spec}+{name}" for name in decoders] if plain else [spec])
    return found


def decoder_of(spec: str) -> tuple[str, str | None]:
    """A spec without the decoder that it names, and this."""
    name, _, decoder = spec.rpartition("+")
    return (name, decoder) if decoder in DECODERS and name else (spec, None)


def grey_of(pixels: UInt8) -> UInt8:
    """BT.601 luma of RGB, uint8 [H,W,3] -> [H,W], as Pillow converts; equal channels keep their value."""
    return np.array(Image.fromarray(pixels).convert("L"))


def _open_vqz(spec: str, options: list[str], refine: str | None, threads: int | None) -> Codec:
    """vqz[:MODEL[:EFFORT[:TUNE]]][+REFINE]; an empty part is the default."""
    model, effort, tune = [*options, "", "", ""][:3]
    if len(options) > 3 or effort not in ("", *"123456789") or tune not in ("", *TUNES):
        raise BenchUsageError(f"codec {spec!r}: write vqz:MODEL:EFFORT:TUNE, effort from 1 to 9, tune {' or '.join(TUNES)}")
    return VqzCodec(model or None, int(effort) if effort else None, tune or None, refine, threads=threads)


def _parts(model: str | None, effort: int | None, tune: str | None) -> list[str]:
    """The parts of a vqz name after `vqz`: a model given as a folder goes by its last part."""
    parts = ["" if model is None else Path(model).name, "" if effort is None else str(effort), tune or ""]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _whole(quality: float, name: str) -> int:
    if quality != int(quality) or not 0 <= quality <= 100:
        raise BenchUsageError(f"{name} takes whole qualities from 0 to 100, not {quality:g}")
    return int(quality)


def _pillow_version(library: str, feature: str) -> str:
    return f"{library} {features.version(feature) or '?'} (Pillow {PIL.__version__})"


def _pillow_encode(pixels: UInt8, file_format: str, **options: object) -> bytes:
    target = BytesIO()
    Image.fromarray(pixels).save(target, file_format, **options)  # mode L or RGB, by the array's shape
    return target.getvalue()


def _pillow_decode(data: bytes, file_format: str) -> UInt8:
    with Image.open(BytesIO(data), formats=(file_format,)) as picture:
        pixels: UInt8 = np.array(picture)  # uint8 [H,W] for mode L, [H,W,3] for RGB
    return pixels
