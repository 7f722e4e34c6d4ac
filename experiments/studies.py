"""What the studies of token models (mnist.py, tokens.py) share: training by recipes, figures of files, curves."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from vqcodec import api
from vqcodec.cli.main import main as vqcodec

matplotlib.use("Agg")
from matplotlib import pyplot

Pixels = np.ndarray
Recipe = Mapping[str, Sequence[str]]
"""For each model, in order, arguments of `vqcodec train`; what --init names lies in the same folder."""
DOCS = Path(__file__).resolve().parents[1] / "docs"
_CURVES = (
    (("reconstruction", "L_r"), ("commitment", "L_c"), ("perplexity", "perplexity / 1000")),
    (("reconstruction", "L_r"), ("discriminator_loss", "discriminator"), ("accuracy", "its accuracy")),
    (("loss", "cross-entropy of masked cells, nats"), ("held_out", "held out, bits a token")),
)


def train(pictures: Path, folder: Path, recipe: Recipe) -> None:
    """The models, one from the other, and the log of each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in recipe.items():
        arguments = [str(folder / word) if word in recipe else word for word in words]
        log = folder / f"{name}.jsonl"
        log.unlink(missing_ok=True)
        if vqcodec(["train", str(pictures), "-o", str(folder / name), *arguments, "--log", str(log), "-f"]):
            raise SystemExit(f"training {name} failed")


def facts_of(folder: Path, recipe: Recipe) -> dict[str, dict]:
    """model.json of each."""
    return {name: json.loads((folder / name / "model.json").read_text()) for name in recipe}


def coded(pictures: Sequence[Pixels], model: Path) -> tuple[list[Pixels], np.ndarray, np.ndarray]:
    """Decoded pictures, the bytes of their files [n], and all their indices, through files as `encode` writes them."""
    files = [api.encode(picture, model=model, threads=1) for picture in pictures]
    decoded = [api.decode(file, model=model, threads=1) for file in files]
    indices = [api.indices(file, model=model)["index"] for file in files]
    return decoded, np.array([len(file) for file in files]), np.concatenate(indices)


def psnr_db(pictures: Sequence[Pixels], decoded: Sequence[Pixels]) -> float:
    """Over all pixels together."""
    squares = [np.square(np.subtract(a, b, dtype=np.float64)) for a, b in zip(pictures, decoded, strict=True)]
    return 10 * float(np.log10(255**2 / np.mean(squares)))


def perplexity(indices: np.ndarray) -> float:
    shares = np.bincount(indices) / len(indices)
    return float(2 ** -(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def mean_bytes(pictures: Sequence[Pixels], form: str, **options: object) -> float:
    """Of the files that Pillow writes."""
    total = 0
    for picture in pictures:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, form, **options)
        total += stream.tell()
    return total / len(pictures)


def enlarged(pixels: Pixels, zoom: int, path: Path) -> None:
    Image.fromarray(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(path, optimize=True)


def rows_of(rows: Sequence[Sequence[Pixels]]) -> Pixels:
    """Pictures of one size beside and below each other, with lines between."""
    framed = [[np.pad(picture, 1, constant_values=64) for picture in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])


def draw_curves(folder: Path, recipe: Recipe, path: Path) -> bool:
    """Losses of the three trainings, where their logs are."""
    logs = [folder / f"{name}.jsonl" for name in recipe]
    if not all(log.exists() for log in logs):
        return False
    figure, panels = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for panel, log, lines in zip(panels, logs, _CURVES, strict=True):
        facts = [json.loads(line) for line in log.read_text().splitlines()]
        for key, label in lines:
            found = [(fact["step"], fact[key] / (1000 if key == "perplexity" else 1)) for fact in facts if key in fact]
            panel.plot(*zip(*found, strict=True), label=label, marker="." if key == "held_out" else None)
        panel.set(title=log.stem, xlabel="step", yscale="linear" if lines == _CURVES[2] else "log")
        panel.legend()
    figure.savefig(path, dpi=100)
    return True


def commands(facts: Mapping[str, dict]) -> str:
    return "```\n" + "\n".join(fact["command"] for fact in facts.values()) + "\n```"
