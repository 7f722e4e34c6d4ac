"""Figures about lossless files."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from figures.coded import lossless_vqz, lossless_webp
from figures.common import cpu_s, in_processes, kodak, largest, megapixels, pngs, tiled
from vqcodec import api
from vqcodec.arrays import Pixels, UInt8
from vqcodec.io.image_reader import read_image
from vqcodec.options import DEFAULT_EFFORT


class PictureSet(NamedTuple):
    """Pictures of one kind, and bar and goal of each effort they are coded with."""

    name: str
    folder: str  # within the data folder
    aims: dict[int, str]


SETS = (
    PictureSet("screens", "graphics/screens", {DEFAULT_EFFORT: "bar 1.05, goal 0.95", 9: "bar 1, goal 0.9"}),
    PictureSet("sprites", "graphics/sprites", {DEFAULT_EFFORT: "bar 0.9, goal 0.75"}),
    PictureSet("Kodak", "kodak", {DEFAULT_EFFORT: "bar 1.02, goal 0.945"}),
)
SCREEN_HEIGHT, SCREEN_WIDTH, SCREENS_ACROSS = 640, 1000, 3
PHOTO_SHAPE, PHOTOS_ACROSS = (512, 768, 3), 3


class Sizes(NamedTuple):
    """Bytes of a picture's lossless files."""

    webp: int
    ours: tuple[int, ...]  # one per effort


def lossless(data: Path) -> None:
    """Bytes of lossless files over those of lossless WebP (method 6, quality 100).

    Colours under alpha 0 are 0, and WebP need not keep them.
    """
    for name, folder, aims in SETS:
        paths = pngs(data / folder)
        found = list(in_processes(partial(_sizes, efforts=tuple(aims)), paths))
        webp = sum(sizes.webp for sizes in found)
        for column, (effort, aim) in enumerate(aims.items()):
            ours = sum(sizes.ours[column] for sizes in found)
            print(f"{name}, effort {effort}: {len(found)} pictures, {ours:,} of {webp:,} bytes: {ours / webp:.3f} ({aim})")
            ratios = {path.name: sizes.ours[column] / sizes.webp for path, sizes in zip(paths, found, strict=True)}
            print(f"  largest: {largest(ratios)}", flush=True)


def _sizes(path: Path, efforts: Sequence[int]) -> Sizes:
    pixels = without_hidden(read_image(path).pixels)
    ours = tuple(lossless_vqz(pixels, effort).size_bytes for effort in efforts)
    return Sizes(lossless_webp(pixels, exact=False).size_bytes, ours)


def without_hidden(pixels: Pixels) -> Pixels:
    """Samples with the colours under alpha 0 set to 0."""
    if pixels.ndim == 2 or pixels.shape[2] not in (2, 4):
        return pixels
    return pixels * (pixels[:, :, -1:] > 0)


def lossless_speed(data: Path) -> None:
    """Speed of lossless files, one thread."""
    pictures = {"graphics": (screen_sheet(data), "bar 30, goal 100"), "photographs": (photo_sheet(data), "bar 2, goal 5")}
    for name, (picture, aims) in pictures.items():
        files: list[bytes] = []
        encode_s = cpu_s(lambda files=files, picture=picture: files.append(api.encode(picture, lossless=True, threads=1)))
        decode_s = min(cpu_s(lambda file=files[0]: api.decode(file, threads=1)) for _ in range(5))
        size = megapixels(picture)
        print(f"{name}, {size:.1f} megapixels, {len(files[0]):,} bytes, CPU time, best of 5 for decode")
        print(f"  decode {size / decode_s:.1f} MP/s ({aims}), encode {size / encode_s:.2f} MP/s", flush=True)


def screen_sheet(data: Path) -> UInt8:
    """Corners of all opaque screens that are large enough, in rows."""
    pictures = (read_image(path).pixels for path in pngs(data / "graphics" / "screens"))
    corners = [pixels[:SCREEN_HEIGHT, :SCREEN_WIDTH] for pixels in pictures]
    return tiled([corner for corner in corners if corner.shape == (SCREEN_HEIGHT, SCREEN_WIDTH, 3)], SCREENS_ACROSS)


def photo_sheet(data: Path) -> UInt8:
    """All landscapes of Kodak, in rows."""
    return tiled([image for image in kodak(data) if image.shape == PHOTO_SHAPE], PHOTOS_ACROSS)
