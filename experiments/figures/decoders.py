"""Figures about the networks of the decoder: synthesis, refiner, denoiser."""

import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from figures.common import MOSAIC_QUALITY, PHOTO, best_s, bits_per_pixel, in_processes, kodak, megapixels, mosaic
from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import AvifCodec, bracket
from vqcodec.bench.metrics import measure, open_lpips, psnr_db, psnr_rgb_db

SIGMA = 25
"""Standard deviation of the noise for the denoiser, in grey levels."""


def network(data: Path) -> None:
    """Gain and speed of the synthesis network."""
    gains = []
    for image in kodak(data):
        files = [api.encode(image, quality=quality, model=PHOTO, threads=1) for quality in (20, 40, 60, 80)]
        plain, refined = ([psnr_rgb_db(image, api.decode(f, refine=decoder)) for f in files] for decoder in ("none", "best"))
        gains.append(np.subtract(refined, plain))
    gain = ", ".join(f"{value:+.2f}" for value in np.mean(gains, axis=0))
    print(f"{PHOTO}: PSNR above the plain decode, Kodak at quality 20, 40, 60, 80: {gain} dB")
    picture = mosaic(data)
    file = api.encode(picture, quality=MOSAIC_QUALITY, model=PHOTO)
    decode, plain_decode, encode = (
        megapixels(picture) / best_s(run, 3)
        for run in (
            lambda: api.decode(file),
            lambda: api.decode(file, refine="none"),
            lambda: api.encode(picture, quality=MOSAIC_QUALITY, model=PHOTO),
        )
    )
    print(f"{PHOTO}: the picture of `speed` at {bits_per_pixel(picture, file):.2f} bpp, all threads, best of 3")
    print(f"  decode {decode:.2f} MP/s (bar 1.5, goal 4), without synthesis {plain_decode:.2f} MP/s")
    print(f"  encode {encode:.2f} MP/s (bar 0.7, goal 2)")


@dataclass(frozen=True)
class Scores:
    """Metrics of decoded pictures; `ssimulacra2` is nan without its package."""

    lpips: float
    high_band: float
    psnr_db: float
    ms_ssim: float
    ssimulacra2: float

    def text(self) -> str:
        ssimulacra2 = "" if np.isnan(self.ssimulacra2) else f", SSIMULACRA2 {self.ssimulacra2:.1f}"
        return (
            f"LPIPS {self.lpips:.3f}, high band {self.high_band:.2f}, PSNR {self.psnr_db:.2f} dB, MS-SSIM {self.ms_ssim:.4f}"
            + ssimulacra2
        )

    def text_against(self, best: "Scores") -> str:
        """Differences to the decode without the refiner, with bars."""
        lpips = f"LPIPS {self.lpips:.3f}, {100 * (self.lpips / best.lpips - 1):+.1f} % (bar -25)"
        psnr = f"PSNR {self.psnr_db - best.psnr_db:+.2f} dB (bar -1.5)"
        ms_ssim = f"MS-SSIM {self.ms_ssim - best.ms_ssim:+.4f} (bar -0.01)"
        change = self.ssimulacra2 - best.ssimulacra2
        ssimulacra2 = "" if np.isnan(change) else f", SSIMULACRA2 {change:+.1f} (bar -5)"
        return f"{lpips}, high band {self.high_band:.2f} (bar 0.8 to 1.1), {psnr}, {ms_ssim}{ssimulacra2}"


def gan(data: Path) -> None:
    """The refiner at its default strength and at 1, against the best decode of the same files and AVIF at equal bytes."""
    images = kodak(data)
    for metric, bpp in itertools.product(("psnr", "ssim"), (0.10, 0.15, 0.25)):
        rows = list(in_processes(partial(_decoder_scores, metric=metric, bpp=bpp, weights=data / "perceptual"), images))
        found = np.array(rows)  # [image, (best, gan, gan at strength 1, AVIF), field of Scores]
        best, default, full, avif = (Scores(*row) for row in found.mean(axis=0).tolist())
        wins = int((found[:, 1, 0] < found[:, 3, 0]).sum())
        print(f"photo-gan: Kodak, --tune {metric}, {bpp:.2f} bpp: lower LPIPS than AVIF on {wins} of {len(images)} images")
        print(f"  AVIF speed 6: {avif.text()}")
        print(f"  best: {best.text()}")
        print(f"  gan, default strength: {default.text_against(best)}")
        print(f"  gan, strength 1: {full.text_against(best)}", flush=True)


