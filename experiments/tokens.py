"""Trains a VQ-VAE, a VQGAN and a prior on small grey faces and shows what fails, for docs/tokens.md.

Command: `python experiments/tokens.py train|report ../shared/data/domains/faces_orl out/faces`

The faces are those of the Olivetti Research Laboratory, 88x112. With `--perceptual ../shared/data/perceptual` training uses LPIPS.
`train` uses the data folder's `train`: it trains the VQ-VAE, trains its decoder on with LPIPS and a discriminator, and trains the
prior. `report` writes docs/tokens.md and its pictures from these models and the folder's `test`, which has other people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import studies
from pages import DOCS, write_page
from PIL import Image

from vqcodec import api
from vqcodec.arrays import Bool, UInt8
from vqcodec.bench.report import markdown_table
from vqcodec.codec import inpainting
from vqcodec.weights import registry

VQVAE, VQGAN, PRIOR = "faces-vqvae", "faces-token", "faces-prior"
RECIPE = {
    VQVAE: ["--kind", "token", "--codewords", "256", "--batch", "32", "--steps", "2500"],
    VQGAN: f"--kind token --init {VQVAE} --parts decoder --batch 8 --lambda-p 1 --lambda-a 0.3 --adaptive --steps 600".split(),
    PRIOR: f"--kind token-prior --init {VQGAN} --steps 250".split(),
}
SHOWN, ZOOM = 8, 2
"""Faces in a row of the pictures, and their magnification."""
LOWEST = {"WEBP": {"quality": 0, "method": 6}, "JPEG": {"quality": 1, "optimize": True}}
"""Pillow's options for the smallest files at full size."""


@dataclass(frozen=True)
class Hole:
    """A face whose eyes are masked."""

    original: UInt8  # [h, w]
    mask: Bool  # [h, w], True over the eyes

    @property
    def pixels(self) -> UInt8:
        """The face, white under the mask."""
        return np.where(self.mask, np.uint8(255), self.original)


