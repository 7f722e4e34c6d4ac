"""Adapters of the codecs that the bench compares. Each has the interface `Codec`; `open_codec` makes one from its spec.

A spec is a codec's name, with settings behind colons:
- `vqz:MODEL:EFFORT:TUNE`: a model, an effort and a metric to tune for; an empty part is the default, as in `vqz:::psnr`. A suffix
  selects the decoder: `vqz+gan`, `vqz:MODEL+none`.
- `avif:SPEED:SUBSAMPLING:TUNE`, in any order, each at most once: speed 0 (slowest) to 10, default 6; `420` (default) or `444`;
  `psnr` for libaom's tune=psnr, default libavif's own tune. Examples: `avif:444`, `avif:3:444:psnr`.
- `jxl:EFFORT`: 1 to 10, default 7; libjxl before 0.10 has no effort 10.
- `jpeg`, `webp`: no settings.
- `vqz:lossless`, `vqz:lossless:EFFORT`, `png`, `webp:lossless`, `jxl:lossless` and `none` are lossless and have one point. AVIF is
  not among them: Pillow's files of quality 100 have errors.
Pixels are uint8, [H, W] for grey and [H, W, 3] for RGB; every codec receives grey as grey. Pillow's codecs run at settings that
favour small files.
"""

import importlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import numpy as np
import PIL
from PIL import Image, features

from vqcodec import __version__, api
from vqcodec.arrays import UInt8
from vqcodec.errors import CorruptError, MissingExtraError, VqcodecError
from vqcodec.io import peers
from vqcodec.options import DEFAULT_EFFORT, TUNES, EncodeOptions, Tune


class BenchUsageError(VqcodecError):
    """Invalid bench settings: an unknown codec, an anchor that is not benched, a quality out of range."""

    exit_code = 2


class Codec(Protocol):
    """Interface of a codec in the bench."""

    name: str  # its spec, without folders
    description: str  # settings other than the quality
    version: str  # version of the library that does the work
    qualities: tuple[float, ...]  # default sweep; on photos it spans 0.1 to 2 bpp
    has_grey: bool  # False: a grey picture may be decoded to RGB
    lossless: bool  # True: the decode equals the original, and the quality has no effect

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        """Encode pixels uint8 [H, W] or [H, W, 3] to a whole file."""

    def decode(self, data: bytes) -> UInt8:
        """Decode a file made by `encode` to pixels uint8 [H, W] or [H, W, 3]."""


LOSSLESS = "lossless"
_ONE_POINT: tuple[float, ...] = (100,)
"""The sweep of a lossless codec: a name for its only point."""


@dataclass(frozen=True, kw_only=True)
class VqzSpec:
    """Parts of a spec `vqz:MODEL:EFFORT:TUNE+DECODER` or `vqz:lossless:EFFORT`; None is the default."""

    lossless: bool = False
    model: str | None = None
    effort: int | None = None
    tune: Tune | None = None
    decoder: str | None = None

    @property
    def name(self) -> str:
        """The spec in its shortest form; a model's folder is shortened to its last part."""
        model = LOSSLESS if self.lossless else Path(self.model).name if self.model else ""
        parts = [model, str(self.effort or ""), self.tune or ""]
        while parts and not parts[-1]:
            parts.pop()
        return ":".join(["vqz", *parts]) + (f"+{self.decoder}" if self.decoder else "")


