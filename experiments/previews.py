"""Previews of 256 pixels on the long side in under 500 bytes: the pictures that a model of them learns from, and what it makes.

    python experiments/previews.py corpus ../shared/data/photos out/previews
    python experiments/previews.py table ../shared/data/kodak ../shared/data/perceptual -m photo-preview

`corpus` scales photos down into a folder to train on. `table` writes docs/previews.md, bytes and LPIPS of previews by a token
model, by WebP (method 6) and by AVIF (speed 6), and docs/previews.png, every fourth of them side by side. The other codecs get the
model's bytes; where even their lowest quality needs more, that is what they get. A sensible user would rather have them code a
smaller picture and scale it up: of the sizes 1/1 to 1/8 the one of least LPIPS within the model's bytes is given, too.
"""

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vqcodec import api
from vqcodec.bench.codecs import AvifCodec, Codec, WebpCodec
from vqcodec.bench.metrics import LpipsFunction, open_lpips, psnr_rgb_db
from vqcodec.train.data import load_corpus
from vqcodec.weights import registry

SIDE, MOST_BYTES = 256, 500
SIZES = (1, 2, 4, 8)
SHOWN_EVERY, LABEL, GAP = 4, 14, 6
DOCS = Path(__file__).resolve().parents[1] / "docs"


def scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longer side has so many pixels: Lanczos."""
    longest = max(pixels.shape[:2])
    width, height = (max(1, round(length * side / longest)) for length in (pixels.shape[1], pixels.shape[0]))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def make_corpus(photos: Path, output: Path) -> None:
    """Write every photo in colour that is large enough, scaled, as PNG."""
    output.mkdir(parents=True)
    corpus = load_corpus(photos, lambda what, done, total: None)
    for image in corpus.train + corpus.held_out:
        if max(image.pixels.shape) >= SIDE and image.pixels.shape[2] == 3:
            name = image.name.replace("/", "-").rsplit(".", 1)[0]
            Image.fromarray(scaled(image.pixels, SIDE)).save(output / f"{name}.png")


@dataclass(frozen=True)
class Preview:
    """What a codec made of a picture at 1/size of its sides."""

    codec: str
    size: int
    bytes: int
    pixels: np.ndarray
    lpips: float
    psnr: float

    @classmethod
    def of(cls, codec: str, size: int, data: bytes, pixels: np.ndarray, original: np.ndarray, lpips: LpipsFunction) -> "Preview":
        """Its decoded pixels are scaled up where they are smaller than the original."""
        whole = np.asarray(Image.fromarray(pixels).resize(original.shape[1::-1], Image.Resampling.BICUBIC))
        psnr = psnr_rgb_db(original, whole)
        return cls(codec, size, len(data), whole, lpips(original, whole), psnr)


def coded(original: np.ndarray, codec: Codec, size: int, limit: int, lpips: LpipsFunction) -> Preview:
    """By another codec, of the best quality that needs no more than `limit` bytes, or of its lowest."""
    small = scaled(original, max(original.shape) // size)
    low, high = 0, 101  # the lowest is taken whatever it needs
    while high - low > 1:
        centre = (low + high) // 2
        low, high = (centre, high) if len(codec.encode(small, centre)) <= limit else (low, centre)
    data = codec.encode(small, low)
    return Preview.of(codec.name, size, data, codec.decode(data), original, lpips)


def previews_of(original: np.ndarray, model: str, lpips: LpipsFunction) -> list[Preview]:
    """By the model; by WebP and AVIF at the same size; and at the size that serves each of them best within the model's bytes."""
    data = api.encode(original, model=model)
    if len(data) >= MOST_BYTES:
        raise SystemExit(f"a preview takes {len(data)} bytes")
    whole, best = [], []
    for codec in (WebpCodec(), AvifCodec()):
        found = [coded(original, codec, size, len(data), lpips) for size in SIZES]
        whole.append(found[0])
        best.append(min(found, key=lambda preview: (max(preview.bytes, len(data)), preview.lpips)))
    return [Preview.of("vqz", 1, data, api.decode(data, model=model), original, lpips), *whole, *best]


def labelled(pixels: np.ndarray, text: str) -> np.ndarray:
    """A picture below its label, on white."""
    sheet = Image.new("RGB", (SIDE + GAP, len(pixels) + LABEL + GAP), "white")
    ImageDraw.Draw(sheet).text((1, 0), text, fill="black")
    sheet.paste(Image.fromarray(pixels), (0, LABEL))
    return np.asarray(sheet)


