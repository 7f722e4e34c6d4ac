"""Data sets of .vqz files for PyTorch: VqzDataset, to be read by a DataLoader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from vqcodec import api, checks
from vqcodec.arrays import Pixels
from vqcodec.errors import InputError, printable
from vqcodec.options import REFINES, SCALES, Refine, Scale


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """Pixels as a tensor [C, H, W], uint8 or uint16."""
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1).contiguous()


class VqzDataset(Dataset[Any]):
    """The .vqz files of a folder and of its subfolders, sorted by name.

    An item is `transform(tensor)`, by default the tensor, uint8 or uint16 [C, H, W]; with `classes` it is a pair of that and the
    index of its class, which is the name of a subfolder of `folder`. `scale` 2, 4 or 8 decodes at 1/2, 1/4 or 1/8 of the size.
    `refine` "none" decodes fast and the same on every machine, "best" closer to the original.

    Only names are held, so workers may fork or spawn; a transform that is spawned must be importable. Each item is decoded on one
    core: `num_workers` sets how many are used. Raises InputError for a folder without files, and for a file beside the classes.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        scale: Scale = 1,
        refine: Refine = "none",
        transform: Callable[[torch.Tensor], Any] | None = None,
        classes: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.names = sorted(
            os.path.relpath(os.path.join(place, name), folder)
            for place, _, names in os.walk(folder)
            for name in names
            if name.lower().endswith(".vqz")
        )
        """Paths of the items below the folder."""
        if not self.names:
            raise InputError(f"{printable(self.folder)}: no .vqz files in it: vqcodec encode PICTURES OUT makes a folder of them")
        self.scale, self.refine = checks.one_of("scale", scale, SCALES), checks.one_of("refine", refine, REFINES)
        self.transform = transform
        self.classes = sorted({_class_of(name) for name in self.names}) if classes else []
        """Names of the classes; none without `classes`."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        """The item. Raises InputError, FormatError, ModelError, which name the file."""
        name = self.names[index]
        refine = "none" if self.scale > 1 else self.refine
        with api.open_vqz(self.folder / name) as file:
            tensor = to_tensor(file.read(scale=self.scale, refine=refine, threads=1))  # type: ignore[arg-type]  # checked above
        item = tensor if self.transform is None else self.transform(tensor)
        return (item, self.classes.index(_class_of(name))) if self.classes else item


def _class_of(name: str) -> str:
    """The first folder of a path below the data set's. Raises InputError for a file that is in none."""
    first, *rest = Path(name).parts
    if not rest:
        raise InputError(f"{printable(name)} is in no folder of a class: move it into one, or leave out classes=True")
    return first
