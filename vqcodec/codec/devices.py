"""Devices for networks: numpy on the CPU, or torch on a GPU. torch takes seconds to import: it is imported on request only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType

from vqcodec.errors import MissingExtraError
from vqcodec.nets.convolution import ConvNetwork, RunNetwork, run_network, with_memory_fallback
from vqcodec.options import Device
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Weights


def _inference(device: Device) -> ModuleType | None:
    """The torch inference module, or None for numpy. Raises MissingExtraError."""
    if device == "cpu":
        return None
    try:
        from vqcodec.neural import inference
    except ImportError as error:
        if device == "auto":
            return None
        raise MissingExtraError("decoding on a GPU needs torch: pip install 'vqcodec[neural]'") from error
    return None if device == "auto" and not inference.has_gpu() else inference


def model_on(device: Device, model: ExactModel) -> ExactModel:
    """The model with its context network on a device; the same integers come out. Raises InputError, MissingExtraError."""
    inference = None if model.context is None else _inference(device)
    moved: ExactModel = model if inference is None else inference.model_on("cuda", model)
    return moved


def runner(
    device: Device, weights: Weights, kind: str, network: ConvNetwork | None, tell: Callable[[str], None]
) -> RunNetwork | None:
    """A function that runs the network `kind` of a model on a GPU; None: numpy runs it, or there is no network.

    If the GPU has too little memory, it runs smaller strips, and at last numpy; `tell` gets a note. Raises InputError,
    MissingExtraError.
    """
    inference = None if network is None else _inference(device)
    if inference is None or network is None:
        return None
    return with_memory_fallback(inference.run_network_on("cuda", weights, kind), partial(run_network, network), network.halo, tell)
