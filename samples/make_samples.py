"""Draws the sample pictures, deterministically, in about a minute.

Command: `python samples/make_samples.py`. All samples are drawn by this project, without photographs or external textures. The two
rendered scenes get the defects of a camera (a slightly soft lens, darker corners, sensor noise), since a codec has to code them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import documents
import landscape
import still_life
from noise import Floats

FOLDER = Path(__file__).parent


def main() -> None:
    """Write the five PNG files beside this script."""
    pictures = {
        "still_life": lambda: photograph(still_life.render(), exposure=1.0, seed=1),
        "landscape": lambda: photograph(landscape.render(), exposure=1.0, seed=2),
        "page": documents.page,
        "scan": documents.scan,
        "pixel_art": documents.pixel_art,
    }
    for name, make in pictures.items():
        path = FOLDER / f"{name}.png"
        Image.fromarray(make()).save(path, optimize=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


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
