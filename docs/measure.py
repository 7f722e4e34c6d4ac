"""Figures of docs/results.md that `vqcodec bench` does not print. Usage: python docs/measure.py ../shared/data"""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.bench.bdrate import RatePoint, bd_rate


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


def load(folder: Path, mode: str, every: int) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert(mode)) for path in sorted(folder.glob("*.png"))[::every]]


def mean_point(images: list[np.ndarray], files: list[bytes], decoded: list[np.ndarray]) -> RatePoint:
    bpp = np.mean([8 * len(f) / (a.shape[0] * a.shape[1]) for f, a in zip(files, images, strict=True)])
    return RatePoint(float(bpp), float(np.mean([psnr_db(a, d) for a, d in zip(images, decoded, strict=True)])))


def webp(image: np.ndarray, quality: int) -> tuple[bytes, np.ndarray]:
    out = BytesIO()
    Image.fromarray(image).save(out, "WEBP", quality=quality, method=6)
    return out.getvalue(), np.asarray(Image.open(out).convert("L" if image.ndim == 2 else "RGB"))


def main(data: Path) -> None:
    kodak = load(data / "kodak", "RGB", 1)
    files = [api.encode(a, bpp=0.4) for a in kodak]
    ideal = sum(api.info(f)["ideal_bytes"] for f in files)
    print(f"whole files over the ideal code length, Kodak at 0.4 bpp: +{100 * (sum(map(len, files)) / ideal - 1):.2f} %")
    crops = [api.encode(a[200:296, 300:396], quality=50) for a in kodak]
    over = [len(f) - api.info(f)["ideal_bytes"] for f in crops]
    print(f"96x96 crops of Kodak at quality 50 over their ideal: +{np.mean(over):.0f} bytes mean, +{max(over)} worst")
    best = np.mean([psnr_db(a, api.decode(api.encode(a, quality=100))) for a in kodak])
    print(f"PSNR on Kodak at quality 100: {best:.2f} dB")
    for name, mode in (("satellite", "RGB"), ("faces_orl", "L")):
        images = load(data / "domains" / name / "test", mode, 3)
        ours = []
        for quality in (20, 40, 56, 70, 84, 93):
            found = [api.encode(a, quality=quality) for a in images]
            ours.append(mean_point(images, found, [api.decode(f) for f in found]))
        theirs = []
        for quality in (0, 4, 12, 25, 40, 55, 70, 82, 90):
            pairs = [webp(a, quality) for a in images]
            theirs.append(mean_point(images, [f for f, _ in pairs], [d for _, d in pairs]))
        print(f"{name}, every third test image: BD-rate against WebP method 6 {bd_rate(theirs, ours):+.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
