"""Data sets of .vqz files and packs for PyTorch: VqzDataset, to be read by a DataLoader."""

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


class _Folder:
    """The .vqz files of a folder and of its subfolders; names are paths below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names if name.lower().endswith(".vqz"))
        self.names = sorted(path.relative_to(folder).as_posix() for path in paths)

    def read(self, name: str, scale: Scale, refine: Refine) -> Pixels:
        with api.open_vqz(self._folder / name) as file:
            return file.read(scale=scale, refine=refine, threads=1)


class _Pack:
    """The pictures of a pack, which each process opens for itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: tuple[int, api.Pack] | None = None  # with the process that opened it
        self.names = self._pack().names

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def read(self, name: str, scale: Scale, refine: Refine) -> Pixels:
        if scale == 1:
            return self._pack().read(name, refine=refine, threads=1)
        return self._pack().file(name).read(scale=scale, refine=refine, threads=1)

    def _pack(self) -> api.Pack:
        if self._opened is None or self._opened[0] != os.getpid():  # a fork shares the position in the file
            self._opened = os.getpid(), api.open_pack(self._path)
        return self._opened[1]


class VqzDataset(Dataset[Any]):
    """The .vqz files of a folder and of its subfolders, or the pictures of a pack, sorted by name.

    An item is `transform(tensor)`, by default the tensor, uint8 or uint16 [C, H, W]; with `classes` it is a pair of that and the
    index of its class, which is the first folder of its name. `scale` 2, 4 or 8 decodes at 1/2, 1/4 or 1/8 of the size. `refine`
    "none" decodes fast and the same on every machine, "best" closer to the original.

    Workers may fork or spawn; a transform that is spawned must be importable. Each item is decoded on one core: `num_workers` sets
    how many are used. Raises InputError for a source without pictures, and for a picture that is in no class.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        scale: Scale = 1,
        refine: Refine = "none",
        transform: Callable[[torch.Tensor], Any] | None = None,
        classes: bool = False,
    ) -> None:
        path = Path(source)
        self._source = _Pack(path) if path.is_file() else _Folder(path)
        self.names = self._source.names
        """Names of the pictures, paths below the folder."""
        if not self.names:
            raise InputError(f"{printable(path)}: no .vqz files in it: vqcodec encode PICTURES OUT makes a folder of them")
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
        tensor = to_tensor(self._source.read(name, self.scale, refine))  # type: ignore[arg-type]  # checked above
        item = tensor if self.transform is None else self.transform(tensor)
        return (item, self.classes.index(_class_of(name))) if self.classes else item


def _class_of(name: str) -> str:
    """The first folder of a picture's name. Raises InputError for one without."""
    first, *rest = name.split("/")
    if not rest:
        raise InputError(f"{printable(name)} is in no folder of a class: move it into one, or leave out classes=True")
    return first
