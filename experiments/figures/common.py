"""Pictures, rate-distortion curves and timing that several figures share."""

import itertools
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.bdrate import RatePoint
from vqcodec.bench.codecs import AvifCodec, Codec, WebpCodec, to_grey
from vqcodec.bench.metrics import psnr_rgb_db
from vqcodec.options import DEFAULT_EFFORT
from vqcodec.runtime.workers import usable_cores

Result = TypeVar("Result")
SAMPLES = Path(__file__).resolve().parents[2] / "samples"

LITE, PHOTO = "photo-lite", "photo"
QUALITIES = (20, 40, 56, 70, 84, 93)
WEBP_QUALITIES = (0, 4, 12, 25, 40, 55, 70, 82, 90)
DOMAINS = {"satellite": "RGB", "faces_orl": "L"}
"""Pillow mode of each domain's pictures."""
MOSAIC_QUALITY = 53
"""Quality of the mosaic in figures of speed: about 0.5 bpp."""


def load(folder: Path, mode: str = "RGB") -> list[UInt8]:
    """The PNG and JPEG pictures of a folder by name, each uint8 [H, W, 3] or, with mode "L", [H, W]."""
    return [np.asarray(Image.open(path).convert(mode)) for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]


def pngs(folder: Path) -> list[Path]:
    """The PNG files of a folder by name."""
    return sorted(folder.glob("*.png"))


def kodak(data: Path) -> list[UInt8]:
    """The 24 pictures of Kodak, uint8 [H, W, 3]."""
    return load(data / "kodak")


def archive_crops(archive: Path, height: int, width: int, *, every: int = 1) -> Iterator[UInt8]:
    """Middles uint8 [height, width, 3] of every n-th photo of a tar archive by name; smaller photos are skipped."""
    with tarfile.open(archive) as photos:
        members = sorted((entry for entry in photos.getmembers() if entry.name.endswith(".avif")), key=lambda entry: entry.name)
        for member in members[::every]:
            photo = np.asarray(Image.open(photos.extractfile(member)).convert("RGB"))
            top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
            if min(top, left) >= 0:
                yield photo[top : top + height, left : left + width]


def mosaic(data: Path, height: int = 2560, width: int = 3840) -> UInt8:
    """Middles (512 x 768) of the first photos in rows and columns; photos repeat if there are too few."""
    down, across = height // 512, width // 768
    crops = itertools.islice(archive_crops(data / "photos" / "photos-1.tar", 512, 768), down * across)
    return tiled(list(itertools.islice(itertools.cycle(crops), down * across)), across)


def tiled(images: Sequence[UInt8], across: int) -> UInt8:
    """Pictures of one shape in rows of `across`; those of an incomplete last row are left out."""
    rows = [images[start : start + across] for start in range(0, len(images) - across + 1, across)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def megapixels(image: UInt8) -> float:
    return image.shape[0] * image.shape[1] / 1e6


def bits_per_pixel(image: UInt8, file: bytes) -> float:
    return 8 * len(file) / (image.shape[0] * image.shape[1])


def vqz_points(
    image: UInt8, *, model: str = LITE, qualities: Sequence[float] = QUALITIES, effort: int = DEFAULT_EFFORT
) -> list[RatePoint]:
    """Points of one image tuned for PSNR, one per quality."""
    files = [api.encode(image, quality=quality, model=model, effort=effort, tune="psnr", threads=1) for quality in qualities]
    return [RatePoint(bits_per_pixel(image, f), psnr_rgb_db(image, api.decode(f, model=model, threads=1))) for f in files]


def webp_points(image: UInt8) -> list[RatePoint]:
    """Points of one image by WebP, one per quality of WEBP_QUALITIES."""
    return _codec_points(WebpCodec(), image, WEBP_QUALITIES)


def avif_points(image: UInt8, qualities: Sequence[float]) -> list[RatePoint]:
    """Points of one image by AVIF, one per quality."""
    return _codec_points(AvifCodec(), image, qualities)


def _codec_points(codec: Codec, image: UInt8, qualities: Sequence[float]) -> list[RatePoint]:
    points = []
    for quality in qualities:
        file = codec.encode(image, quality)
        decoded = codec.decode(file)
        psnr_db = psnr_rgb_db(image, decoded if decoded.ndim == image.ndim else to_grey(decoded))
        points.append(RatePoint(bits_per_pixel(image, file), psnr_db))
    return points


def curve(function: Callable[[UInt8], list[RatePoint]], images: Sequence[UInt8]) -> list[RatePoint]:
    """Mean over the images of the points that `function` returns."""
    points = list(in_processes(function, images))
    return [RatePoint(float(bpp), float(psnr_db)) for bpp, psnr_db in np.mean(points, axis=0)]


def in_processes(function: Callable[..., Result], *arguments: Iterable[Any]) -> Iterator[Result]:
    """The results of `map`, each as it comes, computed in one process per core."""
    with ProcessPoolExecutor(usable_cores()) as pool:
        yield from pool.map(function, *arguments)


def largest(values: dict[str, float], count: int = 3) -> str:
    """Names and values of the largest values."""
    ranked = sorted(values.items(), key=lambda item: item[1], reverse=True)
    return ", ".join(f"{name} {value:.3g}" for name, value in ranked[:count])


def best_s(run: Callable[[], object], times: int) -> float:
    """Shortest wall time of several runs in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def cpu_s(run: Callable[[], object]) -> float:
    """CPU time of this process in seconds: unlike wall time, it hardly depends on other work on the machine."""
    start = time.process_time()
    run()
    return time.process_time() - start