class VqzCodec:
    """vqcodec through its public API."""

    qualities: tuple[float, ...] = (10, 14, 20, 26, 32, 38, 44, 50, 56, 62, 68, 74, 80, 86, 91, 95)
    has_grey = True
    lossless = False

    def __init__(self, spec: VqzSpec, *, threads: int | None = 1, api: ModuleType = api) -> None:
        """`threads` is a count or None for all cores. Tests replace `api`."""
        self._api = api
        self._spec = spec
        self._effort = spec.effort or DEFAULT_EFFORT
        self._tune = EncodeOptions(tune=spec.tune).tuned_for
        self._threads = threads
        self.name = spec.name
        model = f"{Path(spec.model).name if spec.model else 'default'} model"
        self.description = f"{model}, effort {self._effort}, tuned for {self._tune}"
        if spec.decoder:
            self.description += f", decoder {spec.decoder}"
        probe = self.encode(np.zeros((8, 8), np.uint8), 50)  # reports a missing model now, and names the model in use
        facts = self._api.info(probe, model=spec.model)
        used = [str(facts[key]) for key in ("model", "model_id") if facts.get(key)]
        self.version = " ".join([f"vqcodec {__version__}, model", *used])

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return self._api.encode(
            pixels,
            quality=quality,
            model=self._spec.model,
            effort=self._effort,
            tune=self._tune,
            threads=self._threads,
        )

    def decode(self, data: bytes) -> UInt8:
        pixels = self._api.decode(data, model=self._spec.model, refine=self._spec.decoder, threads=self._threads)
        return np.asarray(pixels, np.uint8)


class VqzLosslessCodec:
    """vqcodec's lossless files through its public API."""

    qualities: tuple[float, ...] = _ONE_POINT
    has_grey = True
    lossless = True

    def __init__(self, spec: VqzSpec, *, threads: int | None = 1, api: ModuleType = api) -> None:
        """`threads` is a count or None for all cores. Tests replace `api`."""
        self._api = api
        self._effort = spec.effort or DEFAULT_EFFORT
        self._threads = threads
        self.name = spec.name
        self.description = f"lossless, effort {self._effort}"
        self.version = f"vqcodec {__version__}, no model"

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return self._api.encode(pixels, lossless=True, effort=self._effort, threads=self._threads)

    def decode(self, data: bytes) -> UInt8:
        return np.asarray(self._api.decode(data, threads=self._threads), np.uint8)


class PngCodec:
    """PNG through Pillow: its search for the best filters and zlib level 9."""

    name = "png"
    description = "optimize"
    qualities: tuple[float, ...] = _ONE_POINT
    has_grey = True
    lossless = True

    def __init__(self) -> None:
        self.version = _pillow_version("zlib", "zlib")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return peers.png(pixels)

    def decode(self, data: bytes) -> UInt8:
        return peers.decoded(data, "PNG")


class JpegCodec:
    """libjpeg-turbo through Pillow: optimised Huffman tables, progressive, 4:2:0."""

    name = "jpeg"
    description = "optimize, progressive, 4:2:0"
    qualities: tuple[float, ...] = (1, 5, 8, 12, 18, 27, 40, 55, 70, 82, 90, 94)
    has_grey = True
    lossless = False

    def __init__(self) -> None:
        self.version = _pillow_version("libjpeg-turbo", "libjpeg_turbo")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return peers.jpeg(pixels, _whole_quality(quality, self.name))

    def decode(self, data: bytes) -> UInt8:
        return peers.decoded(data, "JPEG")


class WebpCodec:
    """libwebp through Pillow at its slowest method. WebP has no grey: a grey picture is decoded to RGB."""

    name = "webp"
    description = "method 6"
    qualities: tuple[float, ...] = (0, 4, 12, 25, 40, 58, 74, 84, 91, 95)
    has_grey = False
    lossless = False

    def __init__(self) -> None:
        peers.require_format("webp", "WebP")
        self.version = _pillow_version("libwebp", "webp")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return peers.webp(pixels, _whole_quality(quality, self.name))

    def decode(self, data: bytes) -> UInt8:
        return peers.decoded(data, "WEBP")


class WebpLosslessCodec(WebpCodec):
    """Lossless WebP at its slowest settings."""

    name = "webp:lossless"
    description = "lossless, method 6, quality 100"
    qualities = _ONE_POINT
    lossless = True

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return peers.lossless_webp(pixels)


