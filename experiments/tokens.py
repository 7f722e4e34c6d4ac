"""Token models of a second domain, 88x112 grey faces (Olivetti Research Laboratory): what they make, and what fails.

    python experiments/tokens.py train ../shared/data/domains/faces_orl out/faces --perceptual ../shared/data/perceptual
    python experiments/tokens.py report ../shared/data/domains/faces_orl out/faces

`train` makes a VQ-VAE, its decoder trained on against a discriminator and LPIPS, and a prior, from the folder's `train`; `report`
writes docs/tokens.md and its pictures from these models and the folder's `test`, which has other people.
"""

import argparse
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import studies
from PIL import Image
from studies import DOCS, Pixels

from vqcodec import api
from vqcodec.codec import inpainting
from vqcodec.weights import registry

VQVAE, VQGAN, PRIOR = "faces-vqvae", "faces-token", "faces-prior"
RECIPE = {
    VQVAE: ["--kind", "token", "--codewords", "256", "--batch", "32", "--steps", "2500"],
    VQGAN: f"--kind token --init {VQVAE} --parts decoder --batch 8 --lambda-p 1 --lambda-a 0.3 --adaptive --steps 600".split(),
    PRIOR: f"--kind token-prior --init {VQGAN} --steps 250".split(),
}
SHOWN, ZOOM = 8, 2
LOWEST = {"WEBP": {"quality": 0, "method": 6}, "JPEG": {"quality": 1, "optimize": True}}
"""The smallest files that Pillow makes of a picture at its full size."""


def masked(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """A face without its eyes, and the mask."""
    height, width = pixels.shape
    mask = np.zeros(pixels.shape, np.bool_)
    mask[height * 3 // 8 : height * 9 // 16, width // 6 : width * 5 // 6] = True
    return np.where(mask, np.uint8(255), pixels), mask


def rms_inside(faces: Sequence[Pixels], found: Sequence[Pixels], masks: Sequence[Pixels]) -> float:
    """Root mean squared error under masks, in grey levels."""
    squares = [np.square(np.subtract(a, b, dtype=np.float64))[m] for a, b, m in zip(faces, found, masks, strict=False)]
    return float(np.sqrt(np.mean(np.concatenate(squares))))


def report(data: Path, folder: Path) -> None:
    """docs/tokens.md, docs/tokens_faces.png, docs/tokens_made.png and docs/tokens_curves.png."""
    faces = [np.asarray(Image.open(path).convert("L")) for path in sorted((data / "test").iterdir())]
    facts, model = studies.facts_of(folder, RECIPE), registry.find_token(folder / VQVAE)
    rows = []
    decodes = {}
    for name in (VQVAE, VQGAN):
        decodes[name], sizes, indices = studies.coded(faces, folder / name)
        rows.append(f"| {name} | {studies.psnr_db(faces, decodes[name]):.2f} | {sizes.mean():.0f} |")
    rows.append(f"| PNG (Pillow, optimised) | lossless | {studies.mean_bytes(faces, 'PNG', optimize=True):.0f} |")
    for form, options in LOWEST.items():
        rows.append(f"| {form}, lowest quality | | {studies.mean_bytes(faces, form, **options):.0f} |")
    step = len(faces) // SHOWN
    shown = [faces[::step], *(decoded[::step] for decoded in decodes.values())]
    studies.enlarged(studies.rows_of([row[:SHOWN] for row in shown]), ZOOM, DOCS / "tokens_faces.png")
    made, _ = api.generate(SHOWN, prior=folder / PRIOR)
    holes = [masked(face) for face in faces[::step][:SHOWN]]
    mended = [api.repair(face, mask, prior=folder / PRIOR) for face, mask in holes]
    studies.enlarged(studies.rows_of([list(made), [face for face, _ in holes], mended]), ZOOM, DOCS / "tokens_made.png")
    smooth = [np.where(mask, inpainting.membrane(face[:, :, None].astype(np.float32), mask)[:, :, 0], face) for face, mask in holes]
    errors = [rms_inside(faces[::step], found, [mask for _, mask in holes]) for found in (mended, smooth)]
    alone, bits = np.log2(studies.perplexity(indices)), facts[PRIOR]["held_out_bits_per_token"]
    times = " + ".join(f"{fact['seconds']} s ({name})" for name, fact in facts.items())
    lines = [
        "# Token models of faces",
        f"Made by `experiments/tokens.py report`, {platform.system()} {platform.machine()}, {date.today()}, of models made by the "
        "commands below, in `out/faces`; seconds are as the machine was then, with whatever else it did. MNIST's are in "
        "[mnist.md](mnist.md).",
        f"{facts[VQVAE]['corpus']['trained_on']} faces of 88x112 to learn from, of 34 people, and {len(faces)} of six others to "
        f"test. Cells of {model.side}x{model.side} pixels, K = {len(model.codebook)}, a perplexity of {2**alone:.0f} on the test "
        f"faces; training took {times}.",
        "| the test faces | PSNR, dB | bytes a face |\n|---|---:|---:|\n" + "\n".join(rows),
        "![Test faces, their VQ-VAE, and their VQGAN](tokens_faces.png)",
        "Rows: originals, VQ-VAE, VQGAN (its decoder alone trained on, for LPIPS and against a discriminator); every "
        f"{step}th test face.",
        "![Generated faces; test faces with a hole; the same, repaired](tokens_made.png)",
        f"Rows: the first {SHOWN} that `generate` makes, seed 0; test faces without eyes; these after `repair`. The prior needs "
        f"{bits:.2f} bits a token of held-out faces, how likely each codeword is by itself {alone:.2f}. Inside the holes the root "
        f"mean squared error is {errors[0]:.1f} grey levels, that of a smooth filling without a prior {errors[1]:.1f}.",
    ]
    if studies.draw_curves(folder, RECIPE, DOCS / "tokens_curves.png"):
        lines += ["![Curves of the three trainings](tokens_curves.png)"]
    lines += [studies.commands(facts), "## What fails", "By hand, after looking at the pictures above.", REMARKS.strip()]
    (DOCS / "tokens.md").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


REMARKS = """\
- **Generation.** Of eight generated faces one or two could pass for a face: outlines, hair and eyes are about where they
  belong, but sides do not match and mouths are broken. 306 faces for 154 tokens each are few, and the prior had 250 steps;
  MNIST's had 54,000 digits of 16 tokens, and 4000.
- **Repair.** Something like eyes or glasses comes where eyes were, blurred and unlike each other, and at the mask no edge
  shows. By squared error a smooth filling is nearer to the original: what is made up is not what was there.
- **People it has not seen.** The VQ-VAE keeps pose, hair and light; expressions change (a smile becomes a closed mouth, an eye
  closes), and one would not always know the person again. The VQGAN adds sharp eyes and grain of skin, and now and then a
  blotch. Nobody should tell people apart by such files.
- **Beards, teeth, glasses.** Fine texture becomes a smear (VQ-VAE) or the wrong texture (VQGAN).
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["train", "report"])
    parser.add_argument("data", type=Path, help="the folder with train and test")
    parser.add_argument("folder", type=Path, help="of the models")
    parser.add_argument("--perceptual", type=Path, help="LPIPS's weights; without them, statistics of gradients")
    given = parser.parse_args()
    if given.command == "train":
        weights = [] if given.perceptual is None else ["--perceptual", str(given.perceptual)]
        studies.train(given.data / "train", given.folder, RECIPE | {VQGAN: RECIPE[VQGAN] + weights})
    else:
        report(given.data, given.folder)
