"""A sheet as a scanner sees it: ink and paper, light, lens, sensor, levels, JPEG.

The canvas of the sheet has SCALE pixels for each pixel of the scan. Light is float32 [H, W, 3], 0 to 1, in the scan's tone scale.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from scanned.prints import Sheet
from scanned.tones import spectral
from vqcodec.arrays import Float32, UInt8

SCALE = 2
"""Canvas pixels for each pixel of the scan, in both directions."""
MARGIN = 40
"""Pixels of the scan that the sheet reaches beyond each side, for turning."""
JPEG_GRID = 8
_PAPERS = (
    (0.93, 0.93, 0.94),
    (0.95, 0.94, 0.91),
    (0.90, 0.87, 0.79),
    (0.84, 0.80, 0.71),
    (0.80, 0.72, 0.56),
    (0.76, 0.75, 0.72),
    (0.78, 0.86, 0.92),
    (0.93, 0.80, 0.80),
    (0.80, 0.90, 0.80),
    (0.95, 0.91, 0.62),
)
"""Colours of paper: white, cream, yellowed, newsprint, tinted."""
_PAPER_SHARES = (0.24, 0.18, 0.14, 0.12, 0.08, 0.14, 0.025, 0.025, 0.025, 0.025)


@dataclass(frozen=True, kw_only=True)
class Look:
    """Conditions of one scan. Lengths are in pixels of the scan, tones 0 to 1."""

    has_colour: bool
    paper: tuple[float, float, float]
    grain: float  # standard deviation of the paper's tone
    show_through: float  # share of the reverse side's ink that is seen
    spread: float  # blur of the ink on the paper, standard deviation
    ink_threshold: float  # coverage from which the paper is dark; below 1/2 strokes grow
    raggedness: float  # standard deviation of that threshold along the strokes
    wear: float  # standard deviation of the ink's density
    turn: float  # of the sheet on the glass, degrees
    shade: float  # difference of light between two sides
    gutter: float  # darkening at the spine
    blur: float  # of the lens, standard deviation
    noise: float  # of the sensor, standard deviation
    streaks: float  # of its lines, standard deviation
    sharpening: float  # gain of the detail below about one pixel
    black: float  # tone that becomes 0
    white: float  # tone that becomes 1, as a share of the paper's
    jpeg_quality: int | None


def random_look(rng: np.random.Generator) -> Look:
    """Conditions of an office scan, or, for two pages in five, of an old newspaper in grey with hard levels."""
    if rng.random() < 0.4:
        return _newspaper(rng)
    return Look(
        has_colour=rng.random() < 0.7,
        paper=_PAPERS[rng.choice(len(_PAPERS), p=_PAPER_SHARES)],
        grain=_log_uniform(rng, 0.004, 0.025),
        show_through=float(rng.choice((0, 0.04, 0.10)) * rng.uniform(0.3, 1)),
        spread=rng.uniform(0.15, 0.55),
        ink_threshold=rng.uniform(0.36, 0.56),
        raggedness=rng.uniform(0, 0.12),
        wear=rng.uniform(0, 0.12),
        turn=float(np.clip(rng.normal(0, 0.7), -3, 3)),
        shade=abs(rng.normal(0, 0.05)),
        gutter=float(rng.choice((0, 0, 0, 1)) * rng.uniform(0.1, 0.5)),
        blur=rng.uniform(0.35, 0.95),
        noise=_log_uniform(rng, 0.002, 0.016),
        streaks=abs(rng.normal(0, 0.0015)),
        sharpening=float(rng.choice((0, 1)) * rng.uniform(0.2, 1.6)),
        black=rng.uniform(0, 0.16),
        white=rng.uniform(0.9, 1.12),
        jpeg_quality=int(rng.integers(40, 97)) if rng.random() < 0.65 else None,
    )


def _newspaper(rng: np.random.Generator) -> Look:
    """Conditions of letterpress on thin paper, often from a film; levels leave little but black and white."""
    return Look(
        has_colour=False,
        paper=_PAPERS[3 + rng.integers(3)],
        grain=_log_uniform(rng, 0.012, 0.04),
        show_through=float(rng.choice((0.06, 0.16)) * rng.uniform(0.4, 1)),
        spread=rng.uniform(0.2, 0.5),
        ink_threshold=rng.uniform(0.32, 0.50),
        raggedness=rng.uniform(0.05, 0.16),
        wear=rng.uniform(0.05, 0.2),
        turn=float(np.clip(rng.normal(0, 0.5), -3, 3)),
        shade=abs(rng.normal(0, 0.03)),
        gutter=0.0,
        blur=rng.uniform(0.25, 0.5),
        noise=_log_uniform(rng, 0.006, 0.016),
        streaks=abs(rng.normal(0, 0.001)),
        sharpening=rng.uniform(0.1, 0.9),
        black=rng.uniform(0.06, 0.26),
        white=rng.uniform(0.92, 1.04),
        jpeg_quality=int(rng.integers(70, 97)) if rng.random() < 0.35 else None,
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def capture(front: Sheet, back: Sheet | None, look: Look, rng: np.random.Generator) -> UInt8:
    """Scan a sheet, less MARGIN at each side: uint8 [h, w, 3], or [h, w] without colour. `back` None: nothing shows through."""
    light = _paper(front, back, look, rng)  # float32 [H, W, 3]
    for colour, layer in front.layers.items():
        light *= 1 - _inked(layer, look, rng)[:, :, None] * (1 - np.asarray(colour, np.float32))
    light = _turned(light, look.turn)
    light *= _lighting(*light.shape[:2], look, rng)[:, :, None]
    light = gaussian_filter(light, (look.blur * SCALE, look.blur * SCALE, 0))
    height, width = light.shape[0] // SCALE, light.shape[1] // SCALE
    light = light.reshape(height, SCALE, width, SCALE, 3).mean((1, 3))  # float32 [h + 2 MARGIN, w + 2 MARGIN, 3]
    inset = MARGIN - JPEG_GRID
    light = light[inset : height - inset, inset : width - inset]
    if not look.has_colour:
        light = light @ np.array([[0.3], [0.59], [0.11]], np.float32)  # float32 [..., 1]
    pixels = _levelled(_sensed(light, look, rng), look)
    return _compressed(pixels if look.has_colour else pixels[:, :, 0], look.jpeg_quality, rng)


# ------------------------------------------------------------------------------------------------ ink and paper


def _inked(layer: Image.Image, look: Look, rng: np.random.Generator) -> Float32:
    """Coverage of one ink on the paper, float32 [H, W]: spread, ragged at its edges, worn."""
    printed = np.asarray(layer, np.float32) / 255
    if not printed.any():
        return printed
    spread = gaussian_filter(printed, look.spread * SCALE)
    threshold = look.ink_threshold + look.raggedness * spectral(*printed.shape, 0.7, rng)
    edge = np.clip(0.5 + (spread - threshold) / 0.45, 0, 1)
    density = np.clip(0.96 + look.wear * spectral(*printed.shape, 0.8, rng), 0.2, 1)
    return (edge * density).astype(np.float32)


def _paper(front: Sheet, back: Sheet | None, look: Look, rng: np.random.Generator) -> Float32:
    """The empty sheet, float32 [H, W, 3]: grain, fibres, spots, a fold, and the reverse side shining through."""
    height, width = front.height, front.width
    tone = look.grain * (0.8 * spectral(height, width, 0.35, rng) + 0.5 * spectral(height, width, 1.2, rng))
    tone += 0.3 * look.grain * gaussian_filter1d(rng.standard_normal((height, width), dtype=np.float32), 6, axis=1)  # fibres
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if rng.random() < 0.2:
        tone += _fold(x, y, rng)
    if back is not None and look.show_through:
        seen = sum((np.asarray(layer, np.float32) / 255 for layer in back.layers.values()), np.zeros((height, width), np.float32))
        tone -= look.show_through * gaussian_filter(np.clip(seen, 0, 1)[:, ::-1], rng.uniform(0.5, 1.4) * SCALE)
    light = np.asarray(look.paper, np.float32) * (1 + tone[:, :, None])
    for _ in range(int(rng.choice((0, 0, 0, 3, 12)))):
        radius, strength = rng.uniform(3, 40), rng.uniform(0.03, 0.25)
        distance = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height)) / radius
        spot = (strength * np.exp(-(distance**2))).astype(np.float32)
        light *= 1 - spot[:, :, None] * np.array([0.4, 0.7, 1.0], np.float32)
    return light


def _fold(x: Float32, y: Float32, rng: np.random.Generator) -> Float32:
    """Change of tone by a fold: a light ridge beside a dark line, across or along the sheet."""
    if rng.random() < 0.5:
        x, y = y, x
    distance = (y - rng.uniform(0.1, 0.9) * float(y.max())) / SCALE - rng.normal(0, 0.01) * (x - x.mean()) / SCALE
    ridge, line = np.exp(-(((distance - 2) / 2.5) ** 2)), np.exp(-(((distance + 1) / 1.6) ** 2))
    return (rng.uniform(0.02, 0.08) * ridge - rng.uniform(0.03, 0.15) * line).astype(np.float32)


# ------------------------------------------------------------------------------------------------ the scanner


def _turned(light: Float32, degrees: float) -> Float32:
    """The sheet turned on the glass, by less on large pages so that no corner comes into view."""
    reach = (MARGIN - JPEG_GRID) * SCALE / (max(light.shape) / 2)
    most = math.degrees(math.asin(min(1, reach)))
    turn = float(np.clip(degrees, -most, most))
    planes = [Image.fromarray(light[:, :, channel]) for channel in range(3)]
    return np.stack([np.asarray(plane.rotate(turn, Image.Resampling.BICUBIC)) for plane in planes], 2)


def _lighting(height: int, width: int, look: Look, rng: np.random.Generator) -> Float32:
    """Uneven light, float32 [height, width] about 1: a slope, and the shadow where a bound page leaves the glass."""
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + look.shade * (np.cos(angle) * x + np.sin(angle) * y)
    if look.gutter:
        side = x if rng.random() < 0.5 else -x
        light *= 1 - look.gutter * np.exp(-np.clip(0.47 - side, 0, None) / rng.uniform(0.03, 0.15))
    return light.astype(np.float32)


def _sensed(light: Float32, look: Look, rng: np.random.Generator) -> Float32:
    """Noise of the sensor and of its lines, then the scanner's sharpening; float32 [h, w, channels]."""
    height, width, channels = light.shape
    noise = rng.standard_normal((height, width, channels), dtype=np.float32)
    noise = gaussian_filter(noise, (0.35, 0.35, 0)) / 0.9
    light = light + look.noise * np.sqrt(np.clip(light, 0.02, None)) * noise
    light += look.streaks * rng.standard_normal((1, width, 1), dtype=np.float32)
    for _ in range(int(rng.poisson(1.5))):
        light[int(rng.integers(height)), int(rng.integers(width))] *= rng.uniform(0.2, 0.9)  # dust
    return light + look.sharpening * (light - gaussian_filter(light, (0.9, 0.9, 0)))


def _levelled(light: Float32, look: Look) -> UInt8:
    """Stretch the tones from `black` to the paper's `white` to 0..255."""
    brightest = look.white * max(look.paper) if look.has_colour else look.white * float(np.dot(look.paper, (0.3, 0.59, 0.11)))
    return (np.clip((light - look.black) / (brightest - look.black), 0, 1) * 255 + 0.5).astype(np.uint8)


def _compressed(pixels: UInt8, quality: int | None, rng: np.random.Generator) -> UInt8:
    """Write and read JPEG if there is a quality, then cut off JPEG_GRID pixels in all so that its blocks lie at any place."""
    if quality is not None:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            pixels = np.asarray(image)
    top, left = rng.integers(0, 2 * JPEG_GRID + 1, 2)
    return pixels[top : top + pixels.shape[0] - 2 * JPEG_GRID, left : left + pixels.shape[1] - 2 * JPEG_GRID]