@dataclass(frozen=True, kw_only=True)
class AvifSpec:
    """Parts of a spec `avif:SPEED:SUBSAMPLING:TUNE`."""

    speed: int = peers.AVIF_SPEED  # 0 (slowest) to 10
    subsampling: str = "420"  # or "444"
    tune: str | None = None  # "psnr", or None for libavif's default, which favours perceived quality

    @property
    def name(self) -> str:
        """The spec in its shortest form."""
        parts = ["avif"]
        if self.speed != DEFAULT_AVIF.speed:
            parts.append(str(self.speed))
        if self.subsampling != DEFAULT_AVIF.subsampling:
            parts.append(self.subsampling)
        if self.tune is not None:
            parts.append(self.tune)
        return ":".join(parts)


DEFAULT_AVIF = AvifSpec()
_AVIF_PARTS = {
    "speed": frozenset(map(str, range(11))),
    "subsampling": frozenset({"420", "444"}),
    "tune": frozenset({"psnr"}),
}
"""Values of each part of a spec of AVIF. No value belongs to two parts, so their order is free."""


class AvifCodec:
    """libavif (libaom, dav1d) through Pillow; 4:0:0 for grey."""

    qualities: tuple[float, ...] = (5, 12, 20, 30, 40, 50, 60, 70, 80, 88)
    has_grey = True
    lossless = False

    def __init__(self, spec: AvifSpec = DEFAULT_AVIF, *, threads: int | None = 1) -> None:
        """`threads` is a count or None for all cores."""
        peers.require_format("avif", "AVIF")
        self._subsampling = ":".join(spec.subsampling)
        self._speed, self._tune, self._threads = spec.speed, spec.tune, threads
        self.name = spec.name
        self.description = f"speed {spec.speed}, {self._subsampling}, {f'tune {spec.tune}' if spec.tune else 'default tune'}"
        self.version = _pillow_version("libavif", "avif")

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        whole = _whole_quality(quality, self.name)
        return peers.avif(pixels, whole, speed=self._speed, subsampling=self._subsampling, tune=self._tune, threads=self._threads)

    def decode(self, data: bytes) -> UInt8:
        return peers.decoded(data, "AVIF", self._threads)


DEFAULT_JXL_EFFORT = 7


class JxlCodec:
    """libjxl through imagecodecs."""

    qualities: tuple[float, ...] = (0, 8, 20, 28, 43, 60, 72, 82, 88, 93)
    has_grey = True
    lossless = False

    def __init__(self, effort: int = DEFAULT_JXL_EFFORT, *, threads: int | None = 1) -> None:
        """`effort` is 1 to 10; `threads` is a count or None for all cores."""
        try:
            self._library = importlib.import_module("imagecodecs")
        except ImportError as error:
            raise MissingExtraError("JPEG XL needs imagecodecs: pip install 'vqcodec[jxl]'") from error
        if not self._library.JPEGXL.available:
            raise MissingExtraError("this imagecodecs was built without JPEG XL")
        self._effort = effort
        self._threads = {1: 0, None: -1}.get(threads, threads)  # 0 is the calling thread, -1 all cores
        self.name = "jxl" if effort == DEFAULT_JXL_EFFORT else f"jxl:{effort}"
        self.description = f"effort {effort}"
        self.version = f"{self._library.jpegxl_version()} (imagecodecs {self._library.__version__})"

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        distance = _jxl_distance(quality)
        return bytes(self._library.jpegxl_encode(pixels, distance=distance, effort=self._effort, numthreads=self._threads))

    def decode(self, data: bytes) -> UInt8:
        return np.asarray(self._library.jpegxl_decode(data, numthreads=self._threads))


class JxlLosslessCodec(JxlCodec):
    """Lossless JPEG XL through imagecodecs."""

    qualities = _ONE_POINT
    lossless = True

    def __init__(self, *, threads: int | None = 1) -> None:
        super().__init__(threads=threads)
        self.name = "jxl:lossless"
        self.description = f"lossless, effort {self._effort}"

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        return bytes(self._library.jpegxl_encode(pixels, lossless=True, effort=self._effort, numthreads=self._threads))


