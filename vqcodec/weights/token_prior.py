"""Token priors: transformers that predict the tokens of a token model (codec/generation.py). No file names one. Tensors:

    prior.NAME           float16           weights of transformer.Transformer
    prior.picture        uint16 [3]        height, width and components of the pictures that it makes
    prior.token_id       uint8 [6]         what files of its token model have of that one's id

`labels` in its model.json are the names of its classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vqcodec.errors import ModelError
from vqcodec.format.container import ID_BYTES
from vqcodec.nets.transformer import Transformer
from vqcodec.weights.folder import SUMMARY, Weights, checking, read_weights
from vqcodec.weights.token import TokenModel


@dataclass(frozen=True, eq=False)
class TokenPrior(Weights):
    """A loaded token prior (generation.py)."""

    @cached_property
    def network(self) -> Transformer:
        return Transformer.from_tensors(self.tensors)

    @property
    def picture(self) -> tuple[int, int, int]:
        """Height, width and components of the pictures that it makes."""
        height, width, components = self.tensors["prior.picture"].tolist()
        return height, width, components

    @property
    def token_id(self) -> bytes:
        """The file id of its token model."""
        return self.tensors["prior.token_id"].tobytes()

    @property
    def labels(self) -> list[str]:
        """Names of its classes, in order; none where it knows no classes."""
        return self.summary.get("labels", [])

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and finite, and each class has a name."""
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
                raise ValueError(f"labels in {SUMMARY} are not a name for each class")

    def check_model(self, model: TokenModel) -> None:
        """Raise ModelError unless this is a prior for the tokens of `model`."""
        cells = tuple(-(-length // model.side) for length in self.picture[:2])
        fits = all(own <= most for own, most in zip(cells, self.network.grid, strict=True))
        if model.file_id != self.token_id or self.network.codewords != len(model.codebook):
            raise ModelError(f"token prior {self.name} is not one for token model {model.name}")
        if self.picture[2] > model.components or not fits:
            raise ModelError(f"token prior {self.name} makes pictures that it has no cells for")


def load_prior(folder: Path) -> TokenPrior:
    """Load and check the folder of a token prior; raises ModelError."""
    name, tensors, summary = read_weights(folder)
    if not any(tensor.startswith("prior.") for tensor in tensors):
        raise ModelError(f"{name} is no token prior, and this wants one (train --kind token-prior)")
    found = TokenPrior(name, tensors, summary)
    found.check()
    return found
