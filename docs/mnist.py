"""The MNIST case study: a VQ-VAE, its decoder as a VQGAN, and a prior, trained on 60,000 digits and judged on 10,000 others.

    python docs/mnist.py train ../shared/data/mnist out/mnist      # make mnist: both, in under half an hour on two cores
    python docs/mnist.py report ../shared/data/mnist out/mnist

`train` makes the models mnist-vqvae, mnist-token (the same codebook and encoder, the decoder trained on against a discriminator)
and mnist-prior in the folder, with the logs of their training. `report` writes docs/mnist.md and its pictures from a folder with
these models (`models` has them, too; curves are drawn where the logs are). Digits are told apart by a small convolutional network
that it trains on the originals: what it says of reconstructions and of generated digits is the honest figure.
"""

import argparse
import io
import json
import platform
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from vqcodec import api, draw, registry
from vqcodec.cli import main as vqcodec
from vqcodec.train.idx import read_idx

matplotlib.use("Agg")
from matplotlib import pyplot

Pixels = np.ndarray
DOCS = Path(__file__).resolve().parent
TRAIN, TEST = "train", "t10k"
VQVAE, VQGAN, PRIOR = "mnist-vqvae", "mnist-token", "mnist-prior"
RECIPE = {
    VQVAE: ["--kind", "token", "--codewords", 512, "--steps", 6000],
    VQGAN: ["--kind", "token", "--init", VQVAE, "--parts", "decoder", "--lambda-a", 0.5, "--adaptive", "--steps", 1500],
    PRIOR: ["--kind", "token-prior", "--init", VQGAN, "--steps", 4000],
}
"""Arguments of `vqcodec train`; what --init names lies in the same folder."""
EPOCHS, BATCH = 4, 128
"""Of the classifier."""
EACH = 100
"""Generated digits of a class that are judged."""
SHOWN, ZOOM = 10, 3
Classifier = nn.Sequential


def digits(data: Path, part: str) -> tuple[Pixels, np.ndarray]:
    """Pictures uint8 [n, 28, 28] and their labels uint8 [n]."""
    return read_idx(data / f"{part}-images-idx3-ubyte.gz", 3), read_idx(data / f"{part}-labels-idx1-ubyte.gz", 1)


# ------------------------------------------------------------------------------------------------ training