def mask_eyes(face: UInt8) -> Hole:
    height, width = face.shape
    mask = np.zeros(face.shape, np.bool_)
    mask[height * 3 // 8 : height * 9 // 16, width // 6 : width * 5 // 6] = True
    return Hole(face, mask)


def rms_inside(holes: Sequence[Hole], repaired: Sequence[UInt8]) -> float:
    """Root mean squared error under the masks, in grey levels."""
    squares = [np.square(np.subtract(h.original, r, dtype=np.float64))[h.mask] for h, r in zip(holes, repaired, strict=True)]
    return float(np.sqrt(np.mean(np.concatenate(squares))))


def fill_smoothly(hole: Hole) -> UInt8:
    """The face with its hole filled without a prior, from the border inwards."""
    filled = inpainting.membrane(hole.pixels[:, :, None].astype(np.float32), hole.mask)[:, :, 0]
    return np.where(hole.mask, filled, hole.pixels)


def report(data: Path, folder: Path) -> None:
    """Write docs/tokens.md and its pictures."""
    faces = [np.asarray(Image.open(path).convert("L")) for path in sorted((data / "test").iterdir())]
    facts, model = studies.read_facts(folder, RECIPE), registry.find_token(folder / VQVAE)
    coded = {name: studies.code(faces, folder / name) for name in (VQVAE, VQGAN)}
    rows = [(name, f"{studies.psnr_db(faces, c.pictures):.2f}", f"{c.sizes_bytes.mean():.0f}") for name, c in coded.items()]
    rows.append(("PNG (Pillow, optimised)", "lossless", f"{studies.mean_bytes(faces, 'PNG', optimize=True):.0f}"))
    for file_format, options in LOWEST.items():
        rows.append((f"{file_format}, lowest quality", "", f"{studies.mean_bytes(faces, file_format, **options):.0f}"))
    every = max(1, len(faces) // SHOWN)
    shown = [pictures[::every][:SHOWN] for pictures in (faces, *(c.pictures for c in coded.values()))]
    studies.save_enlarged(studies.tile_rows(shown), ZOOM, DOCS / "tokens_faces.png")
    generated, _ = api.generate(SHOWN, prior=folder / PRIOR)
    holes = [mask_eyes(face) for face in shown[0]]
    repaired = [api.repair(hole.pixels, hole.mask, prior=folder / PRIOR) for hole in holes]
    sheet = studies.tile_rows([list(generated)[: len(holes)], [hole.pixels for hole in holes], repaired])
    studies.save_enlarged(sheet, ZOOM, DOCS / "tokens_made.png")
    error, smooth_error = (rms_inside(holes, found) for found in (repaired, [fill_smoothly(hole) for hole in holes]))
    perplexity = studies.perplexity(coded[VQGAN].indices)
    lines = [
        "# Token models of faces",
        f"{studies.origin('tokens.py')} The models are those of the commands below, in `out/faces`; the training times include the "
        "effect of other work on the machine. MNIST's models are in [mnist.md](mnist.md).",
        f"Training set: {facts[VQVAE]['corpus']['trained_on']} faces of 88x112 pixels, of 34 people. Test set: {len(faces)} faces "
        f"of six other people. A cell has {model.side}x{model.side} pixels; the codebook has K = {len(model.codebook)} codewords, "
        f"with a perplexity of {perplexity:.0f} on the test faces. Training times: {studies.training_times(facts)}.",
        markdown_table(("test faces", "PSNR, dB", "bytes per face"), rows),
        "![Test faces, their VQ-VAE, and their VQGAN](tokens_faces.png)",
        "Rows: originals, VQ-VAE, VQGAN (the VQ-VAE with its decoder trained on with LPIPS and a discriminator); every "
        f"{every}th test face.",
        "![Generated faces; test faces with a hole; the same, repaired](tokens_made.png)",
        f"Rows: the first {SHOWN} faces of `generate`, seed 0; test faces with masked eyes; the same after `repair`. The prior "
        f"needs {facts[PRIOR]['held_out_bits_per_token']:.2f} bits per token on held-out faces; the frequencies of the codewords "
        f"alone need {np.log2(perplexity):.2f}. The root mean squared error inside the holes is {error:.1f} grey levels; for a "
        f"smooth filling without a prior it is {smooth_error:.1f}.",
    ]
    if studies.draw_curves(folder, RECIPE, DOCS / "tokens_curves.png"):
        lines += ["![Curves of the three trainings](tokens_curves.png)"]
    lines += [studies.command_block(facts), "## What fails", "Observations from looking at the pictures above.", REMARKS.strip()]
    write_page("tokens.md", lines)


REMARKS = """\
- **Generation.** One or two of eight generated faces could pass for a face. Outlines, hair and eyes are about where they belong,
  but the two sides do not match and mouths are broken. The training set is small (306 faces of 154 tokens each) and the prior
  had 250 steps; MNIST's prior had 54,000 digits of 16 tokens and 4000 steps.
- **Repair.** The hole is filled with something like eyes or glasses, blurred and unlike each other; there is no edge at the mask.
  A smooth filling has a lower squared error: invented eyes are not the original ones.
- **Unknown people.** The VQ-VAE keeps pose, hair and light. Expressions change (a smile becomes a closed mouth, an eye closes),
  and the person is not always recognisable. The VQGAN adds sharp eyes and skin texture, and sometimes a blotch. Do not use
  such files to identify people.
- **Beards, teeth, glasses.** Fine texture becomes a smear (VQ-VAE) or the wrong texture (VQGAN).
"""

if __name__ == "__main__":
    parser = studies.make_parser(__doc__, "folder with train and test")
    parser.add_argument("--perceptual", type=Path, help="folder of LPIPS's weights; without it, training uses gradient statistics")
    arguments = parser.parse_args()
    if arguments.command == "train":
        weights = [] if arguments.perceptual is None else ["--perceptual", str(arguments.perceptual)]
        studies.train(arguments.data / "train", arguments.folder, RECIPE | {VQGAN: RECIPE[VQGAN] + weights})
    else:
        report(arguments.data, arguments.folder)
