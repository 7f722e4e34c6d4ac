"""Figures of docs/results.md that `vqcodec bench` does not print: python experiments/measure.py FIGURE ../shared/data

Each line has the figure as measured, and its bar and goal; `all` prints every figure but `adapted`, in about an hour. Those of the
model photo begin with its name, all others are of photo-lite.
"""

import argparse
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported: speeds in this process are of one thread

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.bench.bdrate import RatePoint, bd_rate
from vqcodec.bench.codecs import AvifCodec, WebpCodec, to_grey
from vqcodec.bench.metrics import measure, open_lpips, psnr_db, psnr_rgb_db
from vqcodec.bench.report import BD_RANGE_BPP
from vqcodec.codec.rate_control import DEFAULT_EFFORT

Pixels = np.ndarray
QUALITIES = (20, 40, 56, 70, 84, 93)
WEBP_QUALITIES = (0, 4, 12, 25, 40, 55, 70, 82, 90)
DOMAINS = {"satellite": "RGB", "faces_orl": "L"}
LITE, PHOTO = "photo-lite", "photo"


def load(folder: Path, mode: str = "RGB") -> list[Pixels]:
    return [np.asarray(Image.open(path).convert(mode)) for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg")]


def mosaic(data: Path, height: int, width: int) -> Pixels:
    """The middles (512 x 768) of the first photos that are large enough, side by side; of too few, the first again."""
    down, across = height // 512, width // 768
    tiles: list[Pixels] = []
    with tarfile.open(data / "photos" / "photos-1.tar") as archive:
        for member in sorted(archive.getmembers(), key=lambda entry: entry.name):
            if len(tiles) == down * across:
                break
            if member.name.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".avif")):
                photo = np.asarray(Image.open(archive.extractfile(member)).convert("RGB"))
                top, left = (photo.shape[0] - 512) // 2, (photo.shape[1] - 768) // 2
                if min(top, left) >= 0:
                    tiles.append(photo[top : top + 512, left : left + 768])
    endless = itertools.cycle(tiles)
    return np.concatenate([np.concatenate([next(endless) for _ in range(across)], axis=1) for _ in range(down)])


def point(image: Pixels, file: bytes, decoded: Pixels) -> tuple[float, float]:
    """Bits per pixel and PSNR."""
    return 8 * len(file) / (image.shape[0] * image.shape[1]), psnr_rgb_db(image, decoded)


def vqz_points(
    image: Pixels, *, model: str = LITE, qualities: Sequence[float] = QUALITIES, effort: int = DEFAULT_EFFORT
) -> list[tuple[float, float]]:
    files = [api.encode(image, quality=q, model=model, effort=effort, threads=1) for q in qualities]
    return [point(image, file, api.decode(file, model=model, threads=1)) for file in files]


def webp_points(image: Pixels) -> list[tuple[float, float]]:
    codec = WebpCodec()
    files = [codec.encode(image, q) for q in WEBP_QUALITIES]
    decoded = [codec.decode(file) for file in files]
    return [point(image, file, d if image.ndim == 3 else to_grey(d)) for file, d in zip(files, decoded, strict=True)]


def curve(function: Callable[[Pixels], list[tuple[float, float]]], images: list[Pixels]) -> list[RatePoint]:
    """Mean points over the images, two processes."""
    with ProcessPoolExecutor(2) as pool:
        points = list(pool.map(function, images))
    return [RatePoint(float(bpp), float(psnr)) for bpp, psnr in np.mean(points, axis=0)]


def best(run: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def program(*arguments: object) -> None:
    """Run vqcodec in a process of its own, as a user would get it; what it prints is of no interest."""
    with running(*arguments) as process:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, process.args)


