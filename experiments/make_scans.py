"""Writes pages as scanners see them, for training: text, tables, pictures, stamps and handwriting on paper.

Command: `python experiments/make_scans.py out/scans --pages 400 --size 768x512 --seed 0`

The pages are nonsense in several scripts, rendered by this project, so models trained on them can be shipped. Trained together
with photographs, they teach text to the networks and codebooks: put the folder beside the photographs, in one parent folder, and
give that to `vqcodec train`. Two cores write about 60 pages of 0.4 megapixels a minute.

Page number n depends on the seed, on n and on the fonts, not on the number of pages. Fonts come from `--fonts` folders, then from
the system and matplotlib; scripts without a font are left out, with a note. `scanned/faces.py` lists packages with all of them.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from scanned.faces import KINDS, Faces, find_faces
from scanned.page import make_page

from vqcodec.runtime.workers import usable_cores


def write_page(index: int, *, output: Path, height: int, width: int, faces: Faces, seed: int) -> None:
    """Write one page as PNG."""
    pixels = make_page(height, width, faces, np.random.default_rng([seed, index]))
    Image.fromarray(pixels).save(output / f"{index:05}.png")


def _size(value: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT."""
    try:
        width, height = map(int, value.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"size {value!r}: write WIDTHxHEIGHT, such as 768x512") from None
    if min(width, height) < 64 or max(width, height) > 8192:
        raise argparse.ArgumentTypeError(f"size {value!r}: choose sides from 64 to 8192 pixels")
    return width, height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the pages; made if missing, files of the same names are replaced")
    parser.add_argument("--pages", type=int, default=400, help="number of pages (default 400)")
    parser.add_argument("--size", type=_size, default=(768, 512), metavar="WIDTHxHEIGHT", help="pixels of a page (default 768x512)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other pages (default 0)")
    parser.add_argument("--fonts", type=Path, action="append", default=[], metavar="FOLDER", help="more fonts; repeatable")
    arguments = parser.parse_args()
    faces = find_faces(arguments.fonts)
    if missing := [name for name in KINDS if name not in faces]:
        print(f"no font, so no pages: {', '.join(missing)}; scanned/faces.py lists packages", flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    width, height = arguments.size
    write = partial(write_page, output=arguments.output, height=height, width=width, faces=faces, seed=arguments.seed)
    with ProcessPoolExecutor(usable_cores()) as pool:
        list(pool.map(write, range(arguments.pages)))
    print(f"wrote {arguments.pages} pages of {width} x {height} pixels into {arguments.output}")


if __name__ == "__main__":
    main()
