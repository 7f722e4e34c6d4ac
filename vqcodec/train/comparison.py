"""The report of a training: bytes of held-out pictures with the new model, with the base model and in other formats.

Bytes are compared at equal quality: at the PSNR that the base model's files have at QUALITIES. Between its own files, a codec's log
bytes are interpolated linearly over PSNR.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64, Pixels, UInt8
from vqcodec.codec.pipeline import Encoder, encode, read
from vqcodec.codec.rate_control import step_of_quality
from vqcodec.codec.reader import Reader
from vqcodec.errors import ModelError
from vqcodec.io import peers
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.train.data import TrainingImage
from vqcodec.train.selection import pick, shuffled
from vqcodec.train.watch import OutOfTimeError, Watch, in_processes, some_in_processes
from vqcodec.weights import registry
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import packed
from vqcodec.weights.graphic import GraphicModel

QUALITIES: Final = (80, 60, 40)
"""Qualities of `encode` at which the models' files are compared, tuned for psnr."""
PIXELS: Final = 1_500_000
"""Most pixels of the held-out pictures that are compared."""
MOST_PICTURES: Final = 1_000_000
"""Number of pictures by which a model must have saved its own size."""
GRAPHICS: Final = "most of the pictures are graphics, which `encode` stores without such a model (--kind graphic is for them)"
_LOOKED_AT: Final = 9
"""Pictures that tell whether a folder holds graphics."""
_LOOKED_AT_SIDE: Final = 384
"""Side of the corner of them, in pixels."""
_LOOKED: Final = 0.1
"""Share of the time left for it."""
_COMPARING: Final = "comparing with other formats"
_AVIF_QUALITIES: Final = (8, 16, 25, 35, 45, 55, 66, 77, 86, 93, 98)
_WEBP_QUALITIES: Final = (0, 6, 15, 30, 48, 65, 80, 90, 96, 100)
_BEYOND_DB: Final = 1.5
"""Length in dB by which the curves of models, at the same qualities as the base model, are continued in a straight line."""
_MOST_DB: Final = 70.0
"""Upper bound of a PSNR, for pictures that are stored exactly."""
_OTHERS: Final = ("AVIF", "WebP", "PNG")
"""Other formats in the report. AVIF: speed 6, tuned for PSNR, the smaller of 4:2:0 and 4:4:4."""


def installed_models(name: str) -> list[ExactModel]:
    """The exact model of a name, if it is installed."""
    try:
        return [registry.find(registry.installed(name))]
    except ModelError:
        return []


def are_graphics(pictures: Sequence[TrainingImage], model: ExactModel, watch: Watch) -> bool:
    """Whether `encode` stores most of some of the pictures without the model. Raises OutOfTimeError."""
    chosen = shuffled(list(pictures))[:_LOOKED_AT]
    found = some_in_processes(partial(_is_graphic, model), chosen, stage="looking at pictures", watch=watch, share=_LOOKED)
    return sum(found) > len(found) / 2


def _is_graphic(model: ExactModel, image: TrainingImage) -> bool:
    """Whether the file of a picture's corner has no DCT blocks; runs in a worker process."""
    corner = np.ascontiguousarray(image.pixels[:_LOOKED_AT_SIDE, :_LOOKED_AT_SIDE])
    return not _holds_model(encode(corner, model, EncodeOptions(threads=1)))


def _holds_model(file: bytes) -> bool:
    """Whether a file has DCT blocks."""
    return Reader(BytesIO(file)).header.layers > 0


class CurvePoint(NamedTuple):
    """A file of a picture: its bytes, and its PSNR in dB."""

    bytes: int
    psnr_db: float


def bytes_at(points: Sequence[CurvePoint], psnr_db: float, beyond_db: float = 0.0) -> float:
    """Bytes at a PSNR, interpolated, or extrapolated by up to `beyond_db`; nan outside the curve."""
    curve = sorted(points, key=lambda point: (point.psnr_db, -point.bytes))
    psnr, log_bytes = np.array([p.psnr_db for p in curve]), np.log([p.bytes for p in curve])
    if not psnr[0] - beyond_db <= psnr_db <= psnr[-1] + beyond_db:
        return math.nan
    if len(curve) == 1 or psnr[0] == psnr[-1]:
        return float(np.exp(log_bytes.min()))
    if not psnr[0] <= psnr_db <= psnr[-1]:
        near, next_one = (0, 1) if psnr_db < psnr[0] else (-1, -2)
        slope = (log_bytes[next_one] - log_bytes[near]) / max(psnr[next_one] - psnr[near], 1e-6, key=abs)
        return float(np.exp(log_bytes[near] + slope * (psnr_db - psnr[near])))
    return float(np.exp(np.interp(psnr_db, psnr, log_bytes)))


