"""Results of a bench run: rows as measured, curves and BD-rates made from them, and their JSON file.

The JSON is one object. Its `codecs` are objects in CompressAI's result layout (name, description, results: lists with one
entry per quality, under CompressAI's keys and a few more), with their BD-rates against the anchor. The object also has the rows
they were made from, the images, the failures, and the command, machine and versions needed to repeat the run. Numbers that JSON
cannot represent (an infinite PSNR, an undefined MS-SSIM) are null.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from vqcodec.bench.bdrate import Curve, PictureRates, RatePoint, bd_rate, picture_rates
from vqcodec.bench.metrics import psnr_db

JSON_KIND = "vqcodec-bench"
JSON_VERSION = 1
BD_RANGE_BPP = (0.1, 2.0)
"""Range of rates that BD-rates cover, by every metric."""
_RUN_FIELDS = ("date", "command", "machine", "versions", "threads", "anchor")


@dataclass(frozen=True)
class ImageFile:
    """An image to bench: the name that identifies it in the results, and its path."""

    name: str
    path: Path


@dataclass(frozen=True)
class ImageInfo:
    """One image as read. `name` is its path below the given folder, with that folder's name in front."""

    name: str
    width: int
    height: int
    channels: int  # 1 or 3


@dataclass(frozen=True)
class CodecInfo:
    """One requested codec. `missing` says why it could not run and what to install; empty if it ran."""

    name: str
    version: str
    description: str
    qualities: tuple[float, ...]
    missing: str = ""


@dataclass(frozen=True)
class Row:
    """One image encoded and decoded by one codec at one quality. Metrics that are undefined or were not requested are nan."""

    codec: str
    quality: float
    image: str
    pixels: int
    bytes: int  # size of the whole file, header included
    mse_rgb: float
    mse_y: float
    ssim: float
    ms_ssim: float
    encode_s: float
    decode_s: float
    high_band: float = math.nan  # the first result files lack this field and those below
    lpips: float = math.nan
    ssimulacra2: float = math.nan

    @property
    def bpp(self) -> float:
        return 8 * self.bytes / self.pixels

    @property
    def psnr_rgb(self) -> float:
        return psnr_db(self.mse_rgb)

    @property
    def psnr_y(self) -> float:
        return psnr_db(self.mse_y)


@dataclass(frozen=True)
class Failure:
    """An image that failed; `codec` is empty if it could not be read."""

    image: str
    codec: str
    quality: float | None
    message: str


@dataclass(frozen=True)
class RdPoint:
    """A codec at one quality: means over the images; megapixels per second are total pixels over total time."""

    quality: float
    bpp: float
    psnr_rgb: float
    psnr_y: float
    ssim: float
    ms_ssim: float
    high_band: float
    lpips: float
    ssimulacra2: float
    encode_s: float
    decode_s: float
    encode_mps: float
    decode_mps: float


class Measured(Protocol):
    """Rate and metrics of a row or a point."""

    @property
    def bpp(self) -> float: ...
    @property
    def psnr_rgb(self) -> float: ...
    @property
    def ms_ssim(self) -> float: ...
    @property
    def ssimulacra2(self) -> float: ...


def ms_ssim_db(ms_ssim: float) -> float:
    """MS-SSIM in decibels, -10 log10(1 - MS-SSIM); inf for 1."""
    return math.inf if ms_ssim >= 1 else -10 * math.log10(1 - ms_ssim)


@dataclass(frozen=True)
class BdMetric:
    """A metric that BD-rates are computed by. Its values grow with quality."""

    name: str
    key: str  # its key in the JSON file
    unit: str  # of the values, for the axis of a plot; empty if they have none
    value: Callable[[Measured], float]


PSNR = BdMetric("PSNR", "psnr-rgb", "dB", lambda p: p.psnr_rgb)
MS_SSIM = BdMetric("MS-SSIM", "ms-ssim-rgb", "dB", lambda p: ms_ssim_db(p.ms_ssim))
"""In decibels: MS-SSIM itself hardly changes above 0.5 bpp, so that low rates alone would count."""
SSIMULACRA2 = BdMetric("SSIMULACRA2", "ssimulacra2", "", lambda p: p.ssimulacra2)
BD_METRICS = (PSNR, MS_SSIM, SSIMULACRA2)


@dataclass(frozen=True)
class BdRates:
    """BD-rates of a codec against the anchor by one metric, over rates within BD_RANGE_BPP, in percent; nan if undefined."""

    of_mean_curve: float  # between the curves of mean rate and mean value
    pictures: PictureRates