def running(*arguments: object) -> "subprocess.Popen[bytes]":
    """vqcodec in a process of its own, with the threads and the compiled modules that it has where it was installed."""
    command = [sys.executable, "-m", "vqcodec", *map(str, arguments)]
    ours = ("OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# ---------------------------------------------------------------------------------------------------------- figures


def overhead(data: Path) -> None:
    files = [api.encode(image, bpp=0.4, model=LITE) for image in load(data / "kodak")]
    ideal = sum(api.info(file)["ideal_bytes"] for file in files)
    over = 100 * (sum(map(len, files)) / ideal - 1)
    print(f"whole files over the ideal code length, Kodak at 0.4 bpp: {over:+.2f} % (bar +3.5, goal +2)")


def crops(data: Path) -> None:
    files = [api.encode(image[200:296, 300:396], quality=50, model=LITE) for image in load(data / "kodak")]
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
        print(f"{name}, all {len(images)} test images: BD-rate against WebP method 6 {gain:+.2f} % ({aims})")


def tune(data: Path) -> None:
    """What `--tune ssim` saves, by three measures of likeness."""
    images = load(data / "kodak")
    for model in (PHOTO, LITE):
        curves = {}
        for aim in ("psnr", "ssim"):
            with ProcessPoolExecutor(2) as pool:
                found = list(pool.map(partial(likeness, model=model, aim=aim), images))
            curves[aim] = np.mean(found, axis=0)  # [qualities, bpp and each measure]
        for number, name in enumerate(("PSNR", "MS-SSIM", "SSIMULACRA2"), start=1):
            if not np.isnan(curves["psnr"][:, number]).any():
                rates = [[RatePoint(*row) for row in found[:, (0, number)].tolist()] for found in curves.values()]
                print(f"{model}: --tune ssim, Kodak, BD-rate by {name} against --tune psnr: {bd_rate(*rates):+.2f} %", flush=True)


def likeness(image: Pixels, model: str, aim: str) -> list[list[float]]:
    """Bits per pixel, PSNR, MS-SSIM as -10 log10(1 - x) and SSIMULACRA2 (nan without its package), quality by quality."""
    rows = []
    for quality in (14, 26, 40, 56, 70):
        file = api.encode(image, quality=quality, model=model, tune=aim, threads=1)
        found = measure(image, api.decode(file, threads=1))
        bpp = 8 * len(file) / (image.shape[0] * image.shape[1])
        rows.append([bpp, psnr_db(found.mse_rgb), -10 * np.log10(1 - found.ms_ssim), found.ssimulacra2])
    return rows


def monotone(data: Path) -> None:
    qualities = tuple(range(0, 101, 5))
    images = load(data / "kodak")
    for model, prefix in ((LITE, ""), (PHOTO, "photo: ")):
        with ProcessPoolExecutor(2) as pool:
            curves = np.array(list(pool.map(partial(vqz_points, model=model, qualities=qualities), images)))
        curves[:, :, 0] *= images[0].shape[0] * images[0].shape[1] / 8  # bits per pixel to bytes: all are of one size
        rises = np.diff(curves, axis=1)  # [image, step of quality, (bytes, PSNR)]
        count = int((rises < 0).sum())
        print(f"{prefix}Kodak, quality 0, 5, ... 100: {count} of {rises.size} steps make bytes or PSNR less (bar 0)")
        for image, number, what in np.argwhere(rises < 0):
            rise = f"{rises[image, number, what]:+.4g} {('bytes', 'dB')[what]}"
            print(f"  image {image + 1}, quality {qualities[number]} to {qualities[number + 1]}: {rise}")


def speed(data: Path) -> None:
    picture = mosaic(data, 2560, 3840)
    pixels = picture.shape[0] * picture.shape[1]
    webp = WebpCodec()
    ours, theirs = api.encode(picture, quality=53, model=LITE, threads=1), webp.encode(picture, 40)
    decode, decode_2, encode, encode_2, webp_decode, webp_encode = (
        pixels / 1e6 / best(run, 5)
        for run in (
            lambda: api.decode(ours, threads=1),
            lambda: api.decode(ours, threads=2),
            lambda: api.encode(picture, quality=53, model=LITE, threads=1),
            lambda: api.encode(picture, quality=53, model=LITE, threads=2),
            lambda: webp.decode(theirs),
            lambda: webp.encode(picture, 40),
        )
    )
    rates = f"{8 * len(ours) / pixels:.2f} bpp, libwebp method 6 at {8 * len(theirs) / pixels:.2f}"
    print(f"{pixels / 1e6:.1f} megapixels of photos at {rates}, one thread, best of 5:")
    print(f"  decode {decode:.2f} MP/s (bar 7, goal 15), libwebp {webp_decode:.1f}, {webp_decode / decode:.1f} times as fast")
    print(f"  encode {encode:.2f} MP/s (bar 2, goal 6), libwebp {webp_encode:.1f}, {webp_encode / encode:.1f} times as fast")
    print(f"  two threads: decode {decode_2:.2f} MP/s (bar 20), encode {encode_2:.2f} (bar 4)")


def parts(data: Path) -> None:
    """What a preview and a region cost, against the whole."""
    picture = mosaic(data, 2560, 3840)
    file = api.encode(picture, quality=53, model=LITE)

    def read(**options: object) -> None:
        with api.open_vqz(io.BytesIO(file)) as opened:
            opened.read(threads=1, **options)

    whole = best(read, 5)
    found = [f"scale {scale} {whole / best(lambda scale=scale: read(scale=scale), 5):.1f} times" for scale in (8, 4, 2)]
    region = whole / best(lambda: read(region=(1800, 1200, 384, 256)), 5)
    found.append(f"a region of 1 % {region:.1f} times")
    print(f"parts of the picture of speed against all of it, one thread: {', '.join(found)} as fast (bar of scale 8: 10)")
    default = api.encode(picture, quality=53, model=PHOTO)
    refined = best(lambda: api.decode(default, threads=1), 1) / best(lambda: preview(default), 3)
    print(f"photo: scale 8 {refined:.1f} times as fast as the whole picture (bar 10)")


def preview(file: bytes) -> None:
    with api.open_vqz(io.BytesIO(file)) as opened:
        opened.read(scale=8, threads=1)


def effort(data: Path) -> None:
    """Each effort's gain and cost: bytes at equal PSNR against the default effort, CPU time against it and against AVIF speed 6.

    On every fourth picture of Kodak, on six photos, and on one picture of 39 megapixels at quality 60,
    whose bytes are those at equal quality. Times are of the process, with one thread, so that other work beside it counts little.
    """
    kodak = load(data / "kodak")[::4]
    photos = [picture for _, picture in zip(range(6), some_photos(data), strict=False)]
    panorama = mosaic(data, 5120, 7680)
    avif = AvifCodec()
    peer = cpu_time(lambda: [avif.encode(picture, 50) for picture in kodak])
    for model, levels in ((PHOTO, (1, 2, 5, 7, 8, 9)), (LITE, (1, 2, 5))):
        curves = {
            level: [curve(partial(vqz_points, model=model, effort=level), images) for images in (kodak, photos)] for level in levels
        }
        seconds = {level: cpu_time(partial(encoded, kodak, model, level)) for level in levels}
        for level in levels:
            gains = [bd_rate(*pair) for pair in zip(curves[DEFAULT_EFFORT], curves[level], strict=True)]
            cost = (
                f"{seconds[level] / seconds[DEFAULT_EFFORT]:.2f} of the default's CPU time, {seconds[level] / peer:.1f} of AVIF's"
            )
            print(f"{model}, effort {level}: Kodak {gains[0]:+.2f} %, photos {gains[1]:+.2f} % bytes; {cost}")
    for level in (1, DEFAULT_EFFORT, 7):
        size: list[int] = []
        seconds_of_one = cpu_time(lambda level=level, size=size: size.extend(map(len, encoded([panorama], PHOTO, level, 60))))
        print(
            f"photo, effort {level}, {panorama.size // 3 / 1e6:.0f} megapixels: {size[0]} bytes, {seconds_of_one:.0f} s of CPU time"
        )


def encoded(images: Sequence[Pixels], model: str, level: int, quality: float = 50) -> list[bytes]:
    return [api.encode(image, quality=quality, model=model, effort=level, threads=1) for image in images]


def some_photos(data: Path) -> Iterator[Pixels]:
    """Middles of 512 x 384 pixels of every tenth photo of the last archive."""
    with tarfile.open(data / "photos" / "photos-3.tar") as archive:
        members = sorted((entry for entry in archive.getmembers() if entry.name.endswith(".avif")), key=lambda entry: entry.name)
        for member in members[::10]:
            photo = np.asarray(Image.open(archive.extractfile(member)).convert("RGB"))
            top, left = (photo.shape[0] - 384) // 2, (photo.shape[1] - 512) // 2
            if min(top, left) >= 0:
                yield photo[top : top + 384, left : left + 512]


def cpu_time(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def network(data: Path) -> None:
    gains = []
    for image in load(data / "kodak"):
        files = [api.encode(image, quality=q, model=PHOTO, threads=1) for q in (20, 40, 60, 80)]
        plain, best_ = ([point(image, f, api.decode(f, refine=r))[1] for f in files] for r in ("none", "best"))
        gains.append(np.subtract(best_, plain))
    gain = ", ".join(f"{value:+.2f}" for value in np.mean(gains, axis=0))
    print(f"photo: synthesis over its plain decode, Kodak at quality 20, 40, 60, 80: {gain} dB")
    picture = mosaic(data, 2560, 3840)
    pixels = picture.shape[0] * picture.shape[1] / 1e6
    file = api.encode(picture, quality=53, model=PHOTO)
    decode, plain, encode = (
        pixels / best(run, 3)
        for run in (
            lambda: api.decode(file),
            lambda: api.decode(file, refine="none"),
            lambda: api.encode(picture, quality=53, model=PHOTO),
        )
    )
    print(f"photo: the picture of speed at {8 * len(file) / pixels / 1e6:.2f} bpp, all threads, best of 3:")
    print(f"  decode {decode:.2f} MP/s (bar 1.5, goal 4), without synthesis {plain:.2f}")
    print(f"  encode {encode:.2f} MP/s (bar 0.7, goal 2)")


def gan(data: Path) -> None:
    """The refiner at its default strength, and at 1, against the best decode of the same files and AVIF at equal bytes."""
    images = load(data / "kodak")
    for aim, rate in itertools.product(("psnr", "ssim"), (0.10, 0.15, 0.25)):
        with ProcessPoolExecutor(2) as pool:
            found = np.array(list(pool.map(partial(decoders, aim=aim, rate=rate, weights=data / "perceptual"), images)))
        best_, default, full, avif = found.mean(axis=0)  # each LPIPS, high band, PSNR, MS-SSIM, SSIMULACRA2
        wins = int((found[:, 1, 0] < found[:, 3, 0]).sum())
        where = f"--tune {aim}, {rate:.2f} bpp, Kodak"
        print(f"photo-gan: {where}; LPIPS below AVIF's at equal bytes on {wins} of {len(images)} images")
        for name, value in (("AVIF speed 6", avif), ("best", best_)):
            likeness = f"PSNR {value[2]:.2f} dB, MS-SSIM {value[3]:.4f}"
            likeness += "" if np.isnan(value[4]) else f", SSIMULACRA2 {value[4]:.1f}"
            print(f"  {name}: LPIPS {value[0]:.3f}, high band {value[1]:.2f}, {likeness}")
        for name, value in (("default strength", default), ("strength 1", full)):
            lpips = f"LPIPS {value[0]:.3f}, {100 * (value[0] / best_[0] - 1):+.1f} % (bar -25)"
            losses = f"PSNR {value[2] - best_[2]:+.2f} dB (bar -1.5), MS-SSIM {value[3] - best_[3]:+.4f} (bar -0.01)"
            losses += "" if np.isnan(value[4]) else f", SSIMULACRA2 {value[4] - best_[4]:+.1f} (bar -5)"
            print(f"  gan, {name}: {lpips}, high band {value[1]:.2f} (bar 0.8 to 1.1), {losses}", flush=True)


def decoders(image: Pixels, aim: str, rate: float, weights: Path) -> list[list[float]]:
    """LPIPS, high band, PSNR, MS-SSIM and SSIMULACRA2 (nan without its package) of best, gan, gan at strength 1, and of AVIF at
    equal bytes, between two files."""
    lpips = open_lpips(weights)

    def figures(decoded: Pixels) -> list[float]:
        found = measure(image, decoded, lpips=lpips)
        return [found.lpips, found.high_band, psnr_db(found.mse_rgb), found.ms_ssim, found.ssimulacra2]

    file = api.encode(image, bpp=rate, model=PHOTO, tune=aim, threads=1)
    options = ({"refine": "best"}, {"refine": "gan"}, {"refine": "gan", "strength": 1})
    ours = [figures(api.decode(file, threads=1, **given)) for given in options]
    avif = AvifCodec()
    above = bisect_right(range(100), len(file), key=lambda quality: len(avif.encode(image, quality)))
    pair = [avif.encode(image, quality) for quality in (max(0, above - 1), above)]
    low, high = (np.array(figures(avif.decode(data))) for data in pair)
    share = np.log(len(file) / len(pair[0])) / np.log(len(pair[1]) / len(pair[0])) if above else 0  # its smallest is larger
    return [*ours, list(low + share * (high - low))]


def rest(data: Path) -> None:
    """From what `make bench` left in out/bench."""
    document = json.loads((Path(__file__).resolve().parent.parent / "out" / "bench" / "results.json").read_text())
    found = {codec["name"]: codec["results"] for codec in document["codecs"]}
    curves = [
        [RatePoint(*pair) for pair in zip(found[name]["bpp"], found[name]["psnr-rgb"], strict=True)]
        for name in (f"vqz:{LITE}", "vqz")
    ]
    gain = f"{bd_rate(*curves, bpp_range=BD_RANGE_BPP):+.2f} % between 0.1 and 2 bpp"
    print(f"photo: BD-rate against photo-lite, Kodak: {gain} (bar -17, goal -30), {bd_rate(*curves):+.2f} % over all of the sweeps")


def targets(data: Path) -> None:
    images = load(data / "kodak")[::3]
    for what, wanted in (("bpp", 0.5), ("size", 20_000), ("psnr", 34.0)):
        files = [api.encode(image, model=LITE, **{what: wanted}) for image in images]
        found = [
            {"bpp": bpp, "size": len(file), "psnr": psnr}[what]
            for image, file in zip(images, files, strict=True)
            for bpp, psnr in [point(image, file, api.decode(file))]
        ]
        allowed = "within 0.05 dB above" if what == "psnr" else "at most, within 1 %"
        print(f"{len(images)} images of Kodak at {what} {wanted}: from {min(found):.5g} to {max(found):.5g} ({allowed})")


def process(data: Path) -> None:
    for model, prefix, aims in ((LITE, "", "bar 0.5, goal 0.3"), (PHOTO, "photo: ", "bar 0.8, goal 0.4")):
        with tempfile.TemporaryDirectory() as folder:
            file, picture = Path(folder, "a.vqz"), Path(folder, "a.ppm")
            file.write_bytes(api.encode(load(data / "kodak")[0][:512, :512], model=model))
            seconds = best(lambda file=file, picture=picture: program("decode", "-f", file, picture), 7)
        print(f"{prefix}whole process, decode of 512x512 to PPM, best of 7: {seconds:.2f} s ({aims})")


def memory(data: Path) -> None:
    for model, prefix in ((LITE, ""), (PHOTO, "photo: ")):
        with tempfile.TemporaryDirectory() as folder:
            picture, file, decoded = (Path(folder, name) for name in ("a.ppm", "a.vqz", "b.ppm"))
            Image.fromarray(mosaic(data, 4096, 6144)[:4000, :6000]).save(picture)
            for what, paths in (("encode", (picture, file, "-m", model)), ("decode", (file, decoded))):
                peak = peak_of_program(what, *paths)
                aims = "bar 150 + 288 = 438, goal 100 + 192 = 292"
                print(f"{prefix}peak memory, {what} of 24 megapixels, all its processes: {peak:.0f} MB ({aims})")


def peak_of_program(*arguments: object) -> float:
    """Most memory that was resident at once, looked at every 10 ms, in 10**6 bytes: pages that processes share count once."""
    peak = 0
    with running(*arguments) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident, [process.pid, *children(process.pid)])))
            time.sleep(0.01)
    return peak * 1024 / 1e6


