"""Pictures, rate-distortion curves and timing that several figures share."""

import itertools
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.bdrate import RatePoint
from vqcodec.bench.codecs import WebpCodec, to_grey
from vqcodec.bench.metrics import psnr_rgb_db
from vqcodec.options import DEFAULT_EFFORT

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
    endless = itertools.cycle(crops)
    return np.concatenate([np.concatenate([next(endless) for _ in range(across)], axis=1) for _ in range(down)])


def megapixels(image: UInt8) -> float:
    return image.shape[0] * image.shape[1] / 1e6


def bits_per_pixel(image: UInt8, file: bytes) -> float:
    return 8 * len(file) / (image.shape[0] * image.shape[1])


def vqz_points(
    image: UInt8, *, model: str = LITE, qualities: Sequence[float] = QUALITIES, effort: int = DEFAULT_EFFORT
) -> list[RatePoint]:
    """Points of one image, one per quality."""
    files = [api.encode(image, quality=quality, model=model, effort=effort, threads=1) for quality in qualities]
    return [RatePoint(bits_per_pixel(image, f), psnr_rgb_db(image, api.decode(f, model=model, threads=1))) for f in files]


def webp_points(image: UInt8) -> list[RatePoint]:
    """Points of one image by WebP, one per quality of WEBP_QUALITIES."""
    codec = WebpCodec()
    points = []
    for quality in WEBP_QUALITIES:
        file = codec.encode(image, quality)
        decoded = codec.decode(file)
        psnr_db = psnr_rgb_db(image, decoded if image.ndim == 3 else to_grey(decoded))
        points.append(RatePoint(bits_per_pixel(image, file), psnr_db))
    return points


def curve(function: Callable[[UInt8], list[RatePoint]], images: Sequence[UInt8]) -> list[RatePoint]:
    """Mean over the images of the points that `function` returns, computed in two processes."""
    with ProcessPoolExecutor(2) as pool:
        points = list(pool.map(function, images))
    return [RatePoint(float(bpp), float(psnr_db)) for bpp, psnr_db in np.mean(points, axis=0)]


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
