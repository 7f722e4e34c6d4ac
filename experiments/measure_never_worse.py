"""Counts the files whose decode by default ("best") is further from the picture than the plain decode, by more than 0.05 dB.

Command: `python experiments/measure_never_worse.py ../shared/data`. Takes about an hour: graphics, samples and 200 of the odd
pictures, at several settings.
"""

import argparse
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec import api
from vqcodec.errors import VqcodecError
from vqcodec.io.image_reader import read_image
from vqcodec.runtime.workers import usable_cores

SETTINGS: tuple[dict[str, Any], ...] = ({}, {"effort": 1}, {"quality": 30}, {"quality": 90}, {"tune": "ssim"})
TOLERANCE_DB = 0.05
ODD_PICTURES = 200


class Found(NamedTuple):
    """PSNR in dB of "best" less that of the plain decode, and whether the file says that "best" is plain."""

    name: str
    gain_db: float
    flagged: bool


def pictures(data: Path) -> Iterator[Path]:
    """Graphics, samples, and ODD_PICTURES of the odd pictures that can be read."""
    yield from sorted((data / "graphics").rglob("*.png"))
    yield from sorted((Path(__file__).parents[1] / "samples").glob("*.png"))
    odd = sorted(path for path in (data / "odd").rglob("*") if path.is_file())
    random.Random(0).shuffle(odd)
    count = 0
    for path in odd:
        try:
            read_image(path)
        except VqcodecError:
            continue
        yield path
        count += 1
        if count == ODD_PICTURES:
            return


def squared_error(decoded: NDArray[Any], pixels: NDArray[Any]) -> float:
    """The mean over colour samples of visible pixels; 0 if there are none."""
    error = np.atleast_3d(np.subtract(decoded, pixels, dtype=np.int64))
    if error.shape[2] in (2, 4):
        error = error[pixels[:, :, -1] > 0, :-1]
    return float(np.square(error).mean()) if error.size else 0.0


def measure(path: Path, settings: dict[str, Any]) -> Found:
    """The two decodes of a picture coded with these settings."""
    pixels = read_image(path).pixels
    data = api.encode(pixels, threads=1, **settings)
    plain, best = (max(1e-9, squared_error(api.decode(data, refine=refine, threads=1), pixels)) for refine in ("none", "best"))
    return Found(path.name, 10 * float(np.log10(plain / best)), bool(api.info(data).get("best_is_plain")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with graphics and odd")
    chosen = list(pictures(parser.parse_args().data))
    with ProcessPoolExecutor(usable_cores()) as pool:
        worse = 0
        for settings in SETTINGS:
            found = list(pool.map(measure, chosen, repeat(settings)))
            bad = [one for one in found if one.gain_db < -TOLERANCE_DB]
            worse += len(bad)
            flagged, least = sum(one.flagged for one in found), min(found, key=lambda one: one.gain_db)
            named = ", ".join(f"{key} {value}" for key, value in settings.items()) or "default settings"
            print(
                f"{named}: {len(bad)} of {len(found)} worse, least {least.gain_db:+.3f} dB ({least.name}), {flagged} plain",
                flush=True,
            )
            for one in bad:
                print(f"    {one.name} {one.gain_db:+.3f} dB")
    print(f"files whose best decode is more than {TOLERANCE_DB} dB below the plain decode: {worse}")


if __name__ == "__main__":
    main()
