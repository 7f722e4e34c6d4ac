"""Draws the sample pictures, deterministically, in about a minute.

Command: `python samples/make_samples.py`. All samples are drawn by this project, without photographs or external textures. The two
rendered scenes get the defects of a camera (a slightly soft lens, darker corners, sensor noise), since a codec has to code them.
Text depends on the version of Pillow. `landscape_deep` and `xray` have 16 bits a sample, `logo` has alpha; `scan` and `xray` are
grey.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import deep
import documents
import drawings
import landscape
import still_life
from noise import Floats

FOLDER = Path(__file__).parent


def main() -> None:
    """Write the PNG files beside this script."""
    scene = landscape.render()
    photo = photograph(still_life.render(), exposure=1.0, seed=1)
    pictures = {
        "still_life": photo,
        "landscape": photograph(scene, exposure=1.0, seed=2),
        "page": documents.page(),
        "scan": documents.scan(),
        "pixel_art": documents.pixel_art(),
        "mixed_page": drawings.mixed_page(photo),
        "screenshot": drawings.screenshot(),
        "chart": drawings.chart(),
        "logo": drawings.logo(),
        "landscape_deep": deep.sixteen_bits(deep.reduced(scene, 4)),
        "xray": deep.xray(),
    }
    for name, pixels in pictures.items():
        path = FOLDER / f"{name}.png"
        if pixels.dtype == np.uint16 and pixels.ndim == 3:
            path.write_bytes(png_of_deep_colour(pixels))
        else:
            Image.fromarray(pixels).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


def png_of_deep_colour(pixels: deep.Deep) -> bytes:
    """A PNG file of uint16 [H, W, 3], for which Pillow has no mode; each row has the filter of least absolute sum."""
    height, width, _ = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, width * 6).astype(np.int16)
    left, above = np.roll(rows, 6, 1), np.roll(rows, 1, 0)
    left[:, :6], above[0] = 0, 0
    corner = np.roll(above, 6, 1)
    corner[:, :6] = 0
    guess = left + above - corner
    near = np.stack([np.abs(guess - left), np.abs(guess - above), np.abs(guess - corner)]).argmin(0)
    paeth = np.choose(near, (left, above, corner))
    filtered = [(rows - prediction).astype(np.uint8) for prediction in (0 * rows, left, above, (left + above) // 2, paeth)]
    costs = np.stack([np.abs(residuals.view(np.int8).astype(np.int32)).sum(1) for residuals in filtered])  # [5, H]
    data = b"".join(bytes([kind]) + filtered[kind][row].tobytes() for row, kind in enumerate(costs.argmin(0)))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(data, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def photograph(light: Floats, *, exposure: float, seed: int) -> NDArray[np.uint8]:
    """Apply a simple camera model to linear light [H, W, 3]; returns uint8 [H, W, 3]."""
    height, width = light.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = _lens(light) * (1 - 0.10 * (x * x + y * y))[:, :, None] * exposure
    noise = np.random.default_rng(seed).standard_normal(light.shape)
    light = np.clip(light + _lens(noise) * np.sqrt(np.clip(light, 0, None) * 1.2e-4 + 2e-6), 0, None)
    # Filmic tone curve of Narkowicz (2015), then a gamma of 2.2 for sRGB.
    film = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return (np.clip(film, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def _lens(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Blur by about a third of a pixel."""
    framed = np.pad(light, ((1, 1), (1, 1), (0, 0)), "edge")
    framed = 0.84 * framed[1:-1] + 0.08 * (framed[:-2] + framed[2:])
    return 0.84 * framed[:, 1:-1] + 0.08 * (framed[:, :-2] + framed[:, 2:])


if __name__ == "__main__":
    main()
