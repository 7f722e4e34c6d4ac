"""Samples of 16 bits: an X-ray of a hand, and how light becomes a picture of 16 bits."""

import numpy as np
from numpy.typing import NDArray

from noise import Floats, fractal

Deep = NDArray[np.uint16]

# Bones as (x, y, x, y, radius at both ends), in pixels of the X-ray; thumb to little finger, tips first.
FINGERS = (
    ((44, 122, 56, 150, 6.5), (60, 160, 78, 192, 7.5), (84, 202, 110, 240, 8.5)),
    ((92, 40, 95, 58, 5.5), (96, 66, 102, 96, 6.5), (103, 106, 112, 150, 7.5), (114, 162, 124, 226, 8.0)),
    ((134, 22, 134, 42, 5.8), (134, 51, 136, 86, 6.8), (136, 96, 138, 144, 7.8), (138, 157, 140, 222, 8.2)),
    ((174, 38, 172, 57, 5.6), (172, 65, 168, 97, 6.5), (167, 107, 163, 150, 7.4), (161, 163, 156, 224, 7.8)),
    ((212, 80, 208, 96, 4.8), (207, 103, 200, 124, 5.6), (198, 133, 190, 166, 6.4), (187, 177, 172, 228, 7.2)),
)
WRIST = ((118, 240, 15), (140, 238, 14), (160, 240, 13), (126, 258, 15), (148, 258, 14), (168, 256, 12))
"""Middles and radii of the carpal bones."""
FOREARM = ((124, 282, 122, 340, 17), (164, 282, 168, 340, 14))


def xray() -> Deep:
    """The X-ray of a hand, bones light, with the noise of few photons, uint16 [300, 256]."""
    height, width = 300, 256
    y, x = np.mgrid[:height, :width].astype(np.float32)
    places = np.stack([x, y, 0 * x], 2).reshape(-1, 3)
    bones = [bone for finger in FINGERS for bone in finger] + list(FOREARM)
    flesh, bone_depth = np.zeros_like(x), np.zeros_like(x)
    spongy = fractal(places / 3.5, 5, 3).reshape(height, width)
    for x0, y0, x1, y1, radius in bones:
        distance, along = _distance(x, y, (x0, y0), (x1, y1))
        waist = radius * (0.70 + 0.45 * (2 * along - 1) ** 4)  # bones are wider at their ends
        solid, hollow = _chord(distance, waist), _chord(distance, 0.62 * waist)
        bone_depth = np.maximum(bone_depth, solid - hollow * (0.55 - 0.25 * spongy))
        flesh = np.maximum(flesh, _chord(distance, 2.15 * radius + 3))
    for x0, y0, radius in WRIST:
        distance = np.hypot(x - x0, y - y0) + 0.8 * fractal(places / 9, x0, 2).reshape(height, width)
        solid, hollow = _chord(distance, np.float32(radius * 0.72)), _chord(distance, np.float32(radius * 0.6))
        bone_depth = np.maximum(bone_depth, solid - hollow * (0.5 - 0.3 * spongy))
    palm, _ = _distance(x, y, (136, 190), (144, 236))
    arm, _ = _distance(x, y, (144, 236), (146, 400))
    flesh = np.maximum(flesh, np.maximum(_chord(palm, np.float32(48)) * 0.75, _chord(arm, np.float32(42))))
    flesh = flesh * (1 + 0.05 * fractal(places / 14, 9, 3).reshape(height, width))
    beam = 1 - 0.12 * np.hypot((x - 128) / 128, (y - 150) / 150) ** 2
    passed = beam * np.exp(-0.011 * flesh - 0.075 * bone_depth)
    photons = np.random.default_rng(1895).poisson(30_000 * passed)
    shade = -np.log(np.maximum(photons, 1) / 33_000)  # as detectors report it: proportional to the matter in the way
    return np.clip(np.rint(4_000 + 18_000 * shade), 0, 65_535).astype(np.uint16)


def sixteen_bits(light: Floats) -> Deep:
    """Linear light float32 [H, W, 3] as a camera's developed picture: uint16 [H, W, 3], with the noise of a long exposure."""
    noise = np.random.default_rng(16).standard_normal(light.shape)
    light = np.clip(light + noise * np.sqrt(np.clip(light, 0, None) * 1.5e-6 + 2e-8), 0, None)
    film = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)  # Narkowicz (2015)
    return np.rint(np.clip(film, 0, 1) ** (1 / 2.2) * 65_535).astype(np.uint16)


def reduced(light: Floats, factor: int) -> Floats:
    """Means of squares of `factor` pixels: float32 [H // factor, W // factor, 3]."""
    height, width = light.shape[0] // factor, light.shape[1] // factor
    squares = light[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return squares.mean((1, 3)).astype(np.float32)


def _distance(x: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float]) -> tuple[Floats, Floats]:
    """Distance of every pixel from a line between two points, and the place of the nearest point on it, 0 to 1."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - start[0] - along * dx, y - start[1] - along * dy), along


def _chord(distance: Floats, radius: Floats) -> Floats:
    """Way of a ray through a round rod at a distance from its axis."""
    return 2 * np.sqrt(np.clip(radius * radius - distance * distance, 0, None))
