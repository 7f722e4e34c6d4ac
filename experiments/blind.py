"""Makes the sheets for a blind comparison with AVIF at equal bytes, and counts the judges' choices, for docs/blind.md.

Commands: `python experiments/blind.py sheets ../shared/data/kodak -o out/blind/kodak-0.15 --bpp 0.15`
          `python experiments/blind.py count out/blind/kodak-0.15`

Each row of a sheet shows the middle of an original and, in random order and without labels, our decode and that of AVIF (speed 6).
The folder `exchanged` has the same sheets with the two decodes exchanged, since judges prefer the one in the middle. key.json has
the order; open it after judging. INSTRUCTIONS is what the judges are told. A judge's choices are a text file in the folder, or in
`exchanged`: a line for each picture, "2" or "3" for the column that looks better, or "=" where neither does.
"""

import argparse
import json
import random
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import AvifCodec, bracket
from vqcodec.options import Refine
from vqcodec.runtime.workers import usable_cores

INSTRUCTIONS = """\
Each row shows one picture three times: left the original, then two compressed versions, made by two codecs in random order. For
every row of every sheet, from the top of 1.png on, choose the version that a person would find better and more like the original,
seeing them side by side at normal size: natural texture, clean edges and flat areas, right colours, no blocks, halos, blotches or
smears. Look at the whole picture. Write a line for each row: 2 for the middle column, 3 for the right one, = only if you see no
difference at all. Then, behind a space, at most ten words on why.
"""
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


def compare(path: Path, bpp: float, refine: Refine) -> Row:
    """Encode and decode one picture both ways."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    data = api.encode(pixels, bpp=bpp, threads=1)
    avif = avif_of_size(pixels, len(data))
    decodes = [("ours", api.decode(data, refine=refine, threads=1)), ("avif", AvifCodec().decode(avif))]
    random.SystemRandom().shuffle(decodes)
    (second, second_pixels), (third, third_pixels) = decodes
    cells = np.concatenate([middle(picture) for picture in (pixels, second_pixels, third_pixels)], axis=1)
    return Row(cells, {"second": second, "third": third, "bytes": len(data), "avif_bytes": len(avif)})


def make_sheets(folder: Path, output: Path, *, bpp: float, refine: Refine, count: int) -> None:
    """Write the sheets of `count` pictures, evenly spread over those of the folder, and the key."""
    (output / "exchanged").mkdir(parents=True, exist_ok=True)
    paths = sorted(folder.glob("*.png"))
    paths = [paths[number * len(paths) // count] for number in range(min(count, len(paths)))]
    with ProcessPoolExecutor(usable_cores()) as pool:
        rows = list(pool.map(partial(compare, bpp=bpp, refine=refine), paths))
    for first in range(0, len(rows), ROWS):
        sheet = np.concatenate([row.pixels for row in rows[first : first + ROWS]])
        original, second, third = np.split(sheet, 3, axis=1)
        name = f"{first // ROWS + 1}.png"
        Image.fromarray(sheet).save(output / name)
        Image.fromarray(np.concatenate([original, third, second], axis=1)).save(output / "exchanged" / name)
    for place in (output, output / "exchanged"):
        (place / "INSTRUCTIONS").write_text(INSTRUCTIONS)
    key = {path.stem: row.key for path, row in zip(paths, rows, strict=True)}
    (output / "key.json").write_text(json.dumps(key, indent=2))


def choices(path: Path, columns: Mapping[str, str], key: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Each picture's choice "ours", "avif" or "=" by one judge; `columns` maps a judge's 2 and 3 to entries of the key."""
    lines = [line.split()[0].rstrip(":.,") for line in path.read_text().splitlines() if line.strip()]
    if len(lines) != len(key) or not set(lines) <= {"2", "3", "="}:
        raise SystemExit(f"{path}: write {len(key)} lines that begin with 2, 3 or =")
    return {name: "=" if line == "=" else key[name][columns[line]] for name, line in zip(key, lines, strict=True)}


def count_choices(output: Path) -> None:
    """Print how often each judge preferred ours, and for each picture how many of them did; = counts as a half."""
    key = json.loads((output / "key.json").read_text())
    judged = {path.relative_to(output).with_suffix("").as_posix(): choices(path, IN_ORDER, key) for path in output.glob("*.txt")}
    for path in (output / "exchanged").glob("*.txt"):
        judged[path.relative_to(output).with_suffix("").as_posix()] = choices(path, EXCHANGED, key)
    ours = {judge: sum(_VALUES[choice] for choice in found.values()) for judge, found in sorted(judged.items())}
    ratio = np.mean([row["avif_bytes"] / row["bytes"] for row in key.values()])
    print(f"{output.name}: {len(key)} pictures, AVIF's files {100 * (ratio - 1):+.1f} % of ours on average")
    print("preferences for ours:", ", ".join(f"{judge} {number:g}" for judge, number in ours.items()))
    print(f"mean {np.mean(list(ours.values())):.1f} of {len(key)}")
    for name in key:
        print(f"  {name:14}{sum(_VALUES[found[name]] for found in judged.values()):g} of {len(judged)}")


IN_ORDER, EXCHANGED = {"2": "second", "3": "third"}, {"2": "third", "3": "second"}
"""Entries of the key by the column on a sheet, and on one of `exchanged`."""
_VALUES = {"ours": 1.0, "=": 0.5, "avif": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sheets = commands.add_parser("sheets", help="make the sheets")
    sheets.add_argument("folder", type=Path, help="folder of PNG pictures")
    sheets.add_argument("-o", "--output", type=Path, default=Path("out/blind"), help="output folder (default out/blind)")
    sheets.add_argument("--bpp", type=float, default=0.15, help="bits per pixel (default 0.15)")
    sheets.add_argument("--refine", default="best", choices=("best", "gan"), help="our decoder (default best)")
    sheets.add_argument("--count", type=int, default=24, help="number of pictures (default 24)")
    commands.add_parser("count", help="count the choices").add_argument("output", type=Path, help="folder of the sheets")
    arguments = parser.parse_args()
    if arguments.command == "count":
        count_choices(arguments.output)
    else:
        make_sheets(arguments.folder, arguments.output, bpp=arguments.bpp, refine=arguments.refine, count=arguments.count)


if __name__ == "__main__":
    main()
