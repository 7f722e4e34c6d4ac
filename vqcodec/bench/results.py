"""What a bench run found: rows as measured, curves made from them, and the JSON they are kept in.

The JSON is one object. Its `codecs` are objects in CompressAI's result layout (name, description, results: lists with
one entry per quality, under CompressAI's keys and a few more); around them stand the rows they were made from, the
images, what failed, and what is needed to repeat the run. Numbers that JSON has no word for (an infinite PSNR, an
undefined MS-SSIM) are null.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from vqcodec.bench.bdrate import RatePoint
from vqcodec.bench.metrics import psnr_db

JSON_KIND = "vqcodec-bench"
JSON_VERSION = 1
_RUN_FIELDS = ("date", "command", "machine", "versions", "threads", "anchor")


@dataclass(frozen=True)
class ImageInfo:
    """One image as read. `name` is its path below the folder given, that folder's name first."""

    name: str
    width: int
    height: int
    channels: int  # 1 or 3


@dataclass(frozen=True)
class CodecInfo:
    """One codec asked for. `missing` says why it could not run and what to install; empty when it could."""

    name: str
    version: str
    description: str
    qualities: tuple[float, ...]
    missing: str = ""


@dataclass(frozen=True)
class Row:
    """One image through one codec at one quality. What is undefined or was not asked for of ssim and those after it is nan."""

    codec: str
    quality: float
    image: str
    pixels: int
    bytes: int  # of the whole file, header included
    mse_rgb: float
    mse_y: float
    ssim: float
    ms_ssim: float
    encode_s: float
    decode_s: float
    high_band: float = math.nan  # not in files of the first versions, nor are those below
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
    """An image that did not go through; `codec` is empty when it could not even be read."""

    image: str
    codec: str
    quality: float | None
    message: str


@dataclass(frozen=True)
class RdPoint:
    """A codec at one quality: means over the images, except that megapixels per second are totals over totals."""

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


@dataclass(frozen=True)
class BenchResults:
    """All of a run, complete or up to the last image finished."""

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
        """Images that every codec managed at all its qualities: means over anything else could not be compared.

        A codec that got no image through all its qualities does not count: it would take the others down with it. Images of one
        colour, which a lossy codec has without error at all its qualities, are left out: of infinite PSNRs there is no mean.
        """
        done: dict[str, dict[str, int]] = {}
        exact: dict[str, dict[str, bool]] = {}
        for row in self.rows:
            counts, flat = done.setdefault(row.codec, {}), exact.setdefault(row.codec, {})
            counts[row.image] = counts.get(row.image, 0) + 1
            flat[row.image] = flat.get(row.image, True) and math.isinf(row.psnr_rgb)
        whole = []
        for codec in self.codecs:
            images = {image for image, count in done.get(codec.name, {}).items() if count == len(codec.qualities)}
            curved = {image for image in images if not exact[codec.name][image]}
            whole += [curved or images] if images else []  # a lossless codec has no curve of any
        return [image.name for image in self.images if whole and all(image.name in images for images in whole)]

    def points(self, codec: str) -> list[RdPoint]:
        """The codec's operating points by rising rate, over the compared images; empty when it has none."""
        compared = set(self.compared_images())
        by_quality: dict[float, list[Row]] = {}
        for row in self.rows:
            if row.codec == codec and row.image in compared:
                by_quality.setdefault(row.quality, []).append(row)
        points = [_mean_point(quality, rows) for quality, rows in by_quality.items() if len(rows) == len(compared)]
        return sorted(points, key=lambda point: point.bpp)

    def curve(self, codec: str) -> list[RatePoint]:
        """The codec's points as (bpp, RGB PSNR) for bdrate."""
        return [RatePoint(point.bpp, point.psnr_rgb) for point in self.points(codec)]

    def to_json(self) -> str:
        """The run as one JSON object, strict JSON without NaN or Infinity."""
        document = {
            "kind": JSON_KIND,
            "version": JSON_VERSION,
            **{key: getattr(self, key) for key in _RUN_FIELDS},
            "codecs": [self._codec_object(codec) for codec in self.codecs],
            "images": [vars(image) for image in self.images],
            "failures": [vars(failure) for failure in self.failures],
            "rows": [{**vars(row), "bpp": row.bpp, "psnr_rgb": row.psnr_rgb, "psnr_y": row.psnr_y} for row in self.rows],
        }
        return json.dumps(_without_nan(document), indent=1, allow_nan=False) + "\n"

    def _codec_object(self, codec: CodecInfo) -> dict[str, Any]:
        """One codec in CompressAI's layout: {"name", "description", "results": {key: one number per quality}}."""
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
        return {**vars(codec), "results": results}

    @classmethod
    def from_json(cls, text: str) -> "BenchResults":
        """The run that `to_json` wrote. Raises ValueError when the text is something else."""
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
            raise ValueError(f"not a whole result file: {error}") from error


def _mean_point(quality: float, rows: Sequence[Row]) -> RdPoint:
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
    """Arithmetic mean: nan if any value is undefined, inf if any is infinite."""
    listed = list(values)
    return math.fsum(listed) / len(listed)


def _rate(pixels: int, seconds: float) -> float:
    """Megapixels per second; nan when the clock saw no time pass."""
    return pixels / seconds / 1e6 if seconds > 0 else math.nan


def _only(document: dict[str, Any], kind: type) -> dict[str, Any]:
    """The entries of `document` that are fields of the dataclass `kind`; the others were computed from them."""
    return {item.name: document[item.name] for item in fields(kind) if item.name in document or item.default is MISSING}


def _without_nan(value: Any) -> Any:
    """The same tree of dicts and lists, with every number that is not finite as None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(row: dict[str, Any]) -> dict[str, Any]:
    """The reverse for one row: there every null was a nan, since infinite PSNRs are made from the error anew."""
    return {key: math.nan if value is None else value for key, value in row.items()}
