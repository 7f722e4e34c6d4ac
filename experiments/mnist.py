"""The MNIST case study: a VQ-VAE, its decoder as a VQGAN, and a prior, trained on 60,000 digits and judged on 10,000 others.

    python experiments/mnist.py train ../shared/data/mnist out/mnist      # make mnist: both, in under half an hour on two cores
    python experiments/mnist.py report ../shared/data/mnist out/mnist

`train` makes the models mnist-vqvae, mnist-token (the same codebook and encoder, the decoder trained on against a discriminator)
and mnist-prior in the folder, with the logs of their training. `report` writes docs/mnist.md and its pictures from a folder with
these models (`models` has them, too; curves are drawn where the logs are). Digits are told apart by a small convolutional network
that it trains on the originals: what it says of reconstructions and of generated digits is the honest figure.
"""

import argparse
import platform
from datetime import date
from pathlib import Path

import numpy as np
import studies
import torch
from studies import DOCS, Pixels
from torch import nn
from torch.nn import functional

from vqcodec import api
from vqcodec.codec import generation
from vqcodec.train.idx import read_idx
from vqcodec.weights import registry

TRAIN, TEST = "train", "t10k"
VQVAE, VQGAN, PRIOR = "mnist-vqvae", "mnist-token", "mnist-prior"
RECIPE = {
    VQVAE: ["--kind", "token", "--codewords", "512", "--steps", "6000"],
    VQGAN: f"--kind token --init {VQVAE} --parts decoder --lambda-a 0.5 --adaptive --steps 1500".split(),
    PRIOR: f"--kind token-prior --init {VQGAN} --steps 4000".split(),
}
EPOCHS, BATCH = 4, 128
"""Of the classifier."""
EACH = 100
"""Generated digits of a class that are judged."""
SHOWN, ZOOM = 10, 3


def digits(data: Path, part: str) -> tuple[Pixels, np.ndarray]:
    """Pictures uint8 [n, 28, 28] and their labels uint8 [n]."""
    return read_idx(data / f"{part}-images-idx3-ubyte.gz", 3), read_idx(data / f"{part}-labels-idx1-ubyte.gz", 1)


def inputs(pictures: Pixels) -> torch.Tensor:
    return torch.from_numpy(pictures[:, None].astype(np.float32) / 255)


def train_classifier(pictures: Pixels, labels: np.ndarray) -> nn.Module:
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
def accuracy(network: nn.Module, pictures: Pixels, labels: np.ndarray) -> float:
    """Per cent that it tells right."""
    found = torch.cat([network(part).argmax(dim=1) for part in inputs(pictures).split(1000)]).numpy()
    return 100 * float((found == labels).mean())


def report(data: Path, folder: Path) -> None:
    """docs/mnist.md, docs/mnist_digits.png, docs/mnist_generated.png and docs/mnist_curves.png."""
    pictures, labels = digits(data, TEST)
    network = train_classifier(*digits(data, TRAIN))
    model = registry.find_token(folder / VQVAE)
    decoded, sizes, indices = studies.coded(pictures, folder / VQVAE)
    sharp, sharp_sizes, same = studies.coded(pictures, folder / VQGAN)
    assert np.array_equal(indices, same), "the decoder alone was trained on: the tokens are the same"
    rows = [
        ("originals", "", "", accuracy(network, pictures, labels)),
        (VQVAE, studies.psnr_db(pictures, decoded), sizes.mean(), accuracy(network, np.stack(decoded), labels)),
        (VQGAN, studies.psnr_db(pictures, sharp), sharp_sizes.mean(), accuracy(network, np.stack(sharp), labels)),
        ("PNG (Pillow, optimised)", "lossless", studies.mean_bytes(pictures, "PNG", optimize=True), ""),
        ("WebP (lossless, method 6)", "lossless", studies.mean_bytes(pictures, "WEBP", lossless=True, method=6), ""),
    ]
    made, judged = {}, {}
    for guidance in (0.0, 1.0):
        found, names = api.generate(10 * EACH, prior=folder / PRIOR, guidance=guidance)
        made[guidance] = found, np.array(names).astype(int)
        judged[guidance] = accuracy(network, *made[guidance])
    shown = np.concatenate([np.flatnonzero(made[1.0][1] == label)[:SHOWN] for label in range(10)])
    sheet = generation.contact_sheet(made[1.0][0][shown], [str(label) for label in made[1.0][1][shown]])
    studies.enlarged(sheet, ZOOM, DOCS / "mnist_generated.png")
    chosen = np.concatenate([np.flatnonzero(labels == label)[:2] for label in range(10)])
    rows_shown = studies.rows_of([[row[number] for number in chosen] for row in (pictures, decoded, sharp)])
    studies.enlarged(rows_shown, ZOOM, DOCS / "mnist_digits.png")
    facts = studies.facts_of(folder, RECIPE)
    times = " + ".join(f"{fact['seconds']} s ({name})" for name, fact in facts.items())
    sizes_of = ", ".join(f"{fact['parameters']:,} ({name})" for name, fact in facts.items())
    count, dim = model.codebook.shape
    lines = [
        "# MNIST: a VQ-VAE, a VQGAN and a prior",
        f"Made by `experiments/mnist.py report`, {platform.system()} {platform.machine()}, {date.today()}, of models made by the "
        "commands at the end, those of `make mnist`, in `out/mnist`; seconds are as the machine was then, with whatever else "
        "it did.",
        f"Cells of {model.side}x{model.side} pixels, of which a digit is 4x4; K = {count} codewords of {dim} values. On the 10,000 "
        f"test digits {len(np.unique(indices))} of them are used, at a perplexity of {studies.perplexity(indices):.0f}. "
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
        f"digits; how likely each codeword is by itself takes {np.log2(studies.perplexity(indices)):.2f}.",
        "![Generated digits, a row for each class](mnist_generated.png)",
        f"The first {SHOWN} of each class, seed 0, temperature 1, guidance 1: not chosen.",
    ]
    if studies.draw_curves(folder, RECIPE, DOCS / "mnist_curves.png"):
        lines += ["## Training", "![Curves of the three trainings](mnist_curves.png)"]
    lines += [studies.commands(facts)]
    (DOCS / "mnist.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["train", "report"])
    parser.add_argument("data", type=Path, help="the folder with the four idx files")
    parser.add_argument("folder", type=Path, help="of the models")
    given = parser.parse_args()
    if given.command == "train":
        studies.train(given.data / f"{TRAIN}-images-idx3-ubyte.gz", given.folder, RECIPE)
    else:
        report(given.data, given.folder)
