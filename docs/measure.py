"""Figures of docs/results.md that `vqcodec bench` does not print: python docs/measure.py FIGURE ../shared/data

FIGURE is overhead, crops, quality100, domains, monotone, speed, process, memory, training, own, or all of these.
"""

import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported: speeds are of one thread

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.bench.bdrate import RatePoint, bd_rate
from vqcodec.bench.codecs import WebpCodec, grey_of
from vqcodec.bench.metrics import measure, psnr_db

Pixels = np.ndarray
QUALITIES = (20, 40, 56, 70, 84, 93)
WEBP_QUALITIES = (0, 4, 12, 25, 40, 55, 70, 82, 90)
DOMAINS = {"satellite": "RGB", "faces_orl": "L"}
PROGRAM = (sys.executable, "-m", "vqcodec")


def load(folder: Path, mode: str = "RGB") -> list[Pixels]:
    return [np.asarray(Image.open(path).convert(mode)) for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]


def mosaic(data: Path, height: int, width: int) -> Pixels:
    """The middles (512 x 768) of the first photos that are large enough, side by side."""
    tiles: list[Pixels] = []
    with tarfile.open(data / "photos" / "photos-1.tar") as archive:
        for member in sorted(archive.getmembers(), key=lambda entry: entry.name):
            if len(tiles) == height // 512 * (width // 768):
                break
            if member.name.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".avif")):
                photo = np.asarray(Image.open(archive.extractfile(member)).convert("RGB"))
                top, left = (photo.shape[0] - 512) // 2, (photo.shape[1] - 768) // 2
                if min(top, left) >= 0:
                    tiles.append(photo[top : top + 512, left : left + 768])
    rows = [np.concatenate(tiles[i : i + width // 768], axis=1) for i in range(0, len(tiles), width // 768)]
    return np.concatenate(rows)


def point(image: Pixels, file: bytes, decoded: Pixels) -> tuple[float, float]:
    """Bits per pixel and PSNR."""
    return 8 * len(file) / (image.shape[0] * image.shape[1]), psnr_db(measure(image, decoded, psnr_only=True).mse_rgb)


def vqz_points(image: Pixels, *, model: str | None = None, qualities: Sequence[float] = QUALITIES) -> list[tuple[float, float]]:
    files = [api.encode(image, quality=q, model=model, threads=1) for q in qualities]
    return [point(image, file, api.decode(file, model=model, threads=1)) for file in files]


def webp_points(image: Pixels) -> list[tuple[float, float]]:
    codec = WebpCodec()
    files = [codec.encode(image, q) for q in WEBP_QUALITIES]
    decoded = [codec.decode(file) for file in files]
    return [point(image, file, d if image.ndim == 3 else grey_of(d)) for file, d in zip(files, decoded, strict=True)]


def curve(function: Callable[[Pixels], list[tuple[float, float]]], images: list[Pixels]) -> list[RatePoint]:
    """Mean points over the images, two processes."""
    with ProcessPoolExecutor(2) as pool:
        points = list(pool.map(function, images, chunksize=8))
    return [RatePoint(float(bpp), float(psnr)) for bpp, psnr in np.mean(points, axis=0)]


def best(run: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


# ---------------------------------------------------------------------------------------------------------- figures


def overhead(data: Path) -> None:
    files = [api.encode(image, bpp=0.4) for image in load(data / "kodak")]
    ideal = sum(api.info(file)["ideal_bytes"] for file in files)
    over = 100 * (sum(map(len, files)) / ideal - 1)
    print(f"whole files over the ideal code length, Kodak at 0.4 bpp: {over:+.2f} % (bar +3.5, goal +2)")


def crops(data: Path) -> None:
    files = [api.encode(image[200:296, 300:396], quality=50) for image in load(data / "kodak")]
    over = [len(file) - api.info(file)["ideal_bytes"] for file in files]
    mean = np.mean(over)
    print(f"96x96 crops of Kodak, quality 50, over their ideal: {mean:+.0f} bytes mean, worst {max(over):+d} (bar 90, goal 60)")


def quality100(data: Path) -> None:
    found = [vqz_points(image, qualities=(100,))[0][1] for image in load(data / "kodak")]
    print(f"PSNR on Kodak at quality 100: {np.mean(found):.2f} dB mean, {min(found):.2f} least (bar 44, goal 48)")


def domains(data: Path) -> None:
    for (name, mode), aims in zip(DOMAINS.items(), ("bar 0, goal -12", "bar -10, goal -35"), strict=True):
        images = load(data / "domains" / name / "test", mode)
        gain = bd_rate(curve(webp_points, images), curve(vqz_points, images))
        print(f"{name}, all {len(images)} test images: BD-rate against WebP method 6 {gain:+.1f} % ({aims})")


def monotone(data: Path) -> None:
    qualities = tuple(range(0, 101, 5))
    with ProcessPoolExecutor(2) as pool:
        curves = list(pool.map(partial(vqz_points, qualities=qualities), load(data / "kodak")))
    rises = np.diff(np.array(curves), axis=1)  # [image, step of quality, (bpp, PSNR)]
    print(f"Kodak, quality 0, 5, ... 100: {int((rises <= 0).sum())} of {rises.size} steps in bytes or PSNR do not rise")
    for image, number, what in np.argwhere(rises <= 0):
        rise = f"{('bpp', 'PSNR')[what]} {rises[image, number, what]:+.4f}"
        print(f"  image {image + 1}, quality {qualities[number]} to {qualities[number + 1]}: {rise}")


def speed(data: Path) -> None:
    picture = mosaic(data, 2560, 3840)
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    file = api.encode(picture, quality=46)
    webp = WebpCodec()
    theirs = webp.encode(picture, 30)
    rates = [
        megapixels / best(run, 5)
        for run in (
            lambda: api.decode(file, threads=1),
            lambda: api.encode(picture, quality=46, threads=1),
            lambda: webp.decode(theirs),
            lambda: webp.encode(picture, 30),
        )
    ]
    print(f"{megapixels:.1f} megapixels at {8e-6 * len(file) / megapixels:.2f} bpp, one thread:")
    print(f"  decode {rates[0]:.2f} MP/s (bar 7, goal 15; libwebp {rates[2]:.1f} at {8e-6 * len(theirs) / megapixels:.2f} bpp)")
    print(f"  encode {rates[1]:.2f} MP/s (bar 2, goal 6; libwebp method 6 {rates[3]:.1f})")


def process(data: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, picture = Path(folder, "a.vqz"), Path(folder, "a.ppm")
        file.write_bytes(api.encode(load(data / "kodak")[0][:, :512]))
        seconds = best(lambda: subprocess.run([*PROGRAM, "decode", "-f", file, picture], check=True), 7)
    print(f"whole process, decode of 512x512 to PPM: {seconds:.2f} s (bar 0.5, goal 0.3)")


def memory(data: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture, file, decoded = (Path(folder, name) for name in ("a.ppm", "a.vqz", "b.ppm"))
        pixels = mosaic(data, 4096, 6144)[:4000, :6000]
        Image.fromarray(pixels).save(picture)
        for what, paths in (("encode", (picture, file)), ("decode", (file, decoded))):
            with ProcessPoolExecutor(1) as pool:  # a process of its own: the peak of children is the largest of all
                peak = pool.submit(_peak_of_child, what, *paths).result()
            print(f"peak memory, {what} of 24 megapixels: {peak:.0f} MB (bar 150 + 288 = 438, goal 100 + 192 = 292)")


def _peak_of_child(what: str, source: Path, target: Path) -> float:
    subprocess.run([*PROGRAM, what, source, target], check=True, stderr=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def training(data: Path) -> None:
    for name in DOMAINS:
        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder, "images")
            images.mkdir()
            for path in sorted((data / "domains" / name / "train").iterdir())[:40]:
                shutil.copy(path, images)
            start = time.perf_counter()
            subprocess.run([*PROGRAM, "train", images, "-o", Path(folder, "model")], check=True, stdout=subprocess.DEVNULL)
            print(f"training on 40 images of {name}: {time.perf_counter() - start:.0f} s (bar 180)")


def own(data: Path) -> None:
    for name, mode in DOMAINS.items():
        with tempfile.TemporaryDirectory() as folder:
            model = str(Path(folder, name))
            source = data / "domains" / name
            subprocess.run([*PROGRAM, "train", source / "train", "-o", model], check=True, stdout=subprocess.DEVNULL)
            images = load(source / "test", mode)
            gain = bd_rate(curve(vqz_points, images), curve(partial(vqz_points, model=model), images))
            print(f"{name}: model of its own against photo-lite, all {len(images)} test images {gain:+.1f} % (bar 0, goal -5)")


FIGURES = (overhead, crops, quality100, domains, monotone, speed, process, memory, training, own)


def main(wanted: str, data: Path) -> None:
    for figure in FIGURES:
        if wanted in (figure.__name__, "all"):
            figure(data)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