def _jxl_distance(quality: float) -> float:
    """Butteraugli distance that cjxl uses for a quality 0..100 (libjxl's JxlEncoderDistanceFromQuality)."""
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


class NoneCodec:
    """Raw pixels. Its expected figures (infinite PSNR, 24 bpp, the speed of a copy) check the bench itself."""

    name = "none"
    description = "raw pixels"
    version = "no library"
    qualities: tuple[float, ...] = _ONE_POINT
    has_grey = True
    lossless = True

    _header = struct.Struct("<IIB")  # height, width, channels

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        height, width = pixels.shape[:2]
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return self._header.pack(height, width, channels) + pixels.tobytes()

    def decode(self, data: bytes) -> UInt8:
        height, width, channels = self._header.unpack_from(data)
        pixels = np.frombuffer(data, np.uint8, offset=self._header.size)
        if pixels.size != height * width * channels:
            raise CorruptError(f"none: {pixels.size} bytes of pixels, expected {height}x{width}x{channels}")
        return pixels.reshape((height, width) if channels == 1 else (height, width, channels)).copy()


DECODERS = ("none", "best", "gan")
CODEC_NAMES = ("vqz", "jpeg", "webp", "avif", "jxl", "vqz:lossless", "png", "webp:lossless", "jxl:lossless", "none")


def open_codec(spec: str, *, threads: int | None = 1) -> Codec:
    """Return the codec of a spec. `threads` is a count or None for all cores; JPEG and WebP always use one.

    Raises BenchUsageError for an invalid spec and MissingExtraError when a package that it needs is not installed.
    """
    name, decoder = split_decoder(spec)
    kind = name.split(":")[0]
    if kind == "vqz":
        parsed = parse_vqz(spec)
        return (VqzLosslessCodec if parsed.lossless else VqzCodec)(parsed, threads=threads)
    makers: dict[str, Callable[[], Codec]] = {
        "jpeg": JpegCodec,
        "webp": WebpCodec,
        "avif": lambda: AvifCodec(parse_avif(spec), threads=threads),
        "jxl": lambda: JxlCodec(parse_jxl(spec), threads=threads),
        "png": PngCodec,
        "webp:lossless": WebpLosslessCodec,
        "jxl:lossless": lambda: JxlLosslessCodec(threads=threads),
        "none": NoneCodec,
    }
    if kind not in makers:
        raise BenchUsageError(f"unknown codec {kind!r}: choose from {', '.join(CODEC_NAMES)}")
    if decoder is not None:
        raise BenchUsageError(f"codec {spec!r}: only vqz takes a decoder")
    if spec in makers:
        return makers[spec]()
    if kind in ("avif", "jxl"):
        return makers[kind]()
    options = f"no options but {LOSSLESS}" if f"{kind}:{LOSSLESS}" in makers else "no options"
    raise BenchUsageError(f"codec {spec!r}: {kind} takes {options}")


def with_decoders(specs: Sequence[str], decoders: Sequence[str]) -> list[str]:
    """Specs with each vqz that names no decoder repeated once for every decoder. Raises BenchUsageError."""
    if unknown := [name for name in decoders if name not in DECODERS]:
        raise BenchUsageError(f"unknown decoder {unknown[0]!r}: choose from {', '.join(DECODERS)}")
    expanded: list[str] = []
    for spec in specs:
        parts = spec.split(":")
        takes_decoder = parts[0] == "vqz" and parts[1:2] != [LOSSLESS] and split_decoder(spec).decoder is None
        expanded.extend([f"{spec}+{name}" for name in decoders] if takes_decoder else [spec])
    return expanded


class SplitSpec(NamedTuple):
    """A spec without its decoder, and the decoder if it names one."""

    spec: str
    decoder: str | None


def split_decoder(spec: str) -> SplitSpec:
    """Separate a spec from the decoder behind its last `+`."""
    name, _, decoder = spec.rpartition("+")
    return SplitSpec(name, decoder) if decoder in DECODERS and name else SplitSpec(spec, None)


