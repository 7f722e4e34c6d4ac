"""Untrained refiners and denoisers."""

from helpers.networks import random_network
from vqcodec.nets.synthesis import INPUTS, REFINER_OUTPUTS
from vqcodec.transform.color import OPPONENT
from vqcodec.weights.denoiser import Denoiser
from vqcodec.weights.refiner import Refiner


def random_refiner(scale: float = 0.15) -> Refiner:
    """An untrained refiner. What it adds is noise."""
    ends = INPUTS["refiner"], REFINER_OUTPUTS
    refiner = Refiner("test", {**random_network(6, 2, scale, kind="refiner", ends=ends), "color": OPPONENT})
    refiner.check()
    return refiner


REFINER = random_refiner()


def random_denoiser(scale: float = 0.1) -> Denoiser:
    """An untrained denoiser. It subtracts about as much as the noise, but not the noise."""
    denoiser = Denoiser(
        "test", {**random_network(6, 2, scale, kind="denoiser"), "color": OPPONENT}, {"name": "test", "kind": "denoiser"}
    )
    denoiser.check()
    return denoiser


DENOISER = random_denoiser()
