"""Options of encoding and decoding, carried unchanged from the CLI, the API, the Pillow plugin and the bench to the codec.

Values are checked once, when an options object is made. To add an option: a field here (and in the TypedDict beside it), its use in
the codec, and its flag in cli/encode.py or cli/decode.py.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from inspect import Parameter
from typing import Any, Final, Literal, TypedDict, TypeVar, get_args

from vqcodec import checks
from vqcodec.errors import InputError

Tune = Literal["psnr", "ssim"]
"""Quality measure at equal bytes: least squared error, or perceived quality (more bits for quiet areas and low frequencies)."""
Refine = Literal["none", "best", "gan"]
"""Decoder: exact, with the model's synthesis network, or with texture that a refiner invents added."""
Device = Literal["cpu", "cuda", "auto"]
Scale = Literal[1, 2, 4, 8]
Region = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""
TUNES: Final[tuple[Tune, ...]] = get_args(Tune)
REFINES: Final[tuple[Refine, ...]] = get_args(Refine)
DEVICES: Final[tuple[Device, ...]] = get_args(Device)
SCALES: Final[tuple[Scale, ...]] = get_args(Scale)
TILES: Final = tuple(1 << log2 for log2 in range(6, 17))
"""Sides of tile groups in pixels."""
DEFAULT_QUALITY: Final = 60.0
DEFAULT_EFFORT: Final = 5


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """Options of encoding a picture. Raises InputError for values out of range and for more than one target."""

    quality: float | None = None
    """0..100; DEFAULT_QUALITY if there is no other target."""
    bpp: float | None = None
    """Target: at most this many bits per pixel."""
    size: int | None = None
    """Target: at most this many bytes."""
    psnr: float | None = None
    """Target: at least this PSNR in dB, over visible pixels."""
    ssimulacra2: float | None = None
    """Target: at least this SSIMULACRA2, 0..100, over mid grey; 8 bits only. Needs its package."""
    effort: int = DEFAULT_EFFORT
    """1..9: higher is slower and makes smaller files."""
    tune: Tune | None = None
    """None: "psnr" for a PSNR target, else "ssim"."""
    tile: int | None = None
    """Side of tile groups in pixels, one of TILES. None: 1024 above 4 megapixels, else one group."""
    exact: bool = False
    """Keep the colours of fully transparent pixels."""
    lossless: bool = False
    """Keep every sample. There is no other target then, and no model but a graphic one, `exact` is implied, and `tune` has no
    effect."""
    threads: int | None = None
    """Cores to use; None: all."""

    def __post_init__(self) -> None:
        names = ("quality", "bpp", "size", "psnr", "ssimulacra2")
        targets = [name for name in names if getattr(self, name) is not None]
        if len(targets) > 1:
            exclusive = " and ".join(f"--{name}" for name in targets)
            raise InputError("give one of quality, bpp, size, psnr and ssimulacra2", for_option=f"{exclusive} exclude each other")
        if self.lossless and targets:
            raise InputError(f"lossless has no {targets[0]}", for_option=f"--lossless and --{targets[0]} exclude each other")
        set_field = object.__setattr__  # the dataclass is frozen; checks turn numpy scalars into Python's
        set_field(self, "quality", None if self.quality is None else checks.number("quality", self.quality, 0, 100))
        set_field(self, "bpp", None if self.bpp is None else checks.positive("bpp", self.bpp))
        set_field(self, "size", None if self.size is None else min(checks.whole("size", self.size, 1), sys.maxsize))
        set_field(self, "psnr", None if self.psnr is None else checks.positive("psnr", self.psnr))
        set_field(self, "ssimulacra2", None if self.ssimulacra2 is None else checks.number("ssimulacra2", self.ssimulacra2, 0, 100))
        set_field(self, "effort", checks.whole("effort", self.effort, 1, 9))
        set_field(self, "exact", checks.flag("exact", self.exact))
        set_field(self, "lossless", checks.flag("lossless", self.lossless))
        set_field(self, "tune", None if self.tune is None else checks.one_of("tune", self.tune, TUNES))
        set_field(self, "tile", None if self.tile is None else checks.one_of("tile", self.tile, TILES))
        set_field(self, "threads", _threads(self.threads))

    @property
    def tuned_for(self) -> Tune:
        """The quality measure, chosen or by default."""
        return self.tune or ("ssim" if self.psnr is None else "psnr")


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """Options of decoding a file. Raises InputError for values out of range and for options that exclude each other."""

    refine: Refine | None = None
    """None: the best decoder that the model has."""
    strength: float | None = None
    """0..1, for refine "gan": share of the refiner's output that is added. None: by the step (sharpening.default_strength)."""
    region: Region | None = None
    """None: the whole picture."""
    scale: Scale = 1
    """Divisor of the size; above 1 the whole picture is decoded from its low frequencies, without networks."""
    device: Device = "cpu"
    threads: int | None = None
    """Cores to use; None: all."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "refine", None if self.refine is None else checks.one_of("refine", self.refine, REFINES))
        set_field(self, "device", checks.one_of("device", self.device, DEVICES))
        set_field(self, "scale", checks.one_of("scale", self.scale, SCALES))
        set_field(self, "strength", None if self.strength is None else checks.number("strength", self.strength, 0, 1))
        if self.scale > 1 and (self.region is not None or self.refine in ("best", "gan")):
            raise InputError(
                "a smaller picture is whole, and plainly decoded",
                for_option="--scale goes neither with --region nor with --refine best or gan",
            )
        if self.strength is not None:
            self.require_gan()
        set_field(self, "region", None if self.region is None else checks.region(self.region))
        set_field(self, "threads", _threads(self.threads))

    def require_gan(self) -> None:
        """Raise InputError unless the refiner is used: strength and the choice of a refiner have no effect otherwise."""
        if self.refine != "gan":
            raise InputError("strength and refiner are for refine gan", for_option="--strength and --refiner are for --refine gan")


class EncodeChoices(TypedDict, total=False):
    """Keyword arguments that make EncodeOptions."""

    quality: float | None
    bpp: float | None
    size: int | None
    psnr: float | None
    ssimulacra2: float | None
    effort: int
    tune: Tune | None
    tile: int | None
    exact: bool
    lossless: bool
    threads: int | None


class DecodeChoices(TypedDict, total=False):
    """Keyword arguments that make DecodeOptions, but for region and scale."""

    refine: Refine | None
    strength: float | None
    device: Device
    threads: int | None


Function = TypeVar("Function", bound=Callable[..., Any])


def takes(options: type[EncodeOptions | DecodeOptions], choices: type) -> Callable[[Function], Function]:
    """Decorate a function with keyword arguments `**choices`: its signature and help list the fields that they stand for."""

    def decorated(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [parameter for parameter in signature.parameters.values() if parameter.kind is not Parameter.VAR_KEYWORD]
        named = [
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in fields(options)
            if field.name in choices.__annotations__
        ]
        function.__signature__ = signature.replace(parameters=[*own, *named])  # type: ignore[attr-defined]
        return function

    return decorated


def check_names(function: str, given: Iterable[str], choices: type) -> None:
    """Raise TypeError, worded like Python's, for a keyword argument that a function with `**choices` does not take."""
    for name in given:
        if name not in choices.__annotations__:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def _threads(value: int | None) -> int | None:
    return None if value is None else checks.whole("threads", value, 1)
