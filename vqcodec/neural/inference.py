"""The synthesis run by torch: what `networks.correct` does in numpy, on a GPU or, to compare, on the CPU."""

from __future__ import annotations

import torch

from vqcodec.model import Model
from vqcodec.networks import Correct, Floats
from vqcodec.neural.loop import check_device
from vqcodec.neural.synthesis import load_tensors


def correct_on(device: str, model: Model) -> Correct:
    """Runs the model's synthesis on `device`, "cpu" or "cuda". Raises InputError where there is no such device."""
    check_device(device)
    network = load_tensors(model.tensors).to(device).eval()

    def run(x: Floats) -> Floats:
        with torch.inference_mode():
            found: Floats = network(torch.from_numpy(x)[None].to(device))[0].cpu().numpy()
        return found

    return run


def has_gpu() -> bool:
    return torch.cuda.is_available()
