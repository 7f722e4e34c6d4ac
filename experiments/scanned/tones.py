"""Pictures in continuous tone, and the screens by which presses print them: halftone dots and engraved lines.

Arrays are float32 [H, W] or [H, W, 3]. Tones are 0 (black) to 1 (white), coverages 0 (paper) to 1 (ink).
"""

import numpy as np

from vqcodec.arrays import Float32


def spectral(height: int, width: int, exponent: float, rng: np.random.Generator) -> Float32:
    """Noise float32 [height, width] with amplitude proportional to frequency**-exponent; mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32)) / frequency**exponent
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(height, width))
    return (field / field.std()).astype(np.float32)


def scene(height: int, width: int, rng: np.random.Generator) -> Float32:
    """A view or a portrait in colour, float32 [height, width, 3]: soft clouds, ridges, walls with windows, lit round bodies."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    sky = rng.uniform(0.55, 0.95, 3) + 0.08 * spectral(height, width, 1.6, rng)[:, :, None] - rng.uniform(0, 0.3) * y[:, :, None]
    picture = sky.astype(np.float32)
    for depth in range(int(rng.integers(0, 4))):
        ridge = 0.35 + 0.16 * depth + 0.06 * spectral(1, width, 1.3, rng)
        ground = rng.uniform(0.10, 0.55, 3) + 0.10 * spectral(height, width, 0.9, rng)[:, :, None]
        picture = np.where((y > ridge)[:, :, None], ground, picture)
    for _ in range(int(rng.integers(0, 4))):
        picture = _wall(picture, x, y, rng)
    for _ in range(int(rng.integers(1, 5))):
        picture = _body(picture, x, y, rng)
    picture += 0.03 * spectral(height, width, 0.4, rng)[:, :, None]
    dark, light = np.percentile(picture, (1, 99))
    return np.clip(0.04 + 0.94 * (picture - dark) / (light - dark), 0, 1).astype(np.float32)


def halftone(tone: Float32, pitch: float, angle: float) -> Float32:
    """Coverage by round dots on a lattice of `pitch` pixels, turned by `angle` radians."""
    y, x = np.mgrid[: tone.shape[0], : tone.shape[1]].astype(np.float32)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    turn = np.float32(2 * np.pi / pitch)
    level = 0.5 + 0.25 * (np.cos(turn * along) + np.cos(turn * across))  # 0..1, its median is 1/2
    return _edge(level - tone, pitch)


def engraving(tone: Float32, pitch: float, angle: float, rng: np.random.Generator) -> Float32:
    """Coverage by lines that swell with the darkness and waver as a burin does; deep shadows are hatched twice."""
    height, width = tone.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waver = pitch * (0.8 * spectral(height, width, 1.8, rng) + 0.6 * (0.5 - tone))

    def lines(direction: float) -> Float32:
        phase = (x * np.cos(direction) + y * np.sin(direction) + waver) * (2 * np.pi / pitch)
        return (0.5 + 0.5 * np.cos(phase)).astype(np.float32)

    hatched = np.maximum(lines(angle) - tone, np.where(tone < 0.4, lines(angle + 1.1) - tone - 0.35, -1))
    return _edge(hatched, pitch)


def _edge(excess: Float32, pitch: float) -> Float32:
    """Coverage from the level above the tone: a ramp of about one pixel."""
    return np.clip(0.5 + excess * (pitch / 3), 0, 1).astype(np.float32)


def _wall(picture: Float32, x: Float32, y: Float32, rng: np.random.Generator) -> Float32:
    """A front with rows of windows."""
    left, wide, top, tall = rng.uniform(-0.1, 0.8), rng.uniform(0.15, 0.5), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.9)
    inside = (x > left) & (x < left + wide) & (y > top) & (y < top + tall)
    rows, columns = rng.integers(2, 7, 2)
    across, down = (x - left) / wide * columns % 1, (y - top) / tall * rows % 1
    window = (np.abs(across - 0.5) < 0.24) & (np.abs(down - 0.5) < 0.3)
    front = rng.uniform(0.3, 0.9, 3) * (0.85 + 0.3 * (x - left) / wide)[:, :, None]
    front = np.where(window[:, :, None], rng.uniform(0.05, 0.3, 3), front)
    return np.where(inside[:, :, None], front, picture).astype(np.float32)


def _body(picture: Float32, x: Float32, y: Float32, rng: np.random.Generator) -> Float32:
    """A lit ellipsoid: fruit, head, barrel."""
    aspect = picture.shape[1] / picture.shape[0]
    radius = rng.uniform(0.08, 0.35)
    right, down = (x - rng.uniform(0.1, 0.9)) * aspect / radius, (y - rng.uniform(0.3, 1.0)) / (radius * rng.uniform(0.8, 1.8))
    facing = np.sqrt(np.clip(1 - right * right - down * down, 0, None))
    light = rng.normal(0, 1, 3)
    light[2] = abs(light[2]) + 0.4
    shade = np.clip((right * light[0] + down * light[1] + facing * light[2]) / np.linalg.norm(light), 0, 1)
    colour = rng.uniform(0.25, 0.95, 3) * (0.18 + 0.82 * shade)[:, :, None] + 0.4 * (shade**24)[:, :, None]
    return np.where((facing > 0)[:, :, None], colour, picture).astype(np.float32)
