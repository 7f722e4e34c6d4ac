"""Figures about training and adapting models."""

import json
import shutil
import tempfile
from functools import partial
from pathlib import Path

from figures.common import DOMAINS, LITE, PHOTO, best_s, curve, load, vqz_points
from figures.programs import run_program
from vqcodec.bench.bdrate import bd_rate


def training(data: Path) -> None:
    """Wall time of training a model on 40 images."""
    for name in DOMAINS:
        with tempfile.TemporaryDirectory() as folder:
            images = Path(folder, "images")
            images.mkdir()
            for path in sorted((data / "domains" / name / "train").iterdir())[:40]:
                shutil.copy(path, images)
            seconds = best_s(lambda images=images: run_program("train", images, "-o", images.parent / "model"), 1)
            print(f"{name}: {seconds:.0f} s (bar 180)")


def own(data: Path) -> None:
    """BD-rate of a domain's own model, trained from photo-lite, against photo-lite."""
    for name in DOMAINS:
        with tempfile.TemporaryDirectory() as folder:
            _print_gain(data, name, Path(folder, name), ["--init", LITE], base=LITE, aims="bar 0, goal -5")


def adapted(data: Path) -> None:
    """BD-rate of photo after 20 minutes of adaptation to a domain, against photo."""
    for name in DOMAINS:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder, name)
            options = ["--kind", "neural", "--init", PHOTO, "--minutes", 20]
            _print_gain(data, name, model, options, base=PHOTO, aims="bar -6, goal -20")
            facts = json.loads((model / "model.json").read_text())
            tiles, synthesis = (facts.get(f"{part}_steps", "under 50") for part in ("tiles", "synthesis"))  # counted every 50
            before, after = facts["held_out_gain_db_before"], facts["held_out_gain_db"]
            print(f"  kept: {facts['kept']}; steps: context's tiles {tiles}, synthesis {synthesis}")
            print(f"  gain of the synthesis, held out: {before:+.3f} dB before, {after:+.3f} dB after")
            print(f"  {facts['seconds'] / 60:.0f} minutes with samples and codebooks")


def _print_gain(data: Path, domain: str, model: Path, options: list[object], *, base: str, aims: str) -> None:
    """Train a model on a domain and print its BD-rate against the model `base`."""
    source = data / "domains" / domain
    run_program("train", source / "train", "-o", model, *options)
    images = load(source / "test", DOMAINS[domain])
    gain = bd_rate(*(curve(partial(vqz_points, model=name), images) for name in (base, str(model))))
    print(f"{domain}, {len(images)} test images: {gain:+.1f} % ({aims})")