def parse_vqz(spec: str) -> VqzSpec:
    """Parse a spec `vqz[:MODEL[:EFFORT[:TUNE]]][+DECODER]` or `vqz:lossless[:EFFORT]`. Raises BenchUsageError."""
    name, decoder = split_decoder(spec)
    options = name.split(":")[1:]
    model, effort, tune = [*options, "", "", ""][:3]
    if len(options) > 3 or effort not in ("", *"123456789") or tune not in ("", *TUNES):
        raise BenchUsageError(f"codec {spec!r}: write vqz:MODEL:EFFORT:TUNE, effort from 1 to 9, tune {' or '.join(TUNES)}")
    lossless = model == LOSSLESS
    if lossless and (tune or decoder):
        raise BenchUsageError(f"codec {spec!r}: write vqz:{LOSSLESS}:EFFORT, as lossless files have neither tune nor decoder")
    known_model = None if lossless else model or None
    found_effort = int(effort) if effort else None
    return VqzSpec(
        lossless=lossless,
        model=known_model,
        effort=found_effort,
        tune=next((one for one in TUNES if one == tune), None),
        decoder=decoder,
    )


def parse_avif(spec: str) -> AvifSpec:
    """Parse a spec `avif[:SPEED][:SUBSAMPLING][:TUNE]`, its parts in any order. Raises BenchUsageError."""
    found: dict[str, str] = {}
    for value in spec.split(":")[1:]:
        part = next((part for part, known in _AVIF_PARTS.items() if value in known), None)
        if part is None or part in found:
            raise BenchUsageError(f"codec {spec!r}: write avif:SPEED:SUBSAMPLING:TUNE, with a speed from 0 to 10, 420 or 444, psnr")
        found[part] = value
    return AvifSpec(
        speed=int(found.get("speed", DEFAULT_AVIF.speed)),
        subsampling=found.get("subsampling", DEFAULT_AVIF.subsampling),
        tune=found.get("tune"),
    )


def parse_jxl(spec: str) -> int:
    """Parse a spec `jxl[:EFFORT]` to the effort. Raises BenchUsageError."""
    _, colon, effort = spec.partition(":")
    if colon and effort not in map(str, range(1, 11)):
        raise BenchUsageError(f"codec {spec!r}: write jxl:EFFORT, with an effort from 1 to 10, or jxl:{LOSSLESS}")
    return int(effort) if colon else DEFAULT_JXL_EFFORT


def to_grey(pixels: UInt8) -> UInt8:
    """BT.601 luma of RGB as Pillow computes it, uint8 [H, W, 3] -> [H, W]; equal channels keep their value."""
    return np.array(Image.fromarray(pixels).convert("L"))


@dataclass(frozen=True)
class Bracket:
    """Files of two neighbouring qualities around a size; the same file twice where the codec's range of sizes ends."""

    below: bytes  # at most the size, except where the lowest quality already exceeds it
    above: bytes


def bracket(codec: Codec, pixels: UInt8, size_bytes: int, *, lowest: int = 0, highest: int = 100) -> Bracket:
    """Bisect the whole qualities from `lowest` to `highest` for the two files around `size_bytes`."""
    below, above = codec.encode(pixels, lowest), codec.encode(pixels, highest)
    if len(above) <= size_bytes:
        return Bracket(above, above)
    if len(below) > size_bytes:
        return Bracket(below, below)
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        data = codec.encode(pixels, middle)
        if len(data) <= size_bytes:
            lowest, below = middle, data
        else:
            highest, above = middle, data
    return Bracket(below, above)


def _whole_quality(quality: float, name: str) -> int:
    """The quality as int. Raises BenchUsageError unless it is a whole number from 0 to 100."""
    if quality != int(quality) or not 0 <= quality <= 100:
        raise BenchUsageError(f"{name} takes whole qualities from 0 to 100, not {quality:g}")
    return int(quality)


def _pillow_version(library: str, feature: str) -> str:
    return f"{library} {features.version(feature) or '?'} (Pillow {PIL.__version__})"
