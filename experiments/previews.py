"""Compares previews of 256 pixels on the long side in under 500 bytes by a token model, WebP and AVIF, for docs/previews.md.

Command: `python experiments/previews.py table ../shared/data/kodak ../shared/data/perceptual`

`corpus PHOTOS OUTPUT` scales photos down into a folder to train the token model on. `table` writes docs/previews.md (bytes and
LPIPS by the token model, by WebP at method 6 and by AVIF at speed 6) and docs/previews.png (every fourth picture). WebP and AVIF
get the model's bytes, or their lowest quality if that needs more. They may also code a smaller picture that is scaled up: of the
sizes 1/1 to 1/8 the table has the one with the lowest LPIPS within the model's bytes.
"""

import argparse
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pages import DOCS, code_block, write_page
from PIL import Image, ImageDraw

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import AvifCodec, Codec, WebpCodec, bracket
from vqcodec.bench.metrics import LpipsFunction, open_lpips, psnr_rgb_db
from vqcodec.bench.report import markdown_table
from vqcodec.train.data import load_corpus
from vqcodec.weights import registry

SIDE, LIMIT_BYTES = 256, 500
SIZES = (1, 2, 4, 8)
"""Divisors of the picture's sides."""
SHOWN_EVERY, LABEL, GAP = 4, 14, 6
"""Pictures shown in docs/previews.png; height of a label and width of a gap in pixels."""


def scale_down(pixels: UInt8, side: int) -> UInt8:
    """Resize to `side` pixels on the long side (Lanczos)."""
    longest = max(pixels.shape[:2])
    width, height = (max(1, round(length * side / longest)) for length in (pixels.shape[1], pixels.shape[0]))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def make_corpus(photos: Path, output: Path) -> None:
    """Write every colour photo of at least SIDE pixels, scaled down, as PNG."""
    output.mkdir(parents=True)
    corpus = load_corpus(photos, lambda what, done, total: None)
    for image in corpus.train + corpus.held_out:
        if max(image.pixels.shape) >= SIDE and image.pixels.shape[2] == 3:
            name = image.name.replace("/", "-").rsplit(".", 1)[0]
            Image.fromarray(scale_down(image.pixels, SIDE)).save(output / f"{name}.png")


@dataclass(frozen=True)
class Preview:
    """A picture coded at 1/size of its sides, decoded and scaled up again."""

    codec: str
    size: int
    bytes: int
    pixels: UInt8
    lpips: float
    psnr_db: float


@dataclass(frozen=True)
class PreviewRow:
    """Previews of one picture: by the model, by each other codec at full size, and by each at its best size."""

    name: str
    original: UInt8
    model: Preview
    full_size: list[Preview]
    best_size: list[Preview]

    @property
    def previews(self) -> list[Preview]:
        return [self.model, *self.full_size, *self.best_size]


def make_preview(codec: str, size: int, data: bytes, decoded: UInt8, original: UInt8, lpips: LpipsFunction) -> Preview:
    """Scale the decoded pixels up (bicubic) and measure them."""
    pixels = np.asarray(Image.fromarray(decoded).resize(original.shape[1::-1], Image.Resampling.BICUBIC))
    return Preview(codec, size, len(data), pixels, lpips(original, pixels), psnr_rgb_db(original, pixels))