@dataclass(frozen=True)
class BenchResults:
    """Results of a run, complete or up to the last image that finished."""

    date: str  # ISO, UTC
    command: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    threads: int | None  # None: all cores
    anchor: str
    images: list[ImageInfo] = field(default_factory=list)
    codecs: list[CodecInfo] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def compared_images(self) -> list[str]:
        """Names of the images that every codec completed at all its qualities, so that means are comparable, but `left_out`.

        A codec that completed no image is ignored, since no image would be left.
        """
        left_out = set(self.left_out())
        return [name for name in self._completed_images() if name not in left_out]

    def left_out(self) -> list[str]:
        """Names of completed images that are left out of all means, as infinite PSNRs have no mean.

        A codec decodes them without error at one of its qualities, and others never. Lossless codecs do not count, and no image is
        left out if none would remain.
        """
        completed = self._completed_images()
        found = set[str]()
        for codec in self.codecs:
            exact = {row.image for row in self.rows if row.codec == codec.name and math.isinf(row.psnr_rgb)}
            found |= exact if not exact.issuperset(completed) else set()
        return [name for name in completed if name in found] if not found.issuperset(completed) else []

    def _completed_images(self) -> list[str]:
        """Names of the images that every codec that completed any has completed at all its qualities."""
        counts: dict[str, dict[str, int]] = {}
        for row in self.rows:
            of_codec = counts.setdefault(row.codec, {})
            of_codec[row.image] = of_codec.get(row.image, 0) + 1
        whole = [
            {image for image, count in counts.get(codec.name, {}).items() if count == len(codec.qualities)} for codec in self.codecs
        ]
        whole = [images for images in whole if images]
        return [image.name for image in self.images if whole and all(image.name in images for images in whole)]

    def points(self, codec: str) -> list[RdPoint]:
        """Operating points of a codec by rising rate, over the compared images; empty if it has none."""
        compared = set(self.compared_images())
        by_quality: dict[float, list[Row]] = {}
        for row in self.rows:
            if row.codec == codec and row.image in compared:
                by_quality.setdefault(row.quality, []).append(row)
        points = [_mean_point(quality, rows) for quality, rows in by_quality.items() if len(rows) == len(compared)]
        return sorted(points, key=lambda point: point.bpp)

    def curve(self, codec: str, metric: BdMetric = PSNR) -> list[RatePoint]:
        """Points of a codec, means over the compared images, as (bpp, value of the metric) for bdrate."""
        return [RatePoint(point.bpp, metric.value(point)) for point in self.points(codec)]

    def picture_curves(self, codec: str, metric: BdMetric = PSNR) -> dict[str, Curve]:
        """Curve of each compared image by name, as (bpp, value of the metric)."""
        curves: dict[str, list[RatePoint]] = {name: [] for name in self.compared_images()}
        for row in self.rows:
            if row.codec == codec and row.image in curves:
                curves[row.image].append(RatePoint(row.bpp, metric.value(row)))
        return {name: curve for name, curve in curves.items() if curve}

    def bd_rates(self, codec: str, metric: BdMetric = PSNR) -> BdRates:
        """BD-rates of a codec against the anchor by a metric."""
        return BdRates(
            bd_rate(self.curve(self.anchor, metric), self.curve(codec, metric), bpp_range=BD_RANGE_BPP),
            picture_rates(self.picture_curves(self.anchor, metric), self.picture_curves(codec, metric), bpp_range=BD_RANGE_BPP),
        )

    def to_json(self) -> str:
        """The run as one object of strict JSON, without NaN or Infinity."""
        document = {
            "kind": JSON_KIND,
            "version": JSON_VERSION,
            **{key: getattr(self, key) for key in _RUN_FIELDS},
            "bd_range_bpp": BD_RANGE_BPP,
            "codecs": [self._codec_object(codec) for codec in self.codecs],
            "images": [vars(image) for image in self.images],
            "failures": [vars(failure) for failure in self.failures],
            "rows": [{**vars(row), "bpp": row.bpp, "psnr_rgb": row.psnr_rgb, "psnr_y": row.psnr_y} for row in self.rows],
        }
        return json.dumps(_without_nan(document), indent=1, allow_nan=False) + "\n"

    def _codec_object(self, codec: CodecInfo) -> dict[str, Any]:
        """One codec in CompressAI's layout: {"name", "description", "results": {key: one number per quality}}, and its BD-rates."""
        points = self.points(codec.name)
        columns: dict[str, Callable[[RdPoint], float]] = {
            "bpp": lambda p: p.bpp,
            "psnr-rgb": lambda p: p.psnr_rgb,
            "ms-ssim-rgb": lambda p: p.ms_ssim,
            "encoding_time": lambda p: p.encode_s,
            "decoding_time": lambda p: p.decode_s,
            "quality": lambda p: p.quality,
            "psnr-y": lambda p: p.psnr_y,
            "ssim-rgb": lambda p: p.ssim,
            "high-band": lambda p: p.high_band,
            "lpips": lambda p: p.lpips,
            "ssimulacra2": lambda p: p.ssimulacra2,
            "encoding_mps": lambda p: p.encode_mps,
            "decoding_mps": lambda p: p.decode_mps,
        }
        results = {key: [value(point) for point in points] for key, value in columns.items()}
        return {**vars(codec), "results": results, "bd_rates": {m.key: self._bd_object(codec.name, m) for m in BD_METRICS}}

    def _bd_object(self, codec: str, metric: BdMetric) -> dict[str, Any]:
        """BD-rates of a codec by a metric, in percent: of the mean curve, and the mean, the median and all those of pictures."""
        rates = self.bd_rates(codec, metric)
        pictures = rates.pictures
        return {"mean_curve": rates.of_mean_curve, "mean": pictures.mean, "median": pictures.median, "pictures": pictures.percents}

    @classmethod
    def from_json(cls, text: str) -> "BenchResults":
        """Read the run that `to_json` wrote. Raises ValueError for any other text."""
        document = json.loads(text)
        if not isinstance(document, dict) or document.get("kind") != JSON_KIND:
            raise ValueError("not a result file of vqcodec bench")
        if document.get("version") != JSON_VERSION:
            raise ValueError(f"result file version {document.get('version')}; this vqcodec reads {JSON_VERSION}")
        try:
            codecs = [CodecInfo(**{**_only(c, CodecInfo), "qualities": tuple(c["qualities"])}) for c in document["codecs"]]
            return cls(
                **{key: document[key] for key in _RUN_FIELDS},
                images=[ImageInfo(**image) for image in document["images"]],
                codecs=codecs,
                rows=[Row(**_with_nan(_only(row, Row))) for row in document["rows"]],
                failures=[Failure(**failure) for failure in document["failures"]],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"incomplete result file: {error}") from error


