"""Counts of files that miss a bound for every picture: the size of PNG, the error of the plain decode."""

import random
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from figures.coded import RefusedError, lossless_vqz, vqz
from figures.coded import png as png_of
from figures.common import SAMPLES, in_processes, pngs
from vqcodec import api
from vqcodec.errors import VqcodecError
from vqcodec.io.image_reader import read_image

SETTINGS: tuple[dict[str, Any], ...] = ({}, {"effort": 1}, {"quality": 30}, {"quality": 90}, {"tune": "psnr"})
TOLERANCE_DB = 0.05
ODD_PICTURES = 200
"""Odd pictures of `best`, drawn by chance."""
LARGEST_PIXELS = 4_000_000
"""Pixels above which `png` leaves an odd picture out."""


def graphics_and_samples(data: Path) -> list[Path]:
    return [*sorted((data / "graphics").rglob("*.png")), *pngs(SAMPLES)]


def odd_files(data: Path) -> list[Path]:
    return sorted(path for path in (data / "odd").rglob("*") if path.is_file())


# ------------------------------------------------------------------------------------------------ PNG


class Files(NamedTuple):
    """Bytes of a picture's files."""

    path: Path
    default: int
    lossless: int
    png: int


def png(data: Path) -> None:
    """Pictures whose file is larger than PNG (Pillow, optimised), at default settings or lossless."""
    paths = [*graphics_and_samples(data), *pngs(data / "kodak"), *odd_files(data)]
    count = larger = 0
    for files in filter(None, in_processes(_files, list(distinct(paths)))):
        count += 1
        if max(files.default, files.lossless) > files.png:
            larger += 1
            name = "/".join(files.path.parts[-2:])
            print(f"  {name}: {files.default:,} bytes, lossless {files.lossless:,}, PNG {files.png:,}", flush=True)
    print(f"{larger} of {count} different pictures (bar 0)")


def distinct(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that can be read and have at most LARGEST_PIXELS pixels; one of each picture."""
    seen = set()
    for path in paths:
        try:
            pixels = read_image(path, max_pixels=LARGEST_PIXELS).pixels
        except VqcodecError:
            continue
        picture = pixels.shape, pixels.dtype, hash(pixels.tobytes())
        if picture not in seen:
            seen.add(picture)
            yield path


def _files(path: Path) -> Files | None:
    """The files of a picture; None if Pillow writes no PNG of it: colour of 16 bits."""
    pixels = read_image(path).pixels
    try:
        size = png_of(pixels).size_bytes
    except RefusedError:
        return None
    return Files(path, vqz(pixels).size_bytes, lossless_vqz(pixels).size_bytes, size)


# ------------------------------------------------------------------------------------------------ the best decode


class Decodes(NamedTuple):
    """PSNR in dB of "best" less that of the plain decode, and whether the file says that "best" is plain."""

    name: str
    gain_db: float
    flagged: bool


def best(data: Path) -> None:
    """Files whose decode by default ("best") is more than 0.05 dB below the plain decode, at several settings."""
    chosen = [*graphics_and_samples(data), *odd_pictures(data)]
    worse = 0
    for settings in SETTINGS:
        found = list(in_processes(_decodes, chosen, repeat(settings)))
        bad = [one for one in found if one.gain_db < -TOLERANCE_DB]
        worse += len(bad)
        flagged, least = sum(one.flagged for one in found), min(found, key=lambda one: one.gain_db)
        named = ", ".join(f"{key} {value}" for key, value in settings.items()) or "default settings"
        print(f"{named}: {len(bad)} of {len(found)}, least {least.gain_db:+.3f} dB ({least.name}), {flagged} plain", flush=True)
        for one in bad:
            print(f"  {one.name} {one.gain_db:+.3f} dB")
    print(f"{worse} files (bar 0)")


def odd_pictures(data: Path) -> Iterator[Path]:
    """ODD_PICTURES of the odd pictures that can be read."""
    files = odd_files(data)
    random.Random(0).shuffle(files)
    yield from islice(filter(_can_be_read, files), ODD_PICTURES)


def _can_be_read(path: Path) -> bool:
    try:
        read_image(path)
    except VqcodecError:
        return False
    return True


def _decodes(path: Path, settings: dict[str, Any]) -> Decodes:
    """The two decodes of a picture coded with these settings."""
    pixels = read_image(path).pixels
    data = api.encode(pixels, threads=1, **settings)
    plain, best = (max(1e-9, squared_error(api.decode(data, refine=refine, threads=1), pixels)) for refine in ("none", "best"))
    return Decodes(path.name, 10 * float(np.log10(plain / best)), bool(api.info(data).get("best_is_plain")))


def squared_error(decoded: NDArray[Any], pixels: NDArray[Any]) -> float:
    """The mean over colour samples of visible pixels; 0 if there are none."""
    error = np.atleast_3d(np.subtract(decoded, pixels, dtype=np.int64))
    if error.shape[2] in (2, 4):
        error = error[pixels[:, :, -1] > 0, :-1]
    return float(np.square(error).mean()) if error.size else 0.0