def train(data: Path, folder: Path) -> None:
    """The three models, one from the other."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPE.items():
        arguments = [str(folder / word) if word in RECIPE else str(word) for word in recipe]
        log = folder / f"{name}.jsonl"
        log.unlink(missing_ok=True)
        pictures = data / f"{TRAIN}-images-idx3-ubyte.gz"
        if vqcodec(["train", str(pictures), "-o", str(folder / name), *arguments, "--log", str(log), "-f"]):
            raise SystemExit(f"training {name} failed")


# ------------------------------------------------------------------------------------------------ figures


def inputs(pictures: Pixels) -> torch.Tensor:
    return torch.from_numpy(pictures[:, None].astype(np.float32) / 255)


def train_classifier(pictures: Pixels, labels: np.ndarray) -> Classifier:
    """A convolutional network of some 210,000 weights, on digits shifted by up to two pixels."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    first, second = (nn.Conv2d(*ends, 3, padding=1) for ends in ((1, 32), (32, 64)))
    body = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    network = nn.Sequential(*body, nn.Linear(64 * 49, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    steps = EPOCHS * -(-len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    wanted = torch.from_numpy(labels.astype(np.int64))
    for _ in range(EPOCHS):
        for part in np.array_split(rng.permutation(len(pictures)), steps // EPOCHS):
            shifted = torch.roll(inputs(pictures[part]), tuple(rng.integers(-2, 3, 2).tolist()), (2, 3))
            loss = functional.cross_entropy(network(shifted), wanted[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: Classifier, pictures: Pixels, labels: np.ndarray) -> float:
    """Per cent that it tells right."""
    found = torch.cat([network(part).argmax(dim=1) for part in inputs(pictures).split(1000)]).numpy()
    return 100 * float((found == labels).mean())


def coded(pictures: Pixels, model: Path) -> tuple[Pixels, np.ndarray, np.ndarray]:
    """Decoded pictures, the bytes of their files [n], and all their indices, through files as `encode` writes them."""
    decoded, sizes, indices = np.empty_like(pictures), [], []
    for number, picture in enumerate(pictures):
        file = api.encode(picture, model=model, threads=1)
        decoded[number] = api.decode(file, model=model, threads=1)
        sizes.append(len(file))
        indices.append(api.indices(file, model=model)["index"])
    return decoded, np.array(sizes), np.concatenate(indices)


def psnr_db(pictures: Pixels, decoded: Pixels) -> float:
    return 10 * float(np.log10(255**2 / np.square(np.subtract(pictures, decoded, dtype=np.float64)).mean()))


def perplexity(indices: np.ndarray) -> float:
    shares = np.bincount(indices) / len(indices)
    return float(2 ** -(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


def mean_bytes(pictures: Pixels, form: str, **options: object) -> float:
    """Of the files that Pillow writes."""
    total = 0
    for picture in pictures:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, form, **options)
        total += stream.tell()
    return total / len(pictures)


# ------------------------------------------------------------------------------------------------ pictures


def enlarged(pixels: Pixels, path: Path) -> None:
    Image.fromarray(pixels.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)).save(path, optimize=True)


def compared(rows: Sequence[Pixels], labels: np.ndarray) -> Pixels:
    """Two digits of each class, a row for each of `rows`: originals, reconstructions."""
    chosen = np.concatenate([np.flatnonzero(labels == label)[:2] for label in range(10)])
    framed = [np.pad(row[chosen], ((0, 0), (1, 1), (1, 1)), constant_values=64) for row in rows]
    return np.concatenate([np.concatenate(list(row), axis=1) for row in framed])


def curves(folder: Path) -> bool:
    """Losses of the three trainings as docs/mnist_curves.png, where their logs are."""
    logs = [folder / f"{name}.jsonl" for name in RECIPE]
    if not all(log.exists() for log in logs):
        return False
    shown = {
        VQVAE: (("reconstruction", "L_r"), ("commitment", "L_c"), ("perplexity", "perplexity / 1000")),
        VQGAN: (("generator_loss", "generator"), ("discriminator_loss", "discriminator"), ("accuracy", "its accuracy")),
        PRIOR: (("loss", "cross-entropy of masked cells, nats"), ("held_out", "held out, bits a token")),
    }
    figure, panels = pyplot.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for panel, log, (name, lines) in zip(panels, logs, shown.items(), strict=True):
        facts = [json.loads(line) for line in log.read_text().splitlines()]
        for key, label in lines:
            found = [(fact["step"], fact[key] / (1000 if key == "perplexity" else 1)) for fact in facts if key in fact]
            if found:
                panel.plot(*zip(*found, strict=True), label=label, marker="." if key == "held_out" else None)
        panel.set(title=name, xlabel="step", yscale="log" if name == VQVAE else "linear")
        panel.legend()
    figure.savefig(DOCS / "mnist_curves.png", dpi=100)
    return True


# ------------------------------------------------------------------------------------------------ the page


def report(data: Path, folder: Path) -> None:
    """docs/mnist.md, docs/mnist_digits.png, docs/mnist_generated.png and docs/mnist_curves.png."""
    begun = time.monotonic()
    pictures, labels = digits(data, TEST)
    network = train_classifier(*digits(data, TRAIN))
    model = registry.find_token(folder / VQVAE)
    decoded, sizes, indices = coded(pictures, folder / VQVAE)
    sharp, sharp_sizes, same = coded(pictures, folder / VQGAN)
    assert np.array_equal(indices, same), "the decoder alone was trained on: the tokens are the same"
    rows = [
        ("originals", "", "", accuracy(network, pictures, labels)),
        (VQVAE, psnr_db(pictures, decoded), sizes.mean(), accuracy(network, decoded, labels)),
        (VQGAN, psnr_db(pictures, sharp), sharp_sizes.mean(), accuracy(network, sharp, labels)),
        ("PNG (Pillow, optimised)", "lossless", mean_bytes(pictures, "PNG", optimize=True), ""),
        ("WebP (lossless, method 6)", "lossless", mean_bytes(pictures, "WEBP", lossless=True, method=6), ""),
    ]
    made, judged = {}, {}
    for guidance in (0.0, 1.0):
        found, names = api.generate(10 * EACH, prior=folder / PRIOR, guidance=guidance)
        made[guidance] = found, np.array(names).astype(int)
        judged[guidance] = accuracy(network, *made[guidance])
    shown = np.concatenate([np.flatnonzero(made[1.0][1] == label)[:SHOWN] for label in range(10)])
    enlarged(draw.sheet(made[1.0][0][shown], [str(label) for label in made[1.0][1][shown]]), DOCS / "mnist_generated.png")
    enlarged(compared([pictures, decoded, sharp], labels), DOCS / "mnist_digits.png")
    facts = {name: json.loads((folder / name / "model.json").read_text()) for name in RECIPE}
    times = " + ".join(f"{fact['seconds']} s ({name})" for name, fact in facts.items())
    sizes_of = ", ".join(f"{fact['parameters']:,} ({name})" for name, fact in facts.items())
    count, dim = model.words.shape
    lines = [
        "# MNIST: a VQ-VAE, a VQGAN and a prior",
        f"Made by `make mnist` (docs/mnist.py), {platform.system()} {platform.machine()}, {date.today()}; nothing here is typed.",
        f"Cells of {model.side}x{model.side} pixels, of which a digit is 4x4; K = {count} codewords of {dim} values. On the 10,000 "
        f"test digits {len(np.unique(indices))} of them are used, at a perplexity of {perplexity(indices):.0f}. "
        f"Training took {times}; parameters: {sizes_of}. {VQGAN} is {VQVAE} with its decoder trained on against a "
        "discriminator: the tokens of a digit are the same.",
        "![Test digits, their reconstructions by the VQ-VAE, and by the VQGAN](mnist_digits.png)",
        "Rows: originals, VQ-VAE, VQGAN; the first two test digits of each class.",
        "| the 10,000 test digits | PSNR, dB | bytes a digit | told right by the classifier |\n|---|---:|---:|---:|",
    ]
    lines[-1] += "".join(
        f"\n| {name} | {psnr if isinstance(psnr, str) else f'{psnr:.2f}'} | {size if isinstance(size, str) else f'{size:.1f}'} | "
        f"{right if isinstance(right, str) else f'{right:.2f} %'} |"
        for name, psnr, size, right in rows
    )
    lines += [
        "PSNR is over all pixels together, bytes are of whole files. Bar for reconstructions 97 %, goal 98.5 %.",
        "## Generated",
        f"`vqcodec generate -m {PRIOR} -n {10 * EACH} -o OUT`, {EACH} digits of each class, told right by the classifier: "
        f"**{judged[1.0]:.1f} %** (bar 90, goal 97), with the default guidance of 1; without guidance, which is more varied, "
        f"{judged[0.0]:.1f} %. The prior needs {facts[PRIOR]['held_out_bits_per_token']:.2f} bits a token of held-out training "
        f"digits; how likely each codeword is by itself takes {np.log2(perplexity(indices)):.2f}.",
        "![Generated digits, a row for each class](mnist_generated.png)",
        f"The first {SHOWN} of each class, seed 0, temperature 1, guidance 1: not chosen.",
    ]
    if curves(folder):
        lines += ["## Training", "![Curves of the three trainings](mnist_curves.png)"]
    lines += ["```\n" + "\n".join(fact["command"] for fact in facts.values()) + "\n```"]
    (DOCS / "mnist.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    print(f"docs/mnist.md after {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["train", "report"])
    parser.add_argument("data", type=Path, help="the folder with the four idx files")
    parser.add_argument("folder", type=Path, help="of the models")
    given = parser.parse_args()
    {"train": train, "report": report}[given.command](given.data, given.folder)
