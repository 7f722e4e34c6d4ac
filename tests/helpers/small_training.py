"""`python -m helpers.small_training train ...` runs `vqcodec train ...` with a synthesis network of one narrow block.

It takes seconds, and a few small pictures are enough.
"""

import sys
from collections.abc import Callable
from functools import partial

from vqcodec.cli.main import main
from vqcodec.neural import synthesis
from vqcodec.train import comparison, data, held_out, lite, stages


def let_few_pictures_be_enough(patch: Callable[[object, str, object], None] = setattr) -> None:
    """Let `train` accept few pixels and keep any gain, without a comparison with other formats. `patch` is setattr, or
    monkeypatch.setattr to undo it later."""
    patch(comparison, "PIXELS", 0)
    patch(comparison, "_LOOKED_AT", 0)
    for module, name in ((data, "LEAST_HELD_OUT"), (data, "LEAST_TRAINED_ON"), (held_out, "_STANDARD_ERRORS")):
        patch(module, name, 0)
    for module in (held_out, lite):
        patch(module, "FEWEST_PIECES", 2)


def make_small(patch: Callable[[object, str, object], None] = setattr) -> None:
    """Let `train` fit small networks. `patch` is setattr, or monkeypatch.setattr to undo it later."""
    patch(synthesis, "SynthesisSettings", partial(synthesis.SynthesisSettings, width=16, blocks=1, batch=4, crop=12))
    patch(stages, "_MOST_SAMPLES", 2)
    let_few_pictures_be_enough(patch)


if __name__ == "__main__":
    make_small()
    sys.exit(main())
