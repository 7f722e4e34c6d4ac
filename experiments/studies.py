"""Functions that the studies of token models (mnist.py, tokens.py) share: training by a recipe, file sizes, sheets, curves.

No command; the two studies import it.
"""

import argparse
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from pages import code_block
from PIL import Image

from vqcodec import api
from vqcodec.arrays import Intp, UInt8
from vqcodec.cli.main import main as vqcodec

matplotlib.use("Agg")
from matplotlib import pyplot

Recipe = Mapping[str, Sequence[str]]
"""Arguments of `vqcodec train` by model, in order of training. A model's name among the arguments is its folder."""


@dataclass(frozen=True)
class Line:
    """One line in a panel of the training curves."""

    key: str  # field of the training log
    label: str
    divisor: float = 1


_PANELS = (
    (Line("reconstruction", "L_r"), Line("commitment", "L_c"), Line("perplexity", "perplexity / 1000", 1000)),
    (Line("reconstruction", "L_r"), Line("discriminator_loss", "discriminator"), Line("accuracy", "its accuracy")),
    (Line("loss", "cross-entropy of masked cells, nats"), Line("held_out", "held out, bits per token")),
)
"""Curves of the VQ-VAE, the VQGAN and the prior."""


@dataclass(frozen=True)
class Coded:
    """Pictures encoded to files by one token model and decoded again."""

    pictures: list[UInt8]
    sizes_bytes: Intp  # [number of pictures]
    indices: Intp  # codeword indices of all pictures, concatenated


def make_parser(description: str, data_help: str) -> argparse.ArgumentParser:
    """Parser of `train|report DATA FOLDER`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "report"])
    parser.add_argument("data", type=Path, help=data_help)
    parser.add_argument("folder", type=Path, help="folder of the models")
    return parser


def train(pictures: Path, folder: Path, recipe: Recipe) -> None:
    """Train the models of a recipe into a folder, each with its log NAME.jsonl. Raises SystemExit if a training fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in recipe.items():
        arguments = [str(folder / word) if word in recipe else word for word in words]
        log = folder / f"{name}.jsonl"
        log.unlink(missing_ok=True)
        if vqcodec(["train", str(pictures), "-o", str(folder / name), *arguments, "--log", str(log), "-f"]):
            raise SystemExit(f"training {name} failed")


def read_facts(folder: Path, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """model.json of each model of a recipe."""
    return {name: json.loads((folder / name / "model.json").read_text()) for name in recipe}


def code(pictures: Sequence[UInt8], model: Path) -> Coded:
    """Encode and decode pictures with a token model."""
    files = [api.encode(picture, model=model, threads=1) for picture in pictures]
    decoded = [api.decode(file, model=model, threads=1) for file in files]
    indices = [api.indices(file, model=model)["index"] for file in files]
    return Coded(decoded, np.array([len(file) for file in files]), np.concatenate(indices))


def psnr_db(pictures: Sequence[UInt8], decoded: Sequence[UInt8]) -> float:
    """PSNR in dB over the pixels of all pictures together."""
    squares = [np.square(np.subtract(a, b, dtype=np.float64)) for a, b in zip(pictures, decoded, strict=True)]
    return 10 * float(np.log10(255**2 / np.mean(squares)))


def perplexity(indices: Intp) -> float:
    """Exponential of the entropy of the codewords' frequencies."""
    shares = np.bincount(indices) / len(indices)
    return float(2 ** -(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def mean_bytes(pictures: Sequence[UInt8], file_format: str, **options: object) -> float:
    """Mean size of the files that Pillow writes."""
    total = 0
    for picture in pictures:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, file_format, **options)
        total += stream.tell()
    return total / len(pictures)


def save_enlarged(pixels: UInt8, zoom: int, path: Path) -> None:
    """Write a PNG with every pixel repeated `zoom` times in both directions."""
    Image.fromarray(pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(path, optimize=True)


def tile_rows(rows: Sequence[Sequence[UInt8]]) -> UInt8:
    """Rows of pictures of equal size as one picture, with grey lines between them."""
    framed = [[np.pad(picture, 1, constant_values=64) for picture in row] for row in rows]
    return np.concatenate([np.concatenate(row, axis=1) for row in framed])


def draw_curves(folder: Path, recipe: Recipe, path: Path) -> bool:
    """Draw the losses of the three trainings. Returns False, without a picture, if a log is missing."""
    logs = [folder / f"{name}.jsonl" for name in recipe]
    if not all(log.exists() for log in logs):
        return False
    figure, panels = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for panel, log, lines in zip(panels, logs, _PANELS, strict=True):
        facts = [json.loads(line) for line in log.read_text().splitlines()]
        for line in lines:
            points = [(fact["step"], fact[line.key] / line.divisor) for fact in facts if line.key in fact]
            panel.plot(*zip(*points, strict=True), label=line.label, marker="." if line.key == "held_out" else None)
        panel.set(title=log.stem, xlabel="step", yscale="linear" if lines == _PANELS[2] else "log")
        panel.legend()
    figure.savefig(path, dpi=100)
    return True


def origin(script: str) -> str:
    """Script, machine and date of a report, as a sentence for its page."""
    return f"Made by `experiments/{script} report`, {platform.system()} {platform.machine()}, {date.today()}."


def training_times(facts: Mapping[str, dict[str, Any]]) -> str:
    """Seconds of each training, as a phrase."""
    return ", ".join(f"{fact['seconds']} s ({name})" for name, fact in facts.items())


def command_block(facts: Mapping[str, dict[str, Any]]) -> str:
    """The training commands as a Markdown code block."""
    return code_block("\n".join(fact["command"] for fact in facts.values()))
