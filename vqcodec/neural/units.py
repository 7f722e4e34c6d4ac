"""The units of networks in exact integers (entropy/layers.py) in torch, on the scale where 32 is 1.0."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vqcodec.entropy.layers import UNIT_MAX
from vqcodec.neural.context_samples import ONE


class _Unit(torch.autograd.Function):
    """`unit` of entropy/layers.py on the scale where 32 is 1.0; the gradient passes straight through the rounding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.float().mul(ONE).floor_().clamp_(0, UNIT_MAX).mul_(1 / ONE)  # in place: passes over memory are what takes time

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, 0.0, UNIT_MAX / ONE)


def unit(x: Tensor) -> Tensor:
    """Units of the layers that hold integers later."""
    result: Tensor = _Unit.apply(x)  # type: ignore[no-untyped-call]  # torch has no type for it
    return result.to(product_type(x))  # once for all products of the same units


def product_type(x: Tensor) -> torch.dtype:
    """The type in which `functional.linear` multiplies here."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
