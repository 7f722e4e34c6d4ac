"""The golden files: which crops of the samples they code, and digests of what they decode to."""

import hashlib
import io
from typing import Any

import numpy as np
from PIL import Image

from helpers.layers import encode_blocks
from helpers.paths import REPOSITORY
from vqcodec import api
from vqcodec.codec import groups, rate_control
from vqcodec.codec.picture import picture_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.options import EncodeOptions
from vqcodec.weights import registry
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
    "colour12-q60": ("landscape", (540, 140, 601, 183), "12 bits and colour", {"quality": 60}),
    "colour16-tiles-q80": ("still_life", (300, 200, 375, 269), "16 bits and colour", {"quality": 80, "tile": 64}),
    "alpha16-q70": ("landscape", (300, 330, 350, 363), "16 bits and colour and alpha", {"quality": 70}),
    "alpha10-grey-q50": ("page", (40, 40, 90, 73), "10 bits and alpha", {"quality": 50}),
    "graphic-tiles-q50": ("mixed_page", (20, 150, 120, 250), "colour", {"quality": 50, "tile": 64, "graphic": 0.4}),
    "graphic-alpha-grey16-q70": ("still_life", (300, 200, 361, 243), "16 bits and alpha", {"quality": 70, "graphic": 0.3}),
    "graphic-masked-q30": ("mixed_page", (20, 150, 90, 210), "colour", {"quality": 30, "tune": "ssim", "graphic": 0.5}),
}
"""Crops coded with photo-lite only: sample, crop, kind of pixels (`pixels_of`), options of the encoder (`encoded`)."""
TOKEN_CROPS = {
    "grey": ("scan", (100, 100, 149, 140), "mnist-token"),
    "colour": ("still_life", (300, 200, 429, 290), "photo-preview"),
}


def pixels_of(picture: str, crop: tuple[int, int, int, int], kind: str) -> np.ndarray:
    """A crop of a sample: colour, with an alpha plane, or deep and overexposed, so that white touches seams."""
    with Image.open(REPOSITORY / "samples" / f"{picture}.png") as image:
        pixels = np.asarray(image.crop(crop))
    if "bits" in kind:
        weights = np.diag((240, 270, 300)) if "colour" in kind else (100, 200, 40)
        shift = 16 - int(kind.split()[0])
        deep = np.minimum(pixels.astype(int) @ weights, 65535).astype(np.uint16) >> shift
        if not kind.endswith("alpha"):
            return deep
        y, x = np.indices(pixels.shape[:2])
        return np.dstack([deep, np.minimum(2000 * np.minimum(x, y), 65535).astype(np.uint16) >> shift])
    if kind.endswith("alpha"):
        y, x = np.indices(pixels.shape[:2])
        transparency = np.clip(4 * np.minimum(x, y), 0, 255).astype(np.uint8)
        return np.dstack([pixels[:, :, 1] if kind.startswith("grey") else pixels, transparency])
    return pixels


def encoded(pixels: np.ndarray, model: str, *, graphic: float = 0.0, **choices: Any) -> bytes:
    """A file with layers; a share of its cells is graphic."""
    if not graphic:
        return encode_blocks(pixels, model=model, **choices)
    height, width = pixels.shape[:2]
    cells = np.random.default_rng(0).random((-(-height // 8), -(-width // 8))) < graphic
    options = EncodeOptions(**choices)
    encoder = Encoder(picture_of(pixels, options, Metadata()), registry.find(model), options, cells)
    return rate_control.file_for(encoder, options)


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
