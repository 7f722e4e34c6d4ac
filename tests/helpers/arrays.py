"""Arrays of instruments."""

import numpy as np


def microscopy(depth: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Fluorescent spots over a dark background with photon noise: uint16 [z, y, x]."""
    random = np.random.default_rng(seed)
    z, y, x = np.mgrid[:depth, :height, :width]
    light = np.full((depth, height, width), 90.0)
    for _ in range(12):
        centre = random.random(3) * (depth, height, width)
        radius = random.uniform(3, 9)
        light += random.uniform(200, 3000) * np.exp(
            -((z - centre[0]) ** 2 * 4 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) / radius**2
        )
    return random.poisson(light).astype(np.uint16)


def satellite(height: int, width: int, bands: int, seed: int = 0) -> np.ndarray:
    """Smooth reflectances of fields, alike in all bands: uint16 [y, x, band], below 12 bits."""
    random = np.random.default_rng(seed)
    fields = random.integers(300, 3000, (height // 16 + 1, width // 16 + 1)).repeat(16, 0).repeat(16, 1)[:height, :width]
    slopes = random.uniform(0.5, 1.2, bands)
    return (fields[..., None] * slopes + random.normal(0, 20, (height, width, bands))).clip(0, 4095).astype(np.uint16)
