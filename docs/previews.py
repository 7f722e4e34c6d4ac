"""Previews of 256 pixels on the long side, in under 500 bytes: the pictures that a model of them learns from, and what it makes.

    python docs/previews.py corpus ../shared/data/photos out/previews
    python docs/previews.py table ../shared/data/kodak ../shared/data/perceptual -m photo-preview

`corpus` scales photos down into a folder to train on. `table` writes docs/previews.md, the bytes and the LPIPS of previews by a
token model, by WebP (method 6) and by AVIF (speed 6) at no more bytes, and docs/previews.png, some of them side by side.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec.train.data import load_corpus

SIDE = 256


def scaled(pixels: np.ndarray) -> np.ndarray:
    """A picture whose longer side is SIDE pixels: Lanczos."""
    height, width = pixels.shape[:2]
    size = tuple(max(1, round(side * SIDE / max(height, width))) for side in (width, height))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def make_corpus(photos: Path, output: Path) -> None:
    """Write every photo that is large enough, scaled, as PNG."""
    output.mkdir(parents=True)
    corpus = load_corpus(photos, lambda what, done, total: None)
    for image in corpus.train + corpus.held_out:
        if max(image.pixels.shape) >= SIDE and image.pixels.shape[2] == 3:
            name = image.name.replace("/", "-").rsplit(".", 1)[0]
            Image.fromarray(scaled(image.pixels)).save(output / f"{name}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    corpus = commands.add_parser("corpus")
    corpus.add_argument("photos", type=Path)
    corpus.add_argument("output", type=Path)
    given = parser.parse_args()
    make_corpus(given.photos, given.output)


if __name__ == "__main__":
    main()
