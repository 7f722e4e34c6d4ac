"""Writes the held-out photographs as PNG: the second set of pictures, beside Kodak, on which codecs are compared.

Command: `python experiments/held_out.py ../shared/data/photos out/held-out`, then `vqcodec bench out/held-out`

No model learned from these pictures, and training splits its corpus in the same way: a tenth of each set, by a hash of the names.
Pictures with a side below SIDE are left out. The photographs of photos-*.tar were reduced to at most 768 pixels a side; those of
native.tar are crops at the camera's resolution, with its grain.
"""

import argparse
from pathlib import Path, PurePath
from typing import Final

from PIL import Image

from vqcodec.train.data import TrainingImage, load_corpus, split

SETS: Final = ("photos-", "native")
"""Beginnings of the names of the archives, one for each set."""
SIDE: Final = 432


def held_out(folder: Path) -> list[TrainingImage]:
    """The held-out tenth of each set, without small pictures."""
    corpus = load_corpus(folder, lambda *_: None)
    images = sorted(corpus.train + corpus.held_out, key=lambda image: image.name)
    chosen = [image for name in SETS for image in split([one for one in images if one.name.startswith(name)]).held_out]
    return [image for image in chosen if min(image.pixels.shape[:2]) >= SIDE]


def main() -> None:
    """Write the pictures of the folder of archives as NAME.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for image in held_out(arguments.photos):
        name = PurePath(image.name)
        Image.fromarray(image.pixels).save(arguments.output / f"{name.parts[0].removesuffix('.tar')}-{name.stem}.png")


if __name__ == "__main__":
    main()
