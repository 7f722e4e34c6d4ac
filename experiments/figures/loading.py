"""Figures about reading small pictures for training."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from figures.coded import picture_psnr_db
from figures.common import LITE, PHOTO, cpu_s, kodak
from vqcodec import api
from vqcodec.arrays import Pixels, UInt8
from vqcodec.bench.report import markdown_table
from vqcodec.options import Refine, Scale

SIDE = 256
"""Side of the pictures in pixels."""
LEAST_DB = 32.0
SCALES: tuple[Scale, ...] = (1, 2, 4)
Read = Callable[[bytes, Scale], Pixels]
"""Decodes a file at 1/1, 1/2 or 1/4 of its size."""


def loading(data: Path) -> None:
    """Images a second and bytes at 256 pixels, against JPEG and WebP

    Squares of Kodak, scaled to 256 pixels, each in the smallest file of at least 32 dB. Decoding to an array on one core, CPU time,
    best of 3. vqz meets the target by its best decode, so its plain decode has less.
    """
    pictures = [_square(picture) for picture in kodak(data)]
    jpegs = [_smallest(picture, "JPEG", optimize=True) for picture in pictures]
    webps = [_smallest(picture, "WEBP", method=4) for picture in pictures]
    rows = [_row("JPEG (Pillow, 4:2:0)", pictures, jpegs, _read_jpeg)]
    rows.append(_row("WebP (Pillow, method 4)", pictures, webps, _read_webp, SCALES[:1]))
    for model in (LITE, PHOTO):
        files = [api.encode(picture, psnr=LEAST_DB, model=model, threads=1) for picture in pictures]
        rows.append(_row(f"vqz, {model}, plain", pictures, files, _reader("none")))
        if model == PHOTO:
            rows.append(_row(f"vqz, {model}, best", pictures, files, _reader("best"), SCALES[:1]))
    print(markdown_table(("format", "bytes", "PSNR", "images/s", "half size", "quarter size"), rows))


def _square(picture: UInt8) -> UInt8:
    """The middle of a picture, scaled to SIDE x SIDE."""
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS, (left, top, left + side, top + side)))


def _row(
    name: str, pictures: Sequence[UInt8], files: Sequence[bytes], read: Read, scales: Sequence[Scale] = SCALES
) -> tuple[str, ...]:
    """The cells of a format's row. `scales` are those that the format decodes at."""
    psnr = float(np.mean([picture_psnr_db(picture, read(file, 1)) for picture, file in zip(pictures, files, strict=True)]))
    speeds = [f"{len(files) / _seconds(files, read, scale):,.0f}" if scale in scales else "-" for scale in SCALES]
    return (name, f"{np.mean([len(file) for file in files]):,.0f}", f"{psnr:.1f} dB", *speeds)


def _seconds(files: Sequence[bytes], read: Read, scale: Scale) -> float:
    return min(cpu_s(lambda: [read(file, scale) for file in files]) for _ in range(3))


def _smallest(picture: UInt8, file_format: str, **options: object) -> bytes:
    """The file of the lowest quality, 1 to 100, that reaches LEAST_DB."""
    for quality in range(1, 101):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, file_format, quality=quality, **options)
        with Image.open(stream) as image:
            if picture_psnr_db(picture, np.asarray(image)) >= LEAST_DB:
                break
    return stream.getvalue()


def _read_jpeg(file: bytes, scale: Scale) -> Pixels:
    with Image.open(io.BytesIO(file)) as image:
        image.draft("RGB", (SIDE // scale, SIDE // scale))
        return np.asarray(image)


def _read_webp(file: bytes, scale: Scale) -> Pixels:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image)


def _reader(refine: Refine) -> Read:
    def read(file: bytes, scale: Scale) -> Pixels:
        return api.open_vqz(file).read(scale=scale, refine=refine, threads=1)

    return read
