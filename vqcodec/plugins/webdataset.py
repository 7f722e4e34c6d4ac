"""Decoding of .vqz entries of WebDataset's shards: `.decode(VqzHandler())`."""

from __future__ import annotations

from typing import Any

from vqcodec import api, checks
from vqcodec.options import REFINES, SCALES, Refine, Scale


class VqzHandler:
    """A handler for `WebDataset.decode`: entries named .vqz become pixels, uint8 or uint16 [H, W] or [H, W, C]; others are left to
    the next handler.

    With `tensor` they become tensors [C, H, W], which needs torch. `scale` and `refine` are those of torch.VqzDataset.
    """

    def __init__(self, *, tensor: bool = False, scale: Scale = 1, refine: Refine = "none") -> None:
        self.tensor = checks.flag("tensor", tensor)
        self.scale, self.refine = checks.one_of("scale", scale, SCALES), checks.one_of("refine", refine, REFINES)

    def __call__(self, key: str, data: Any) -> Any:
        """The pixels of an entry; None for other kinds. Raises FormatError, ModelError."""
        if not key.lower().endswith(".vqz"):
            return None
        refine = "none" if self.scale > 1 else self.refine
        pixels = api.open_vqz(data).read(scale=self.scale, refine=refine, threads=1)  # type: ignore[arg-type]  # checked above
        if not self.tensor:
            return pixels
        from vqcodec.plugins.torch import to_tensor

        return to_tensor(pixels)
