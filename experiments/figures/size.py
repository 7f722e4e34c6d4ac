"""Figures about bytes and quality of files."""

from pathlib import Path

import numpy as np

from figures.common import DOMAINS, LITE, PHOTO, curve, kodak, load, vqz_points, webp_points
from vqcodec import api
from vqcodec.bench.bdrate import bd_rate
from vqcodec.bench.report import BD_RANGE_BPP
from vqcodec.bench.results import BenchResults

BENCH_RESULTS = Path(__file__).resolve().parents[2] / "out" / "bench" / "results.json"


def overhead(data: Path) -> None:
    """File size above the ideal code length."""
    files = [api.encode(image, bpp=0.4, model=LITE) for image in kodak(data)]
    ideal = sum(api.info(file, streams=True)["ideal_bytes"] for file in files)
    over = 100 * (sum(map(len, files)) / ideal - 1)
    print(f"{LITE}: Kodak at 0.4 bpp: {over:+.2f} % (bar +3.5, goal +2)")


def crops(data: Path) -> None:
    """Size of small files above the ideal code length."""
    files = [api.encode(image[200:296, 300:396], quality=50, model=LITE) for image in kodak(data)]
    over = [len(file) - api.info(file, streams=True)["ideal_bytes"] for file in files]
    print(f"{LITE}: 96x96 crops of Kodak, quality 50: mean {np.mean(over):+.0f} bytes, largest {max(over):+d} (bar 90, goal 60)")


def quality100(data: Path) -> None:
    """PSNR at quality 100."""
    found = [vqz_points(image, qualities=(100,))[0].psnr_db for image in kodak(data)]
    print(f"{LITE}: Kodak: mean {np.mean(found):.2f} dB, lowest {min(found):.2f} (bar 44, goal 48)")


def domains(data: Path) -> None:
    """BD-rate on other domains against WebP (method 6)."""
    for (name, mode), aims in zip(DOMAINS.items(), ("bar 0, goal -12", "bar -10, goal -35"), strict=True):
        images = load(data / "domains" / name / "test", mode)
        gain = bd_rate(curve(webp_points, images), curve(vqz_points, images))
        print(f"{LITE}: {name}, {len(images)} test images: {gain:+.2f} % ({aims})")


def models(data: Path) -> None:
    """BD-rate of photo against photo-lite, from the results of `make bench`."""
    results = BenchResults.from_json(BENCH_RESULTS.read_text())
    lite, photo = (results.curve(name) for name in (f"vqz:{LITE}", "vqz"))
    in_range, overall = bd_rate(lite, photo, bpp_range=BD_RANGE_BPP), bd_rate(lite, photo)
    print(f"{PHOTO}: Kodak: {in_range:+.2f} % between 0.1 and 2 bpp (bar -17, goal -30), {overall:+.2f} % over all qualities")
