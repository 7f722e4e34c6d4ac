"""Makes the sheets for a blind comparison of `decode --refine gan` with AVIF at equal bytes, for docs/blind.md.

Command: `python experiments/blind.py ../shared/data/kodak`

Each row of a sheet shows the middle of an original and, in random order and without labels, the decodes by AVIF (speed 6) and by
the refiner. The folder `exchanged` has the same sheets with the two decodes exchanged, since judges prefer the one in the middle.
key.json has the order; open it after judging.
"""

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import AvifCodec, bracket
from vqcodec.options import TUNES
from vqcodec.runtime.workers import usable_cores

HEIGHT, WIDTH, GAP = 320, 440, 8
"""Size of a cell and the gap behind it, in pixels."""
ROWS = 3
"""Pictures on a sheet."""


@dataclass(frozen=True)
class Row:
    """One picture: the original and the two decodes side by side, and the entry for key.json."""

    pixels: UInt8  # [HEIGHT + GAP, 3 * (WIDTH + GAP), 3]
    key: dict[str, str | int]


def middle(pixels: UInt8) -> UInt8:
    """The middle of a picture with a white gap, uint8 [HEIGHT + GAP, WIDTH + GAP, 3]."""
    top, left = ((side - part) // 2 for side, part in zip(pixels.shape[:2], (HEIGHT, WIDTH), strict=True))
    return np.pad(pixels[top : top + HEIGHT, left : left + WIDTH], ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def avif_of_size(pixels: UInt8, size_bytes: int) -> bytes:
    """The AVIF file whose size is nearest to `size_bytes`."""
    files = bracket(AvifCodec(), pixels, size_bytes)
    return min(files.below, files.above, key=lambda data: abs(len(data) - size_bytes))


def compare(path: Path, bpp: float, tune: str) -> Row:
    """Encode and decode one picture both ways."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    data = api.encode(pixels, bpp=bpp, tune=tune, threads=1)
    avif = avif_of_size(pixels, len(data))
    decodes = [("gan", api.decode(data, refine="gan", threads=1)), ("avif", AvifCodec().decode(avif))]
    random.SystemRandom().shuffle(decodes)
    (second, second_pixels), (third, third_pixels) = decodes
    cells = np.concatenate([middle(picture) for picture in (pixels, second_pixels, third_pixels)], axis=1)
    return Row(cells, {"second": second, "third": third, "bytes": len(data), "avif_bytes": len(avif)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of PNG pictures")
    parser.add_argument("--bpp", type=float, default=0.15, help="bits per pixel (default 0.15)")
    parser.add_argument("--tune", default="ssim", choices=TUNES, help="metric of the encoder (default ssim)")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/blind"), help="output folder (default out/blind)")
    arguments = parser.parse_args()
    output: Path = arguments.output
    (output / "exchanged").mkdir(parents=True, exist_ok=True)
    paths = sorted(arguments.folder.glob("*.png"))
    with ProcessPoolExecutor(usable_cores()) as pool:
        rows = list(pool.map(partial(compare, bpp=arguments.bpp, tune=arguments.tune), paths))
    for first in range(0, len(rows), ROWS):
        sheet = np.concatenate([row.pixels for row in rows[first : first + ROWS]])
        original, second, third = np.split(sheet, 3, axis=1)
        name = f"{first // ROWS + 1}.png"
        Image.fromarray(sheet).save(output / name)
        Image.fromarray(np.concatenate([original, third, second], axis=1)).save(output / "exchanged" / name)
    key = {path.stem: row.key for path, row in zip(paths, rows, strict=True)}
    (output / "key.json").write_text(json.dumps(key, indent=2))


if __name__ == "__main__":
    main()
