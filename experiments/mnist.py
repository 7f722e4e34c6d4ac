"""Trains a VQ-VAE, a VQGAN and a prior on MNIST's 60,000 digits and evaluates them on its 10,000 test digits, for docs/mnist.md.

Command: `make mnist`, or `python experiments/mnist.py train|report ../shared/data/mnist out/mnist`

`train` writes the models mnist-vqvae, mnist-token (same encoder and codebook, decoder trained on against a discriminator) and
mnist-prior, with their training logs. `report` writes docs/mnist.md and its pictures from a folder with these models (also
`models`; the curves need the logs). It trains a small classifier on the original digits, whose accuracy on reconstructed and on
generated digits shows how readable they are.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import studies
import torch
from pages import DOCS, write_page
from torch import nn
from torch.nn import functional

from vqcodec import api
from vqcodec.arrays import UInt8
from vqcodec.bench.report import markdown_table
from vqcodec.codec import generation
from vqcodec.train.idx import read_idx
from vqcodec.weights import registry

VQVAE, VQGAN, PRIOR = "mnist-vqvae", "mnist-token", "mnist-prior"
RECIPE = {
    VQVAE: ["--kind", "token", "--codewords", "512", "--steps", "6000"],
    VQGAN: f"--kind token --init {VQVAE} --parts decoder --lambda-a 0.5 --adaptive --steps 1500".split(),
    PRIOR: f"--kind token-prior --init {VQGAN} --steps 4000".split(),
}
EPOCHS, BATCH = 4, 128
"""Training of the classifier."""
EACH = 100
"""Generated digits per class that are evaluated."""
SHOWN, ZOOM = 10, 3
"""Generated digits per class in the picture, and its magnification."""


@dataclass(frozen=True)
class Digits:
    """Labelled digits."""

    pictures: UInt8  # [n, 28, 28]
    labels: UInt8  # [n]

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True)
class Reconstructions:
    """Test digits through both token models; the two models give the same indices."""

    vqvae: studies.Coded
    vqgan: studies.Coded


def read_digits(data: Path, part: str) -> Digits:
    """Read the idx files of `train` or `t10k`."""
    return Digits(read_idx(data / f"{part}-images-idx3-ubyte.gz", 3), read_idx(data / f"{part}-labels-idx1-ubyte.gz", 1))


def to_tensor(pictures: UInt8) -> torch.Tensor:
    """Float32 [n, 1, 28, 28] in 0..1."""
    return torch.from_numpy(pictures[:, None].astype(np.float32) / 255)


def train_classifier(digits: Digits) -> nn.Module:
    """Train a convolutional network of about 210,000 weights on digits shifted by up to two pixels."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    first, second = (nn.Conv2d(*channels, 3, padding=1) for channels in ((1, 32), (32, 64)))
    body = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    network = nn.Sequential(*body, nn.Linear(64 * 49, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    steps = EPOCHS * -(-len(digits) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    labels = torch.from_numpy(digits.labels.astype(np.int64))
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(len(digits)), steps // EPOCHS):
            shifted = torch.roll(to_tensor(digits.pictures[batch]), tuple(rng.integers(-2, 3, 2).tolist()), (2, 3))
            loss = functional.cross_entropy(network(shifted), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, pictures: UInt8, labels: UInt8) -> float:
    """Correctly classified digits in percent."""
    found = torch.cat([network(part).argmax(dim=1) for part in to_tensor(pictures).split(1000)]).numpy()
    return 100 * float((found == labels).mean())


def generate(folder: Path, guidance: float) -> Digits:
    """Generate EACH digits of every class."""
    pictures, names = api.generate(10 * EACH, prior=folder / PRIOR, guidance=guidance)
    return Digits(pictures, np.array(names).astype(np.uint8))


def draw_reconstructions(test: Digits, coded: Reconstructions) -> None:
    """Write docs/mnist_digits.png: the first two test digits of each class, original and reconstructed."""
    chosen = np.concatenate([np.flatnonzero(test.labels == label)[:2] for label in range(10)])
    rows = [[row[number] for number in chosen] for row in (test.pictures, coded.vqvae.pictures, coded.vqgan.pictures)]
    studies.save_enlarged(studies.tile_rows(rows), ZOOM, DOCS / "mnist_digits.png")


def draw_generated(generated: Digits) -> None:
    """Write docs/mnist_generated.png: the first SHOWN digits of each class."""
    shown = np.concatenate([np.flatnonzero(generated.labels == label)[:SHOWN] for label in range(10)])
    sheet = generation.contact_sheet(generated.pictures[shown], [str(label) for label in generated.labels[shown]])
    studies.save_enlarged(sheet, ZOOM, DOCS / "mnist_generated.png")


def reconstruction_table(test: Digits, coded: Reconstructions, classifier: nn.Module) -> str:
    """Quality and size of the two models' files, and the size of lossless files."""
    rows = [("originals", "", "", f"{accuracy(classifier, test.pictures, test.labels):.2f} %")]
    for name, found in ((VQVAE, coded.vqvae), (VQGAN, coded.vqgan)):
        psnr, size = studies.psnr_db(test.pictures, found.pictures), found.sizes_bytes.mean()
        rows.append((name, f"{psnr:.2f}", f"{size:.1f}", f"{accuracy(classifier, np.stack(found.pictures), test.labels):.2f} %"))
    png = studies.mean_bytes(test.pictures, "PNG", optimize=True)
    webp = studies.mean_bytes(test.pictures, "WEBP", lossless=True, method=6)
    rows.append(("PNG (Pillow, optimised)", "lossless", f"{png:.1f}", ""))
    rows.append(("WebP (lossless, method 6)", "lossless", f"{webp:.1f}", ""))
    return markdown_table(("10,000 test digits", "PSNR, dB", "bytes per digit", "classified correctly"), rows)


def report(data: Path, folder: Path) -> None:
    """Write docs/mnist.md and its pictures."""
    test = read_digits(data, "t10k")
    classifier = train_classifier(read_digits(data, "train"))
    coded = Reconstructions(*(studies.code(test.pictures, folder / name) for name in (VQVAE, VQGAN)))
    assert np.array_equal(coded.vqvae.indices, coded.vqgan.indices), "only the decoder was trained on, so the indices are equal"
    generated = {guidance: generate(folder, guidance) for guidance in (0.0, 1.0)}
    readable = {guidance: accuracy(classifier, d.pictures, d.labels) for guidance, d in generated.items()}
    draw_reconstructions(test, coded)
    draw_generated(generated[1.0])
    facts, model = studies.read_facts(folder, RECIPE), registry.find_token(folder / VQVAE)
    parameters = ", ".join(f"{fact['parameters']:,} ({name})" for name, fact in facts.items())
    count, dim = model.codebook.shape
    indices = coded.vqvae.indices
    perplexity = studies.perplexity(indices)
    lines = [
        "# MNIST: a VQ-VAE, a VQGAN and a prior",
        f"{studies.origin('mnist.py')} The models are those of the commands at the end (`make mnist`); the training times include "
        "the effect of other work on the machine.",
        f"A cell has {model.side}x{model.side} pixels, a digit 4x4 cells; the codebook has K = {count} codewords of {dim} values. "
        f"The 10,000 test digits use {len(np.unique(indices))} of them with a perplexity of {perplexity:.0f}. "
        f"Training times: {studies.training_times(facts)}. Parameters: {parameters}. {VQGAN} is {VQVAE} with its decoder trained "
        "on against a discriminator, so both give the same tokens.",
        "![Test digits, their reconstructions by the VQ-VAE, and by the VQGAN](mnist_digits.png)",
        "Rows: originals, VQ-VAE, VQGAN; the first two test digits of each class.",
        reconstruction_table(test, coded, classifier),
        "PSNR is over the pixels of all digits together; sizes are those of whole files. Bar for the accuracy on reconstructions: "
        "97 %, goal 98.5 %.",
        "## Generated digits",
        f"`vqcodec generate -m {PRIOR} -n {10 * EACH} -o OUT` generates {EACH} digits of each class. The classifier recognises "
        f"**{readable[1.0]:.1f} %** (bar 90, goal 97) with the default guidance of 1, and {readable[0.0]:.1f} % without guidance, "
        f"which gives more varied digits. The prior needs {facts[PRIOR]['held_out_bits_per_token']:.2f} bits per token on held-out "
        f"training digits; the frequencies of the codewords alone need {np.log2(perplexity):.2f}.",
        "![Generated digits, a row for each class](mnist_generated.png)",
        f"The first {SHOWN} of each class, seed 0, temperature 1, guidance 1; not selected.",
    ]
    if studies.draw_curves(folder, RECIPE, DOCS / "mnist_curves.png"):
        lines += ["## Training", "![Curves of the three trainings](mnist_curves.png)"]
    lines += [studies.command_block(facts)]
    write_page("mnist.md", lines)


if __name__ == "__main__":
    arguments = studies.make_parser(__doc__, "folder with MNIST's four idx files").parse_args()
    if arguments.command == "train":
        studies.train(arguments.data / "train-images-idx3-ubyte.gz", arguments.folder, RECIPE)
    else:
        report(arguments.data, arguments.folder)
