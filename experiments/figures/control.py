"""Figures about the options that control the encoder: quality, targets, effort, tune."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from held_out import held_out

from figures.common import (
    LITE,
    PHOTO,
    archive_crops,
    bits_per_pixel,
    cpu_s,
    curve,
    in_processes,
    kodak,
    megapixels,
    mosaic,
    vqz_points,
)
from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.bdrate import RatePoint, bd_rate
from vqcodec.bench.codecs import AvifCodec
from vqcodec.bench.metrics import measure, psnr_db, psnr_rgb_db
from vqcodec.codec import ssimulacra2
from vqcodec.options import DEFAULT_EFFORT

EFFORTS = {PHOTO: (1, 2, 5, 7, 8, 9), LITE: (1, 2, 5)}
"""Efforts that differ, by model."""
PANORAMA_QUALITY = 60
SSIMULACRA2_TARGET = 70
HELD_OUT_PHOTOS = 24


def monotone(data: Path) -> None:
    """Quality steps of 5 that reduce bytes or PSNR."""
    qualities = tuple(range(0, 101, 5))
    images = kodak(data)
    for model in (LITE, PHOTO):
        curves = np.array(list(in_processes(partial(vqz_points, model=model, qualities=qualities), images)))
        curves[:, :, 0] *= images[0].shape[0] * images[0].shape[1] / 8  # bits per pixel to bytes: all images have one size
        rises = np.diff(curves, axis=1)  # [image, quality step, (bytes, PSNR)]
        falls = np.argwhere(rises < 0)
        print(f"{model}: Kodak, quality 0, 5, ... 100: {len(falls)} of {rises.size} steps (bar 0)")
        for image, step, column in falls:
            rise = f"{rises[image, step, column]:+.4g} {('bytes', 'dB')[column]}"
            print(f"  image {image + 1}, quality {qualities[step]} to {qualities[step + 1]}: {rise}")


def targets(data: Path) -> None:
    """Accuracy of the targets --bpp, --size, --psnr and --ssimulacra2."""
    images = kodak(data)[::3]
    for target, wanted in (("bpp", 0.5), ("size", 20_000), ("psnr", 34.0)):
        files = [api.encode(image, model=LITE, **{target: wanted}) for image in images]
        if target == "bpp":
            found = [bits_per_pixel(image, file) for image, file in zip(images, files, strict=True)]
        elif target == "size":
            found = list(map(len, files))
        else:
            found = [psnr_rgb_db(image, api.decode(file)) for image, file in zip(images, files, strict=True)]
        allowed = "0 to 0.05 dB above" if target == "psnr" else "0 to 1 % below"
        print(f"{LITE}: {len(images)} images of Kodak, {target} {wanted}: {min(found):.5g} to {max(found):.5g} (bar: {allowed})")
    if not ssimulacra2.is_installed():
        print("ssimulacra2 is left out: pip install 'vqcodec[metrics]'")
        return
    photos = [image.pixels for image in held_out(data / "photos")]
    chosen = [photos[number * len(photos) // HELD_OUT_PHOTOS] for number in range(HELD_OUT_PHOTOS)]
    scores = sorted(in_processes(_score_of_target, chosen))
    print(
        f"{PHOTO}: {len(scores)} held-out photographs, ssimulacra2 {SSIMULACRA2_TARGET}: {scores[0]:.5g} to {scores[-1]:.5g}, "
        f"median {np.median(scores):.5g} (bar: 0 to 0.5 above; goal: 0 to 0.25 above)"
    )


def _score_of_target(image: UInt8) -> float:
    """SSIMULACRA2 of the file that has SSIMULACRA2_TARGET as its target."""
    file = api.encode(image, model=PHOTO, ssimulacra2=SSIMULACRA2_TARGET, threads=1)
    return ssimulacra2.score(image, api.decode(file, threads=1))


def effort(data: Path) -> None:
    """Gain and cost of each effort.

    Bytes at equal PSNR (BD-rate) against the default effort, on every fourth picture of Kodak and on six photos. CPU time with
    one thread, relative to the default effort's and to that of AVIF at speed 6. For one picture of 39 megapixels: bytes at equal
    quality.
    """
    pictures = kodak(data)[::4]
    photos = list(itertools.islice(archive_crops(data / "photos" / "photos-3.tar", 384, 512, every=10), 6))
    avif = AvifCodec()
    avif_s = cpu_s(lambda: [avif.encode(picture, 50) for picture in pictures])
    for model, efforts in EFFORTS.items():
        points = {level: partial(vqz_points, model=model, effort=level) for level in efforts}
        curves = {level: [curve(points[level], images) for images in (pictures, photos)] for level in efforts}
        seconds = {level: cpu_s(partial(_encode_all, pictures, model, level)) for level in efforts}
        for level in efforts:
            gains = [bd_rate(*pair) for pair in zip(curves[DEFAULT_EFFORT], curves[level], strict=True)]
            size = f"bytes at equal PSNR: Kodak {gains[0]:+.2f} %, photos {gains[1]:+.2f} %"
            relative, relative_to_avif = seconds[level] / seconds[DEFAULT_EFFORT], seconds[level] / avif_s
            print(f"{model}, effort {level}: {size}; CPU time: {relative:.2f} of the default's, {relative_to_avif:.1f} of AVIF's")
    panorama = mosaic(data, 5120, 7680)
    for level in (1, DEFAULT_EFFORT, 7):
        files: list[bytes] = []
        encode = partial(_encode_all, [panorama], PHOTO, level, PANORAMA_QUALITY)
        seconds_s = cpu_s(lambda files=files, encode=encode: files.extend(encode()))
        print(
            f"{PHOTO}, effort {level}, {megapixels(panorama):.0f} megapixels: {len(files[0])} bytes, {seconds_s:.0f} s of CPU time"
        )


def _encode_all(images: Sequence[UInt8], model: str, level: int, quality: float = 50) -> list[bytes]:
    return [api.encode(image, quality=quality, model=model, effort=level, tune="psnr", threads=1) for image in images]


def tune(data: Path) -> None:
    """BD-rate of --tune ssim against --tune psnr, by three metrics."""
    images = kodak(data)
    for model in (PHOTO, LITE):
        curves = {}
        for metric in ("psnr", "ssim"):
            found = list(in_processes(partial(_tuned_points, model=model, metric=metric), images))
            curves[metric] = np.mean(found, axis=0)  # [quality, (bpp, PSNR, MS-SSIM, SSIMULACRA2)]
        for column, name in enumerate(("PSNR", "MS-SSIM", "SSIMULACRA2"), start=1):
            if not np.isnan(curves["psnr"][:, column]).any():
                pair = [[RatePoint(*row) for row in found[:, (0, column)].tolist()] for found in curves.values()]
                print(f"{model}: Kodak, by {name}: {bd_rate(*pair):+.2f} %", flush=True)


def _tuned_points(image: UInt8, model: str, metric: str) -> list[list[float]]:
    """Rows (bpp, PSNR in dB, MS-SSIM as -10 log10(1 - x), SSIMULACRA2), one per quality; SSIMULACRA2 is nan without its package."""
    rows = []
    for quality in (14, 26, 40, 56, 70):
        file = api.encode(image, quality=quality, model=model, tune=metric, threads=1)
        distance = measure(image, api.decode(file, threads=1))
        ms_ssim_db = -10 * np.log10(1 - distance.ms_ssim)
        rows.append([bits_per_pixel(image, file), psnr_db(distance.mse_rgb), ms_ssim_db, distance.ssimulacra2])
    return rows