def children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def resident(process: int) -> int:
    """KiB of a process, and its part of what it shares with others; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def training(data: Path) -> None:
    for name in DOMAINS:
        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder, "images")
            images.mkdir()
            for path in sorted((data / "domains" / name / "train").iterdir())[:40]:
                shutil.copy(path, images)
            seconds = best(lambda images=images: program("train", images, "-o", images.parent / "model"), 1)
            print(f"training on 40 images of {name}: {seconds:.0f} s (bar 180)")


def own(data: Path) -> None:
    for name, mode in DOMAINS.items():
        with tempfile.TemporaryDirectory() as folder:
            model = str(Path(folder, name))
            source = data / "domains" / name
            program("train", source / "train", "-o", model, "--init", "photo-lite")
            images = load(source / "test", mode)
            gain = bd_rate(curve(vqz_points, images), curve(partial(vqz_points, model=model), images))
            print(f"{name}: model of its own against photo-lite, all {len(images)} test images {gain:+.1f} % (bar 0, goal -5)")


def adapted(data: Path) -> None:
    for name, mode in DOMAINS.items():
        with tempfile.TemporaryDirectory() as folder:
            model = str(Path(folder, name))
            source = data / "domains" / name
            program("train", source / "train", "-o", model, "--kind", "neural", "--init", PHOTO, "--minutes", 20)
            images = load(source / "test", mode)
            gain = bd_rate(*(curve(partial(vqz_points, model=m), images) for m in (PHOTO, model)))
            what = f"photo: {name}, adapted in 20 minutes, against photo, all {len(images)} test images"
            print(f"{what} {gain:+.1f} % (bar -6, goal -20)")
            facts = json.loads(Path(model, "model.json").read_text())
            steps = [facts.get(f"{part}_steps", "under 50") for part in ("tiles", "synthesis")]  # counted every 50
            print(f"  kept: {facts['kept']}; {steps[0]} steps of the context's tiles", end=", ")
            before, after = facts["held_out_gain_db_before"], facts["held_out_gain_db"]
            print(f"{steps[1]} of the synthesis: {before:+.3f} dB held out before, {after:+.3f} after;", end=" ")
            print(f"{facts['seconds'] / 60:.0f} minutes with samples and codebooks")


def denoise(data: Path) -> None:
    """Of noise of sigma 25, clipped and rounded to 8 bits, against a median filter and non-local means."""
    images = load(data / "kodak")
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(denoised, images, range(len(images))))
    mean = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    best_means = max(value for name, value in mean.items() if name.startswith("non-local"))
    print(f"photo-denoise: Kodak with noise of sigma 25, mean PSNR over {len(images)} images:")
    for name, value in mean.items():
        print(f"  {name} {value:.2f} {'dB' if name != 'sigma estimated' else f'mean, {min(r[name] for r in found):.2f} least'}")
    gain = mean["ours, sigma given"] - best_means
    print(f"  ours, sigma given, over non-local means {gain:+.2f} dB (bar -1), with auto {mean['ours, auto'] - best_means:+.2f} dB")
    image = noisy_of(images[0], 0)
    seconds = [best(lambda n=n: api.denoise(image, sigma=25, threads=n), 3) for n in (1, 2)]
    print(f"  {image.size / 3e6 / seconds[0]:.2f} MP/s with one thread, {image.size / 3e6 / seconds[1]:.2f} with two")


def noisy_of(image: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, 25, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def denoised(image: Pixels, seed: int) -> dict[str, float]:
    """PSNR of each way, and the sigma that is estimated."""
    from scipy.ndimage import median_filter
    from skimage.restoration import denoise_nl_means

    noisy, means = noisy_of(image, seed), "non-local means, 5x5 patches, distance 6, fast"

    def psnr(decoded: Pixels) -> float:
        return psnr_rgb_db(image, decoded)

    def non_local(share: float) -> Pixels:
        options = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "sigma": 25 / 255, "h": share * 25 / 255}
        return np.rint(255 * np.clip(denoise_nl_means(noisy / 255, channel_axis=-1, **options), 0, 1)).astype(np.uint8)

    return {
        "noisy": psnr(noisy),
        "median 3x3": psnr(median_filter(noisy, (3, 3, 1))),
        "median 5x5": psnr(median_filter(noisy, (5, 5, 1))),
        **{f"{means}, h {share} sigma": psnr(non_local(share)) for share in (0.4, 0.5, 0.6, 0.8)},
        "ours, sigma given": psnr(api.denoise(noisy, sigma=25, threads=1)),
        "ours, auto": psnr(api.denoise(noisy, threads=1)),
        "sigma estimated": api.estimate_sigma(noisy),
    }


_ALL = (overhead, crops, quality100, domains, monotone, targets, speed, parts, effort, tune)
_ALL += (process, memory, training, own, network, gan, denoise, rest)
FIGURES = {figure.__name__: figure for figure in (*_ALL, adapted)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument("data", type=Path, help="the folder with kodak, photos and domains")
    given = parser.parse_args()
    for name, figure in FIGURES.items():
        if given.figure == name or (given.figure == "all" and figure in _ALL):
            figure(given.data)