@dataclass(frozen=True)
class Line:
    """A codec: mean bytes a picture at each PSNR and lossless (nan: cannot), and the difference to the base model's, percent."""

    name: str
    bytes: tuple[float, ...]
    lossless_bytes: float
    percent: float

    def facts(self) -> dict[str, Any]:
        """The line in --json and model.json; None for values that are nan."""
        return {
            "name": self.name,
            "bytes": [_rounded(value) for value in self.bytes],
            "lossless_bytes": _rounded(self.lossless_bytes),
            "percent": None if math.isnan(self.percent) else round(self.percent, 2),
        }


def _rounded(value: float) -> int | None:
    return None if math.isnan(value) else round(value)


@dataclass(frozen=True)
class Comparison:
    """Lines for the base model, or no model (first), the new model (second) and others, on some held-out pictures."""

    pictures: int
    models: int
    """Number of lines of models; those of other formats follow."""
    psnr_db: tuple[float, ...]
    """Mean PSNR of the base model's files at each of QUALITIES, dB; empty if only lossless files are compared."""
    lines: tuple[Line, ...]
    model_bytes: int
    without_model: int = 0
    """Pictures that `encode` stores without any model at its default quality, since that takes less."""

    @property
    def saved_bytes(self) -> float:
        """Bytes that the new model saves a picture, at the middle PSNR, or lossless if that alone is compared."""
        base, own = self.lines[:2]
        if not self.psnr_db:
            return base.lossless_bytes - own.lossless_bytes
        middle = len(self.psnr_db) // 2
        return base.bytes[middle] - own.bytes[middle]

    @property
    def pays_after(self) -> int | None:
        """Number of pictures after which the new model has saved its own size; None if it saves nothing."""
        if not self.lines[1].percent < 0 or not self.saved_bytes > 0:
            return None
        return math.ceil(self.model_bytes / self.saved_bytes)

    @property
    def better(self) -> Line | None:
        """The line of an untrained model with smaller files than the new one's; None if there is none."""
        found = [line for line in self.lines[2 : self.models] if line.percent < self.lines[1].percent]
        return min(found, key=lambda line: line.percent, default=None)

    @property
    def pays(self) -> bool:
        return self.pays_after is not None and self.pays_after <= MOST_PICTURES

    def facts(self) -> dict[str, Any]:
        """The comparison in --json and model.json."""
        return {
            "pictures": self.pictures,
            "psnr_db": [round(value, 2) for value in self.psnr_db],
            "lines": [line.facts() for line in self.lines],
            "model_bytes": self.model_bytes,
            "without_model": self.without_model,
            "pays_after": self.pays_after,
        }


def compare(
    base: ExactModel, own: ExactModel, others: Sequence[ExactModel], pictures: list[TrainingImage], watch: Watch
) -> Comparison | None:
    """Compare the models and other formats on held-out pictures of up to PIXELS pixels.

    None if there is no time for any picture, and if the new model is the base model.
    """
    if own.id == base.id:
        return None
    models = [base, own, *(model for model in others if model.id not in (base.id, own.id))]
    found = _sizes_of_all([partial(_vqz_files, model) for model in models], partial(_own_files, own), pictures, watch)
    if not found:
        return None
    names = [model.name if model.name not in _OTHERS else f"model {model.name}" for model in models]
    if names[1] == names[0]:
        names[1] += " (new)"
    return _compared(names, found, len(packed(own)))


def compare_graphic(base: ExactModel, own: GraphicModel, pictures: list[TrainingImage], watch: Watch) -> Comparison | None:
    """Compare files as `encode` makes them without and with a graphic model, and other formats, on held-out pictures without alpha
    of up to PIXELS pixels.

    `base` codes what is not graphic. None if there is no time for any picture.
    """
    found = _sizes_of_all([partial(_default_files, base), partial(_default_files, own)], partial(_own_files, base), pictures, watch)
    return _compared(["without a model", own.name], found, len(packed(own))) if found else None


