"""Token priors: transformers that predict the tokens of a token model (codec/generation.py). Files do not refer to them.

    prior.NAME           float16           weights of transformer.Transformer
    prior.picture        uint16 [3]        height, width and components of the pictures that it generates
    prior.token_id       uint8 [6]         file id of its token model

`labels` in model.json are the names of its classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from vqcodec.errors import ModelError
from vqcodec.format.container import ID_BYTES
from vqcodec.nets.transformer import Transformer
from vqcodec.weights.folder import SUMMARY, Weights, checking
from vqcodec.weights.token import TokenModel


class PictureShape(NamedTuple):
    """Height and width in pixels, and components (1 or 3)."""

    height: int
    width: int
    components: int


@dataclass(frozen=True, eq=False)
class TokenPrior(Weights):
    """A loaded token prior."""

    noun: ClassVar[str] = "a token prior"

    @cached_property
    def network(self) -> Transformer:
        return Transformer.from_tensors(self.tensors)

    @property
    def picture(self) -> PictureShape:
        """Shape of the pictures that it generates."""
        return PictureShape(*self.tensors["prior.picture"].tolist())

    @property
    def token_id(self) -> bytes:
        """The file id of its token model."""
        return self.tensors["prior.token_id"].tobytes()

    @property
    def labels(self) -> list[str]:
        """Names of its classes, in order; empty for a prior without classes."""
        return self.summary.get("labels", [])

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and finite, and each class has a name."""
        if not any(tensor.startswith("prior.") for tensor in self.tensors):
            raise ModelError(f"{self.name} is not a token prior (train --kind token-prior makes one)")
        with checking("token prior", self.tensors):
            _ = self.network
            picture, token_id, labels = self.tensors["prior.picture"], self.tensors["prior.token_id"], self.labels
            if picture.dtype != np.uint16 or picture.shape != (3,) or not picture.all() or picture[2] not in (1, 3):
                raise ValueError("prior.picture is wrong")
            if token_id.dtype != np.uint8 or token_id.shape != (ID_BYTES,):
                raise ValueError("prior.token_id is wrong")
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise ValueError(f"labels in {SUMMARY} are not names")
            if len(labels) != self.network.classes or len(set(labels)) != len(labels):
                raise ValueError(f"labels in {SUMMARY} are not one name for each class")

    def check_model(self, model: TokenModel) -> None:
        """Raise ModelError unless this is a prior for the tokens of `model`."""
        picture, grid = self.picture, self.network.grid
        fits = -(-picture.height // model.side) <= grid.rows and -(-picture.width // model.side) <= grid.columns
        if model.file_id != self.token_id or self.network.codewords != len(model.codebook):
            raise ModelError(f"token prior {self.name} was not trained for token model {model.name}")
        if picture.components > model.components or not fits:
            raise ModelError(f"token prior {self.name} generates pictures that its grid or token model cannot hold")