def _mean_point(quality: float, rows: Sequence[Row]) -> RdPoint:
    """The point of rows of one codec at one quality."""
    pixels = sum(row.pixels for row in rows)
    encode_s, decode_s = sum(row.encode_s for row in rows), sum(row.decode_s for row in rows)
    return RdPoint(
        quality=quality,
        bpp=_mean(row.bpp for row in rows),
        psnr_rgb=_mean(row.psnr_rgb for row in rows),
        psnr_y=_mean(row.psnr_y for row in rows),
        ssim=_mean(row.ssim for row in rows),
        ms_ssim=_mean(row.ms_ssim for row in rows),
        high_band=_mean(row.high_band for row in rows),
        lpips=_mean(row.lpips for row in rows),
        ssimulacra2=_mean(row.ssimulacra2 for row in rows),
        encode_s=encode_s / len(rows),
        decode_s=decode_s / len(rows),
        encode_mps=_rate(pixels, encode_s),
        decode_mps=_rate(pixels, decode_s),
    )


def _mean(values: Iterable[float]) -> float:
    """Arithmetic mean: nan if any value is nan, inf if any is infinite."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


def _rate(pixels: int, seconds: float) -> float:
    """Megapixels per second; nan for 0 seconds."""
    return pixels / seconds / 1e6 if seconds > 0 else math.nan


def _only(document: dict[str, Any], kind: type) -> dict[str, Any]:
    """Entries of `document` that are fields of the dataclass `kind`. The others were computed from them."""
    return {item.name: document[item.name] for item in fields(kind) if item.name in document or item.default is MISSING}


def _without_nan(value: Any) -> Any:
    """Copy of a tree of dicts and lists with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(row: dict[str, Any]) -> dict[str, Any]:
    """Inverse of `_without_nan` for one row. Every null was nan there: PSNRs, which may be infinite, are recomputed."""
    return {key: math.nan if value is None else value for key, value in row.items()}
