"""The networks run by torch: what `networks.correct` does in numpy, on a GPU or, to compare, on the CPU."""

from __future__ import annotations

import torch

from vqcodec.model import Weights
from vqcodec.networks import Correct, Floats
from vqcodec.neural.loop import check_device
from vqcodec.neural.synthesis import load_tensors


def correct_on(device: str, model: Weights, kind: str = "synthesis") -> Correct:
    """Runs the network `kind` of a model or a refiner on `device`, "cpu" or "cuda". Raises InputError where there is no such one.

    What comes back raises MemoryError where the device has too little.
    """
    check_device(device)
    network = load_tensors(model.tensors, kind).to(device).eval()

    def run(x: Floats) -> Floats:
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                found: Floats = network(torch.from_numpy(x)[None].to(device))[0].cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise MemoryError(f"{device} has too little memory") from error
        return found

    return run


def has_gpu() -> bool:
    return torch.cuda.is_available()