def _sizes_of_all(models: Sequence[_Codec], own: _Codec, pictures: list[TrainingImage], watch: Watch) -> list[_Sizes]:
    """Sizes of the files of some of the pictures by models, _OTHER_CODECS and `own`."""
    kinds = [*models, *_OTHER_CODECS, own]
    chosen = shuffled(pick(pictures, PIXELS, np.random.default_rng(0)))
    numbers, images = list(range(len(kinds))) * len(chosen), [image for image in chosen for _ in kinds]
    try:
        parts = some_in_processes(partial(_measured, kinds), numbers, images, stage=_COMPARING, watch=watch.for_check())
    except OutOfTimeError:
        return []
    whole = len(parts) // len(kinds)  # pictures with all parts
    return [_sizes_of(parts[number * len(kinds) : (number + 1) * len(kinds)]) for number in range(whole)]


def _compared(names: Sequence[str], found: Sequence[_Sizes], model_bytes: int) -> Comparison:
    """The comparison of models and other formats by the sizes of some pictures."""
    means = np.mean([one.bytes for one in found], axis=0)  # float64 [codecs, qualities + 1]
    lines = [_line(name, sizes, means[0]) for name, sizes in zip([*names, *_OTHERS], means, strict=True)]
    psnr = np.mean([one.psnr_db for one in found], axis=0).tolist()
    return Comparison(len(found), len(names), tuple(psnr), tuple(lines), model_bytes, sum(one.without_model for one in found))


def compare_lossless(
    name: str, pictures: Sequence[UInt8], sizes: Sequence[tuple[int, int]], model_bytes: int, watch: Watch
) -> Comparison | None:
    """Compare lossless files without and with the model `name`, whose `sizes` in bytes are given for each picture, with other
    formats.

    `pictures` are uint8 [H, W, 1 to 4]. None without pictures, or if there is no time for all.
    """
    if not pictures:
        return None
    try:
        others = in_processes(_other_sizes, pictures, stage=_COMPARING, watch=watch.for_check())
    except OutOfTimeError:
        return None
    rows = np.array([(*own, *other) for own, other in zip(sizes, others, strict=True)], np.float64)
    means = rows.mean(axis=0).tolist()
    names = ("without a model", name, "WebP", "PNG")
    lines = [Line(one, (), mean, 100 * (mean / means[0] - 1)) for one, mean in zip(names, means, strict=True)]
    return Comparison(len(pictures), 2, (), tuple(lines), model_bytes)


def _other_sizes(pixels: UInt8) -> tuple[int, int]:
    """Bytes of a picture as lossless WebP and PNG; runs in a worker process."""
    return len(peers.lossless_webp(_flat(pixels))), len(peers.png(_flat(pixels)))


def _line(name: str, sizes: Float64, at_base: Float64) -> Line:
    """The line of mean bytes float64 [qualities + 1], the last one lossless, beside those of the base model."""
    both = np.isfinite(sizes[:-1])
    ratio = float(np.log(sizes[:-1][both] / at_base[:-1][both]).mean()) if both.any() else math.nan
    return Line(name, tuple(sizes[:-1].tolist()), float(sizes[-1]), 100 * math.expm1(ratio))


_Codec = Callable[[UInt8], "_Files"]
"""A function that codes a picture uint8 [H, W, 1 or 3]."""


class _Sizes(NamedTuple):
    """A picture: bytes of each model and of each of _OTHERS, float64 [codecs, qualities + 1], lossless ones last; the PSNRs; and
    whether the default file of the second model has no DCT blocks."""

    bytes: Float64
    psnr_db: list[float]
    without_model: bool


@dataclass(frozen=True)
class _Files:
    """The files of one picture by a codec: curves of lossy ones, bytes of a lossless one, and whether a file has no DCT blocks."""

    curves: Sequence[Sequence[CurvePoint]] = ()
    lossless_bytes: float = math.nan
    without_model: bool = False

    def row(self, wanted: Sequence[float], beyond_db: float = 0.0) -> list[float]:
        """The least bytes at each PSNR, then the lossless ones."""
        return [*(_least(bytes_at(curve, psnr_db, beyond_db) for curve in self.curves) for psnr_db in wanted), self.lossless_bytes]


def _measured(kinds: Sequence[_Codec], number: int, image: TrainingImage) -> _Files:
    """The files of one picture by one of the codecs; runs in a worker process."""
    return kinds[number](image.pixels)


def _sizes_of(found: Sequence[_Files]) -> _Sizes:
    """Sizes of the files of one picture by models, _OTHER_CODECS and `_own_files`."""
    models, others, own = found[: -len(_OTHERS) - 1], found[-len(_OTHERS) - 1 : -1], found[-1]
    wanted = [point.psnr_db for point in models[0].curves[0]]
    rows = [*(files.row(wanted, _BEYOND_DB) for files in models), *(files.row(wanted) for files in others)]
    if math.isnan(rows[0][-1]):
        rows[0][-1] = own.lossless_bytes
    return _Sizes(np.array(rows), wanted, own.without_model)