def row(name: str, original: np.ndarray, found: list[Preview]) -> np.ndarray:
    """The original, the model's preview, and the best of WebP and AVIF within its bytes."""
    shown = [found[0], *found[3:]]
    texts = [f"{p.codec} {p.bytes} bytes, LPIPS {p.lpips:.3f}" + (f", at 1/{p.size}" if p.size > 1 else "") for p in shown]
    parts = [labelled(original, name), *(labelled(p.pixels, text) for p, text in zip(shown, texts, strict=True))]
    return np.concatenate(parts, axis=1)


def table(names: list[str], found: list[list[Preview]], model: str) -> str:
    """docs/previews.md."""
    summary = registry.find_token(model)
    most = max(previews[0].bytes for previews in found)
    lines = [
        "# Previews",
        "",
        f"Kodak scaled to {SIDE} pixels on the long side, by the token model {summary.name} ({summary.id[:12]}), by WebP (method",
        f"6) and AVIF (speed 6). The model's files have at most {most} bytes; others get as many as the model's or, where their",
        'lowest quality needs more, that (in italics). "Best size" codes the picture at 1/1, 1/2, 1/4 or 1/8 of its sides,',
        "whichever has the least LPIPS within the model's bytes or, where none is, the fewest bytes, and scales it up (bicubic).",
        "LPIPS 0.1 over SqueezeNet 1.1: the model's decoder was trained for it, the others were not. Every fourth picture is in",
        "`previews.png`.",
        "",
        f"`python experiments/previews.py table ../shared/data/kodak ../shared/data/perceptual -m {summary.name}`, "
        f"{platform.machine()}.",
        "",
        "| | model | | WebP | | AVIF | | WebP, best size | | | AVIF, best size | | |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        "| | bytes | LPIPS | bytes | LPIPS | bytes | LPIPS | size | bytes | LPIPS | size | bytes | LPIPS |",
    ]
    for name, previews in zip(names, found, strict=True):
        limit, cells = previews[0].bytes, []
        for number, preview in enumerate(previews):
            size = f"{preview.bytes}" if preview.bytes <= limit else f"*{preview.bytes}*"
            cells += [*([f"1/{preview.size}"] if number >= 3 else []), size, f"{preview.lpips:.3f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    means = [[np.mean([getattr(previews[n], name) for previews in found]) for name in ("bytes", "lpips", "psnr")] for n in range(5)]
    cells = [" | ".join([*([""] if n >= 3 else []), f"{means[n][0]:.0f}", f"{means[n][1]:.3f}"]) for n in range(5)]
    lines.append(f"| mean | {' | '.join(cells)} |")
    psnr = ", ".join(f"{mean[2]:.2f}" for mean in means)
    return "\n".join([*lines, "", f"Mean PSNR, RGB, in the same order: {psnr} dB.", ""])


def make_table(folder: Path, perceptual: Path, model: str) -> None:
    """Write docs/previews.md and docs/previews.png."""
    lpips = open_lpips(perceptual)
    paths = sorted(folder.glob("*.png"))
    originals = [scaled(np.asarray(Image.open(path).convert("RGB")), SIDE) for path in paths]
    found = [previews_of(original, model, lpips) for original in originals]
    names = [path.stem for path in paths]
    (DOCS / "previews.md").write_text(table(names, found, model), encoding="utf-8")
    shown = list(zip(names, originals, found, strict=True))[::SHOWN_EVERY]
    Image.fromarray(np.concatenate([row(*entry) for entry in shown])).save(DOCS / "previews.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    corpus = commands.add_parser("corpus", help="scale photos down into a folder to train on")
    corpus.add_argument("photos", type=Path)
    corpus.add_argument("output", type=Path)
    compare = commands.add_parser("table", help="compare with WebP and AVIF")
    compare.add_argument("folder", type=Path)
    compare.add_argument("perceptual", type=Path)
    compare.add_argument("-m", "--model", default="photo-preview")
    given = parser.parse_args()
    if given.command == "corpus":
        make_corpus(given.photos, given.output)
    else:
        make_table(given.folder, given.perceptual, given.model)


if __name__ == "__main__":
    main()
