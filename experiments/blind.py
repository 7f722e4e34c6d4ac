"""A blind comparison with AVIF at equal bytes: python experiments/blind.py ../shared/data/kodak [--bpp B] [--tune T] [-o OUT]

Writes sheets of three rows, each the middle of an original and, in an order drawn by lot, of what AVIF (speed 6) and
`decode --refine gan` make of it at the same bytes, unlabelled; and key.json, to be opened after judging. The sheets are there
twice, the two exchanged in the folder `exchanged`: judges like the middle one better.
"""

import argparse
import json
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.bench.codecs import AvifCodec
from vqcodec.runtime.workers import usable_cores

HEIGHT, WIDTH, ROWS, GAP = 320, 440, 3, 8


def middle(pixels: np.ndarray) -> np.ndarray:
    """The middle of a picture, on a white ground."""
    top, left = ((side - part) // 2 for side, part in zip(pixels.shape[:2], (HEIGHT, WIDTH), strict=True))
    return np.pad(pixels[top : top + HEIGHT, left : left + WIDTH], ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def avif_of_size(pixels: np.ndarray, size: int) -> bytes:
    """The AVIF file of the size next to `size`."""
    codec = AvifCodec()
    low, high = 0, 100
    while high - low > 1:
        centre = (low + high) // 2
        low, high = (centre, high) if len(codec.encode(pixels, centre)) <= size else (low, centre)
    return min((codec.encode(pixels, quality) for quality in (low, high)), key=lambda data: abs(len(data) - size))


def compare(path: Path, bpp: float, tune: str) -> tuple[np.ndarray, dict[str, object]]:
    """A row of a sheet, and what it shows."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    data = api.encode(pixels, bpp=bpp, tune=tune, threads=1)
    other = avif_of_size(pixels, len(data))
    pair = [("gan", api.decode(data, refine="gan", threads=1)), ("avif", AvifCodec().decode(other))]
    random.SystemRandom().shuffle(pair)
    row = np.concatenate([middle(pixels), *(middle(decoded) for _, decoded in pair)], axis=1)
    return row, {"second": pair[0][0], "third": pair[1][0], "bytes": len(data), "avif_bytes": len(other)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--tune", default="psnr")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/blind"))
    given = parser.parse_args()
    (given.output / "exchanged").mkdir(parents=True, exist_ok=True)
    paths = sorted(given.folder.glob("*.png"))
    with ProcessPoolExecutor(usable_cores()) as pool:
        rows, facts = zip(*pool.map(partial(compare, bpp=given.bpp, tune=given.tune), paths), strict=True)
    for first in range(0, len(rows), ROWS):
        sheet = np.concatenate(rows[first : first + ROWS])
        original, second, third = np.split(sheet, 3, axis=1)
        name = f"{first // ROWS + 1}.png"
        Image.fromarray(sheet).save(given.output / name)
        Image.fromarray(np.concatenate([original, third, second], axis=1)).save(given.output / "exchanged" / name)
    (given.output / "key.json").write_text(json.dumps({path.stem: fact for path, fact in zip(paths, facts, strict=True)}, indent=2))


if __name__ == "__main__":
    main()
