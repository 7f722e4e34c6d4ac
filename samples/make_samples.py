"""Make the sample pictures again: `python samples/make_samples.py`, about a minute, the same pictures every time.

Everything here is drawn by this project: no photograph, no foreign texture. The two rendered scenes end with what a
camera would add to them (a slightly soft lens, darker corners, the noise of a sensor), since a codec must live with it.
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
    """What a camera makes of linear light [H,W,3]: uint8 [H,W,3]."""
    height, width = light.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = _lens(light) * (1 - 0.10 * (x * x + y * y))[:, :, None] * exposure
    noise = np.random.default_rng(seed).standard_normal(light.shape)
    light = np.clip(light + _lens(noise) * np.sqrt(np.clip(light, 0, None) * 1.2e-4 + 2e-6), 0, None)
    # The filmic curve of Narkowicz (2015), then the exponent of sRGB.
    film = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return (np.clip(film, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def _lens(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """A blur of a third of a pixel."""
    framed = np.pad(light, ((1, 1), (1, 1), (0, 0)), "edge")
    framed = 0.84 * framed[1:-1] + 0.08 * (framed[:-2] + framed[2:])
    return 0.84 * framed[:, 1:-1] + 0.08 * (framed[:, :-2] + framed[:, 2:])


if __name__ == "__main__":
    main()