def code_at_size(original: UInt8, codec: Codec, size: int, limit_bytes: int, lpips: LpipsFunction) -> Preview:
    """Preview at the highest quality within `limit_bytes`, or at the lowest quality."""
    data = bracket(codec, scale_down(original, max(original.shape) // size), limit_bytes).below
    return make_preview(codec.name, size, data, codec.decode(data), original, lpips)


def make_row(name: str, original: UInt8, model: str, lpips: LpipsFunction) -> PreviewRow:
    """Make all previews of one picture. Raises SystemExit if the model's file is too large."""
    data = api.encode(original, model=model)
    if len(data) >= LIMIT_BYTES:
        raise SystemExit(f"{name}: the preview takes {len(data)} bytes, limit {LIMIT_BYTES}")
    full_size, best_size = [], []
    for codec in (WebpCodec(), AvifCodec()):
        found = [code_at_size(original, codec, size, len(data), lpips) for size in SIZES]
        full_size.append(found[0])
        best_size.append(min(found, key=lambda preview: (max(preview.bytes, len(data)), preview.lpips)))
    ours = make_preview("vqz", 1, data, api.decode(data, model=model), original, lpips)
    return PreviewRow(name, original, ours, full_size, best_size)


def add_label(pixels: UInt8, text: str) -> UInt8:
    """A picture on white, below a label."""
    sheet = Image.new("RGB", (SIDE + GAP, len(pixels) + LABEL + GAP), "white")
    ImageDraw.Draw(sheet).text((1, 0), text, fill="black")
    sheet.paste(Image.fromarray(pixels), (0, LABEL))
    return np.asarray(sheet)


def draw_row(row: PreviewRow) -> UInt8:
    """The original, the model's preview, and the best previews by WebP and AVIF, side by side."""
    cells = [add_label(row.original, row.name)]
    for preview in (row.model, *row.best_size):
        size = f", at 1/{preview.size}" if preview.size > 1 else ""
        cells.append(add_label(preview.pixels, f"{preview.codec} {preview.bytes} bytes, LPIPS {preview.lpips:.3f}{size}"))
    return np.concatenate(cells, axis=1)


NOTES = """
- WebP and AVIF get the model's bytes for each picture. If their lowest quality needs more, they get that; it is in italics.
- Best size: the picture is coded at 1/1, 1/2, 1/4 or 1/8 of its sides and scaled up (bicubic). Of the sizes within the
  model's bytes the one with the lowest LPIPS is chosen; if there is none, the smallest file.
- LPIPS 0.1 with SqueezeNet 1.1; lower is better. The model's decoder was trained for LPIPS, the other codecs were not.
"""
HEADER = (
    *("picture", "model, bytes", "LPIPS", "WebP, bytes", "LPIPS", "AVIF, bytes", "LPIPS"),
    *("WebP, best size", "bytes", "LPIPS", "AVIF, best size", "bytes", "LPIPS"),
)


def cells_of(row: PreviewRow) -> list[str]:
    """A row of the table; file sizes above the model's are in italics."""
    cells = [row.name]
    for preview in (row.model, *row.full_size):
        cells += [_size_cell(preview, row), f"{preview.lpips:.3f}"]
    for preview in row.best_size:
        cells += [f"1/{preview.size}", _size_cell(preview, row), f"{preview.lpips:.3f}"]
    return cells


def _size_cell(preview: Preview, row: PreviewRow) -> str:
    return f"{preview.bytes}" if preview.bytes <= row.model.bytes else f"*{preview.bytes}*"


def mean_cells(rows: Sequence[PreviewRow]) -> list[str]:
    """The last row of the table."""
    cells = ["mean"]
    for number in range(len(rows[0].previews)):
        previews = [row.previews[number] for row in rows]
        size, lpips = np.mean([preview.bytes for preview in previews]), np.mean([preview.lpips for preview in previews])
        has_size_column = number > len(rows[0].full_size)
        cells += [*([""] if has_size_column else []), f"{size:.0f}", f"{lpips:.3f}"]
    return cells


def make_table(folder: Path, perceptual: Path, model: str) -> None:
    """Write docs/previews.md and docs/previews.png."""
    lpips = open_lpips(perceptual)
    originals = {path.stem: scale_down(np.asarray(Image.open(path).convert("RGB")), SIDE) for path in sorted(folder.glob("*.png"))}
    rows = [make_row(name, original, model, lpips) for name, original in originals.items()]
    summary = registry.find_token(model)
    psnrs = [f"{np.mean([row.previews[number].psnr_db for row in rows]):.2f}" for number in range(len(rows[0].previews))]
    lines = [
        "# Previews",
        f"Kodak scaled to {SIDE} pixels on the long side, coded by the token model {summary.name} ({summary.id[:12]}), by WebP "
        f"(method 6) and by AVIF (speed 6). The model's largest file has {max(row.model.bytes for row in rows)} bytes.",
        NOTES.strip(),
        f"[previews.png](previews.png) shows every fourth picture. Machine: {platform.machine()}. Command:",
        code_block(f"python experiments/previews.py table ../shared/data/kodak ../shared/data/perceptual -m {summary.name}"),
        markdown_table(HEADER, [*map(cells_of, rows), mean_cells(rows)]),
        f"Mean RGB PSNR, in the order of the table: {', '.join(psnrs)} dB.",
    ]
    write_page("previews.md", lines)
    sheet = np.concatenate([draw_row(row) for row in rows[::SHOWN_EVERY]])
    Image.fromarray(sheet).save(DOCS / "previews.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    corpus = commands.add_parser("corpus", help="scale photos down into a folder to train on")
    corpus.add_argument("photos", type=Path, help="folder or .tar of photos")
    corpus.add_argument("output", type=Path, help="new folder")
    table = commands.add_parser("table", help="write docs/previews.md and docs/previews.png")
    table.add_argument("folder", type=Path, help="folder of PNG pictures")
    table.add_argument("perceptual", type=Path, help="folder of LPIPS's weights")
    table.add_argument("-m", "--model", default="photo-preview", help="token model (default photo-preview)")
    arguments = parser.parse_args()
    if arguments.command == "corpus":
        make_corpus(arguments.photos, arguments.output)
    else:
        make_table(arguments.folder, arguments.perceptual, arguments.model)


if __name__ == "__main__":
    main()
