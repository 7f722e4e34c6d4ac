"""The golden files: which crops of the samples they code, and digests of what they decode to."""

import hashlib
import io
from typing import Any

import numpy as np
from PIL import Image

from helpers.paths import REPOSITORY
from vqcodec import api
from vqcodec.codec import groups
from vqcodec.format import container
from vqcodec.weights.exact import ExactModel

CROPS = {
    "colour-q20": ("still_life", (300, 200, 429, 290), 20, "psnr"),
    "colour-q40": ("still_life", (300, 200, 429, 290), 40, "psnr"),
    "colour-q95": ("landscape", (200, 150, 261, 203), 95, "psnr"),
    "grey-q60": ("scan", (100, 100, 200, 173), 60, "psnr"),
    "masked-q30": ("still_life", (300, 200, 429, 290), 30, "ssim"),
    "pixel": ("still_life", (0, 0, 1, 1), 60, "psnr"),
}
LITE_CROPS: dict[str, tuple[str, tuple[int, int, int, int], str, dict[str, Any]]] = {
    "alpha-q40": ("still_life", (330, 230, 390, 271), "alpha", {"quality": 40}),
    "alpha-grey-tiles-q50": ("page", (40, 40, 140, 110), "grey and alpha", {"quality": 50, "tile": 64}),
    "grey10-q70": ("still_life", (300, 200, 380, 253), "10 bits", {"quality": 70}),
    "grey12-tiles-q50": ("landscape", (540, 140, 690, 310), "12 bits", {"quality": 50, "tile": 64}),
    "grey16-q90": ("landscape", (300, 330, 348, 362), "16 bits", {"quality": 90}),
    "masked-tiles-q40": ("still_life", (290, 200, 460, 350), "colour", {"quality": 40, "tile": 64, "tune": "ssim"}),
    "tiles-q50": ("page", (300, 200, 470, 350), "colour", {"quality": 50, "tile": 64}),
}
"""Crops coded with photo-lite only: sample, crop, kind of pixels (`pixels_of`), options of the encoder."""
TOKEN_CROPS = {
    "grey": ("scan", (100, 100, 149, 140), "mnist-token"),
    "colour": ("still_life", (300, 200, 429, 290), "photo-preview"),
}


def pixels_of(picture: str, crop: tuple[int, int, int, int], kind: str) -> np.ndarray:
    """A crop of a sample: colour, with an alpha plane, or deep grey that is overexposed, so that white touches seams."""
    with Image.open(REPOSITORY / "samples" / f"{picture}.png") as image:
        pixels = np.asarray(image.crop(crop))
    if kind.endswith("bits"):
        depth = int(kind.split()[0])
        return np.minimum(pixels.astype(int) @ (100, 200, 40), 65535).astype(np.uint16) >> (16 - depth)
    if kind.endswith("alpha"):
        y, x = np.indices(pixels.shape[:2])
        transparency = np.clip(4 * np.minimum(x, y), 0, 255).astype(np.uint8)
        return np.dstack([pixels[:, :, 1] if kind.startswith("grey") else pixels, transparency])
    return pixels


def pixels_digest(data: bytes, threads: int = 1) -> str:
    """SHA-256 of the exact pixels of a file, row by row."""
    pixels = api.decode(data, refine="none", threads=threads)
    return hashlib.sha256(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest()


def latents_digest(data: bytes, model: ExactModel) -> str:
    """SHA-256 of the latents of all tile groups, int16, channel by channel."""
    file = container.File(io.BytesIO(data))
    found = hashlib.sha256()
    for number, group in enumerate(file.header.groups):
        found.update(groups.decode_group(file.header, file.indices(number, file.header.layers), group.shape, model).tobytes())
    return found.hexdigest()


def indices_digest(data: bytes) -> str:
    """SHA-256 of a token file's indices, uint32, row by row."""
    return hashlib.sha256(api.indices(data)["index"].astype("<u4").tobytes()).hexdigest()