def _decoder_scores(image: UInt8, metric: str, bpp: float, weights: Path) -> list[list[float]]:
    """Rows of Scores of the decoders best, gan and gan at strength 1, and of AVIF interpolated to equal bytes."""
    lpips = open_lpips(weights)

    def scores(decoded: UInt8) -> list[float]:
        found = measure(image, decoded, lpips=lpips)
        return [found.lpips, found.high_band, psnr_db(found.mse_rgb), found.ms_ssim, found.ssimulacra2]

    file = api.encode(image, bpp=bpp, model=PHOTO, tune=metric, threads=1)
    best = scores(api.decode(file, refine="best", threads=1))
    default, full = (scores(api.decode(file, refine="gan", strength=strength, threads=1)) for strength in (None, 1))
    avif = AvifCodec()
    files = bracket(avif, image, len(file))
    below, above = (np.array(scores(avif.decode(data))) for data in (files.below, files.above))
    growth = len(files.above) / len(files.below)
    share = np.log(len(file) / len(files.below)) / np.log(growth) if growth > 1 else 0  # 0: AVIF's smallest file is larger
    return [best, default, full, list(below + share * (above - below))]


def denoise(data: Path) -> None:
    """PSNR of the denoiser on noise of sigma 25, against a median filter and non-local means; its speed."""
    images = kodak(data)
    found = list(in_processes(_denoised, images, range(len(images))))
    mean = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    print(f"photo-denoise: Kodak, {len(images)} images, noise clipped and rounded to 8 bits, mean PSNR")
    for name, value in mean.items():
        print(f"  {name} {value:.2f} {'dB' if name != 'sigma estimated' else f'mean, {min(r[name] for r in found):.2f} lowest'}")
    means = max(value for name, value in mean.items() if name.startswith("non-local"))
    given, auto = (mean[f"photo-denoise, sigma {name}"] - means for name in ("given", "auto"))
    print(f"  gain over the best non-local means: sigma given {given:+.2f} dB (bar -1), sigma auto {auto:+.2f} dB")
    noisy = _add_noise(images[0], 0)
    one, two = (megapixels(noisy) / best_s(lambda n=n: api.denoise(noisy, sigma=SIGMA, threads=n), 3) for n in (1, 2))
    print(f"  {one:.2f} MP/s with one thread, {two:.2f} with two")


def _add_noise(image: UInt8, seed: int) -> UInt8:
    noise = np.random.default_rng(seed).normal(0, SIGMA, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _denoised(image: UInt8, seed: int) -> dict[str, float]:
    """PSNR in dB by method, and the estimated sigma in grey levels."""
    from scipy.ndimage import median_filter
    from skimage.restoration import denoise_nl_means

    noisy, sigma = _add_noise(image, seed), SIGMA / 255

    def non_local_means(h: float) -> UInt8:
        options = {"patch_size": 5, "patch_distance": 6, "fast_mode": True, "sigma": sigma, "h": h * sigma}
        return np.rint(255 * np.clip(denoise_nl_means(noisy / 255, channel_axis=-1, **options), 0, 1)).astype(np.uint8)

    pictures = {
        "noisy": noisy,
        "median 3x3": median_filter(noisy, (3, 3, 1)),
        "median 5x5": median_filter(noisy, (5, 5, 1)),
        **{f"non-local means, 5x5 patches, distance 6, fast, h {h} sigma": non_local_means(h) for h in (0.4, 0.5, 0.6, 0.8)},
        "photo-denoise, sigma given": api.denoise(noisy, sigma=SIGMA, threads=1),
        "photo-denoise, sigma auto": api.denoise(noisy, threads=1),
    }
    scores = {name: psnr_rgb_db(image, picture) for name, picture in pictures.items()}
    return scores | {"sigma estimated": api.estimate_sigma(noisy)}
