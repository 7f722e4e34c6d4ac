"""The choice of a reconstruction by the option `refine`: plain (none), through the synthesis (best), then a refiner (gan)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vqcodec.arrays import Pixels
from vqcodec.codec import devices, reconstruction, sharpening
from vqcodec.codec.reconstruction import Plain, Reconstruction, Scaled
from vqcodec.codec.sharpening import Sharpener
from vqcodec.errors import ModelError
from vqcodec.format.header import Header
from vqcodec.options import DecodeOptions
from vqcodec.transform.rect import Rect
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.refiner import Refiner


def strength_of(options: DecodeOptions, header: Header) -> float:
    """The share 0..1 of a refiner's output that is added.

    It is 0 unless `refine` is "gan", for files of tokens or pixels, and where the plain decode is closer than the synthesis, as in
    flat graphics, which have no texture.
    """
    if options.refine != "gan" or header.tokens or not header.layers or header.best_is_plain:
        return 0.0
    return sharpening.default_strength(header.step_levels) if options.strength is None else options.strength


def uses_refiner(options: DecodeOptions, header: Header) -> bool:
    """Whether decoding with these options needs a refiner."""
    return strength_of(options, header) > 0


def choose(
    header: Header,
    model: ExactModel,
    options: DecodeOptions,
    *,
    region: Rect | None,
    opacity: Pixels | None,
    refiner: Refiner | None,
    tell: Callable[[str], None],
) -> Reconstruction:
    """The reconstruction that the options ask for. `tell` gets notes for the user. Raises ModelError, InputError."""
    if options.refine == "best" and model.synthesis is None:
        raise ModelError(f"model {model.name} has no synthesis network: refine is none or gan for its files")
    if options.scale > 1:
        return Scaled(header, model, options.scale, opacity)
    if options.refine == "none":
        return Plain(header, model, region)
    if options.refine == "gan" and header.best_is_plain:
        tell("no texture is added: the networks make this picture worse")
    strength, sharpener = strength_of(options, header), None
    if refiner is not None and strength > 0:
        if not np.array_equal(refiner.color, model.color):
            raise ModelError(f"refiner {refiner.name} works in other colours than model {model.name}")
        sharpener = Sharpener(refiner, strength, devices.runner(options.device, refiner, "refiner", refiner.network, tell))
    kind = reconstruction.synthesis_kind(header, model, sharpener)
    run = devices.runner(options.device, model, kind, model.syntheses.get(kind), tell)
    return reconstruction.best(header, model, region, run=run, sharpener=sharpener)
