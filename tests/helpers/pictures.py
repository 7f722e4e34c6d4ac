"""Small pictures, and PNG files that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from helpers.paths import REPOSITORY


def smooth_picture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of soft gradients and a little noise: uint8 [height,width] or [height,width,3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + c) + c) + np.cos(y / (9 - c)) for c in range(channels)]
    picture = 128 + 45 * np.stack(waves, 2) + np.random.default_rng(seed).normal(0, 3, (height, width, channels))
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture[:, :, 0] if channels == 1 else picture


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"", clear: bytes = b"") -> io.BytesIO:
    """A PNG written by hand, for what Pillow does not write; `clear` is a tRNS chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    header += chunk(b"tRNS", clear) if clear else b""
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def noisy_of(pixels: NDArray[np.uint8], sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    """The picture with Gaussian noise, rounded and clipped."""
    noise = np.random.default_rng(seed).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def psnr_db(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """PSNR in dB of two pictures of 8 bits; infinity if they are equal."""
    mse = np.square(first.astype(float) - second).mean()
    return float("inf") if mse == 0 else float(10 * np.log10(255**2 / mse))


def sample(name: str, crop: tuple[int, int, int, int] | None = None) -> NDArray[np.uint8]:
    """A sample picture by its name, or a crop (left, top, right, bottom) of it."""
    with Image.open(REPOSITORY / "samples" / f"{name}.png") as image:
        return np.asarray(image.crop(crop) if crop else image)


def signs(height: int = 150, width: int = 170) -> NDArray[np.uint8]:
    """Flat saturated rectangles: uint8 [height, width, 3]."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = (250, 10, 20)
    picture[height // 5 : height // 2, width // 4 : width // 2] = (0, 0, 255)
    picture[3 * height // 5 :, : width // 3] = (0, 255, 0)
    return picture


def photo(side: int = 192) -> NDArray[np.uint8]:
    """A square of the sample landscape, uint8 [side, side, 3]."""
    return sample("landscape", (200, 100, 200 + side, 100 + side))


def half_busy(side: int, components: int) -> np.ndarray:
    """Faint texture on the left, strong on the right; in squares of four pixels, so that means of cells differ, too."""
    noise = np.random.default_rng(0).normal(0, 1, (side // 4, side // 4)).repeat(4, 0).repeat(4, 1)
    strength = np.where(np.arange(side) < side // 2, 3, 40)
    return np.broadcast_to(np.clip(128 + strength * noise, 0, 255)[:, :, None], (side, side, components)).astype(np.uint8)
