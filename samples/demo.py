"""The demo (`make demo`): encodes and decodes the samples, prints sizes and times, draws one beside JPEG and AVIF at equal size.

Command: `python samples/demo.py [FOLDER]`. Writes into FOLDER; the default is out/ in the checkout.
"""

import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich import box
from rich.console import Console
from rich.table import Table

from vqcodec import api
from vqcodec.arrays import Float64, Pixels
from vqcodec.io.image_reader import read_image
from vqcodec.io.image_writer import write_image

SAMPLES = Path(__file__).parent
COMPARED, COMPARED_QUALITY = "still_life.png", 50
CROP = (240, 76, 560, 396)  # left, top, right, bottom


def main(out: Path) -> None:
    """Write the .vqz files, the decoded samples and comparison.png into `out`, and print the table."""
    console = Console()
    out.mkdir(exist_ok=True)
    api.decode(api.encode(np.zeros((8, 8, 3), np.uint8)))  # loads the model before timing starts
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("file", no_wrap=True)
    for name in ("PNG\nbytes", "lossless\nbytes", "vqz\nbytes", "\nchange", "PSNR\ndB", "encode\ns", "decode\ns"):
        table.add_column(name, justify="right")
    for path in sorted(SAMPLES.glob("*.png")):
        table.add_row(path.name, *_round_trip(path, out))
    console.print(table)
    console.print("Where PSNR is inf, a lossless file is the best choice, and the default.")
    _compare(read_image(SAMPLES / COMPARED).pixels).save(out / "comparison.png")
    console.print(f"{out.name}/ has the files, and comparison.png: a picture beside JPEG and AVIF at equal size.", markup=False)


def _round_trip(path: Path, out: Path) -> list[str]:
    """Encode and decode one picture. Returns the cells of its row."""
    pixels = read_image(path).pixels
    start = time.perf_counter()
    data = api.encode(pixels)
    encoded = time.perf_counter()
    decoded = api.decode(data)
    done = time.perf_counter()
    (out / f"{path.stem}.vqz").write_bytes(data)
    with (out / path.name).open("wb") as file:
        write_image(decoded, file, format="PNG")
    return [
        f"{path.stat().st_size:,}",
        f"{len(api.encode(pixels, lossless=True)):,}",
        f"{len(data):,}",
        f"{len(data) / path.stat().st_size - 1:+.0%}",
        f"{_psnr_db(pixels, decoded):.2f}",
        f"{encoded - start:.2f}",
        f"{done - encoded:.2f}",
    ]


def _psnr_db(a: Pixels, b: Pixels) -> float:
    """PSNR over all samples, colours times alpha; inf for equal pictures."""
    error = np.mean((_visible(a) - _visible(b)) ** 2)
    return float(-10 * np.log10(error)) if error else float("inf")


def _visible(pixels: Pixels) -> Float64:
    """Samples from 0 to 1; where there is alpha, the other channels are multiplied by it."""
    samples = pixels / np.float64(np.iinfo(pixels.dtype).max)
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        samples[:, :, :-1] *= samples[:, :, -1:]
    return samples


def _compare(pixels: Pixels) -> Image.Image:
    """A labelled strip: original, JPEG, AVIF, vqz. JPEG and AVIF are the best files within the size of vqz."""
    data = api.encode(pixels, quality=COMPARED_QUALITY)
    jpeg = _within(pixels, len(data), "JPEG", optimize=True, progressive=True, subsampling="4:2:0")
    avif = _within(pixels, len(data), "AVIF", speed=6, subsampling="4:2:0")
    panels = [
        ("original", f"{pixels.nbytes:,} bytes", pixels),
        ("JPEG", f"{len(jpeg):,} bytes", np.asarray(Image.open(io.BytesIO(jpeg)))),
        ("AVIF", f"{len(avif):,} bytes", np.asarray(Image.open(io.BytesIO(avif)))),
        ("vqz", f"{len(data):,} bytes", api.decode(data)),
    ]
    left, top, right, bottom = CROP
    width, gap, head = right - left, 8, 34
    strip = Image.new("RGB", (len(panels) * (width + gap) - gap, bottom - top + head), "white")
    draw = ImageDraw.Draw(strip)
    for column, (name, size, panel) in enumerate(panels):
        x = column * (width + gap)
        note = size if name == "original" else f"{size}, {_psnr_db(pixels, panel):.2f} dB"
        draw.text((x + 2, 24), name, "black", ImageFont.load_default(20), anchor="ls")
        draw.text((x + width - 2, 24), note, (90, 90, 90), ImageFont.load_default(15), anchor="rs")
        strip.paste(Image.fromarray(panel).crop(CROP), (x, head))
    return strip


def _within(pixels: Pixels, limit_bytes: int, kind: str, **options: object) -> bytes:
    """File of the highest quality, 1 to 95, within `limit_bytes`; quality 1 if none is. Bisects."""
    best, low, high = b"", 1, 95
    while low <= high:
        quality = (low + high) // 2
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind, quality=quality, **options)
        if stream.tell() <= limit_bytes or quality == 1:
            best, low = stream.getvalue(), quality + 1
        else:
            high = quality - 1
    return best


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES.parent / "out")
