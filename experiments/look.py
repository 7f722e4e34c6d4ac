"""Makes sheets of details at equal bytes to look at: the original, AVIF, and ours tuned for squared error and for eyes.

Command: `python experiments/look.py ../shared/data/kodak out/held-out`, after `make bench-held-out` or held_out.py

A sheet for each rate, in out/look: skies, hair, skin, foliage, fabric, lettering, saturated edges, lines; enlarged twice.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from blind import avif_of_size
from PIL import Image

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import AvifCodec
from vqcodec.runtime.workers import usable_cores

RATES_BPP = (0.15, 0.3, 0.8)
HEIGHT, WIDTH, GAP = 120, 200, 6


class Detail(NamedTuple):
    """A part of a picture, by its top left corner."""

    picture: str
    top: int
    left: int


DETAILS = (
    Detail("kodim21", 60, 330),  # sky behind a lighthouse
    Detail("photos-3-573", 300, 200),  # clouds
    Detail("kodim04", 200, 150),  # hair
    Detail("photos-2-396", 200, 250),  # face
    Detail("kodim13", 330, 60),  # water
    Detail("photos-2-273", 150, 300),  # foliage
    Detail("kodim15", 330, 330),  # knitwear
    Detail("photos-3-432", 60, 250),  # denim
    Detail("kodim08", 330, 320),  # a window in the shade
    Detail("photos-1-098", 0, 0),  # lettering
    Detail("kodim23", 120, 350),  # saturated edges
    Detail("photos-1-141", 150, 90),  # saturated edges
    Detail("photos-2-308", 250, 300),  # lines in smooth surroundings
)


def enlarged(pixels: UInt8, detail: Detail) -> UInt8:
    """A detail twice as large with a white gap behind it, uint8 [2 * HEIGHT + GAP, 2 * WIDTH + GAP, 3]."""
    part = pixels[detail.top : detail.top + HEIGHT, detail.left : detail.left + WIDTH]
    part = np.pad(part, ((0, HEIGHT - part.shape[0]), (0, WIDTH - part.shape[1]), (0, 0)))
    return np.pad(part.repeat(2, axis=0).repeat(2, axis=1), ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def row(detail: Detail, bpp: float, folders: list[Path]) -> UInt8:
    """The detail of the original, AVIF, ours by `--tune psnr` and by `--tune ssim`, at equal bytes."""
    path = next(path for folder in folders if (path := folder / f"{detail.picture}.png").exists())
    pixels = np.asarray(Image.open(path).convert("RGB"))
    files = [api.encode(pixels, bpp=bpp, tune=tune, threads=1) for tune in ("psnr", "ssim")]
    avif = AvifCodec().decode(avif_of_size(pixels, len(files[1])))
    shown = pixels, avif, *(api.decode(file, threads=1) for file in files)
    return np.concatenate([enlarged(picture, detail) for picture in shown], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of the pictures")
    arguments = parser.parse_args()
    output = Path("out/look")
    output.mkdir(parents=True, exist_ok=True)
    for bpp in RATES_BPP:
        with ProcessPoolExecutor(usable_cores()) as pool:
            rows = list(pool.map(partial(row, bpp=bpp, folders=arguments.folders), DETAILS))
        Image.fromarray(np.concatenate(rows)).save(output / f"{bpp:g}.png")


if __name__ == "__main__":
    main()