def _vqz_files(model: ExactModel, pixels: UInt8) -> _Files:
    """Files with DCT blocks in all cells; `encode` may choose others for graphics."""
    encoder = Encoder(pixels, model, EncodeOptions(threads=1, tune="psnr"))
    return _Files([_curve(partial(_vqz, encoder), QUALITIES, partial(_psnr_db, pixels))])


def _default_files(model: ExactModel | GraphicModel, pixels: UInt8) -> _Files:
    """Files as `encode` makes them with a model: lossy ones tuned for psnr, and a lossless one."""

    def coded(quality: int) -> _Coded:
        file = encode(pixels, model, EncodeOptions(quality=quality, tune="psnr", threads=1))
        reader = Reader(BytesIO(file))
        return _Coded(file, read(reader, reader.model(model), DecodeOptions(threads=1)))

    lossless = encode(pixels, model, EncodeOptions(lossless=True, threads=1))
    return _Files([_curve(coded, QUALITIES, partial(_psnr_db, pixels))], len(lossless))


def _own_files(model: ExactModel, pixels: UInt8) -> _Files:
    """Files of `encode` without loss and by default."""
    lossless = encode(pixels, BUILT_IN, EncodeOptions(lossless=True, threads=1))
    default = encode(pixels, model, EncodeOptions(threads=1))
    return _Files(lossless_bytes=len(lossless), without_model=not _holds_model(default))


def _avif_files(pixels: UInt8) -> _Files:
    kinds = ("4:2:0", "4:4:4") if pixels.shape[2] == 3 else ("4:0:0",)
    psnr_of = partial(_psnr_db, pixels)
    return _Files([_curve(partial(_avif, _flat(pixels), kind), _AVIF_QUALITIES, psnr_of) for kind in kinds])


def _webp_files(pixels: UInt8) -> _Files:
    flat = _flat(pixels)
    curve = _curve(partial(_webp, flat), _WEBP_QUALITIES, partial(_psnr_db, pixels))
    return _Files([curve], len(peers.lossless_webp(flat)))


def _png_files(pixels: UInt8) -> _Files:
    return _Files(lossless_bytes=len(peers.png(_flat(pixels))))


_OTHER_CODECS: Final = (_avif_files, _webp_files, _png_files)
"""Functions that code a picture uint8 [H, W, 1 or 3] in each of _OTHERS."""


def _flat(pixels: UInt8) -> UInt8:
    """Pixels [H, W] of a grey picture [H, W, 1]; others unchanged."""
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels


def _curve(coded: Callable[[int], _Coded], qualities: Sequence[int], psnr_of: Callable[[Pixels], float]) -> list[CurvePoint]:
    """The files of a codec at several qualities."""
    found = map(coded, qualities)
    return [CurvePoint(len(one.file), psnr_of(one.decoded)) for one in found]


class _Coded(NamedTuple):
    """A file, and its decoded pixels."""

    file: bytes
    decoded: Pixels


def _vqz(encoder: Encoder, quality: int) -> _Coded:
    step_64 = step_of_quality(quality)
    return _Coded(encoder.file(step_64), encoder.decoded(step_64))


def _avif(pixels: UInt8, subsampling: str, quality: int) -> _Coded:
    file = peers.avif(pixels, quality, subsampling=subsampling, tune="psnr")
    return _Coded(file, peers.decoded(file, "AVIF"))


def _webp(pixels: UInt8, quality: int) -> _Coded:
    file = peers.webp(pixels, quality)
    decoded = peers.decoded(file, "WEBP")
    return _Coded(file, decoded[:, :, 1] if pixels.ndim == 2 else decoded)  # grey is stored as equal red, green and blue


def _psnr_db(pixels: UInt8, decoded: Pixels) -> float:
    """PSNR of decoded samples, dB, at most _MOST_DB."""
    mse = float(np.square(np.subtract(decoded.reshape(pixels.shape), pixels, dtype=np.int32)).mean())
    return min(_MOST_DB, 10 * math.log10(255**2 / max(mse, 1e-9)))


def _least(values: Iterable[float]) -> float:
    """The least value that is not nan; nan if there is none."""
    return min((value for value in values if not math.isnan(value)), default=math.nan)
