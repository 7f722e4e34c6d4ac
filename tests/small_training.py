"""`python -m small_training train ...` is `vqcodec train ...` with a synthesis of one narrow block on a few samples: seconds."""

import sys
from collections.abc import Callable
from functools import partial

from vqcodec.cli import main
from vqcodec.neural import synthesis
from vqcodec.train import neural


def make_small(patch: Callable[[object, str, object], None] = setattr) -> None:
    """Let `train` fit small networks; `patch` is setattr, or what undoes it later."""
    patch(synthesis, "SynthesisSettings", partial(synthesis.SynthesisSettings, width=16, blocks=1, batch=4, crop=12))
    patch(neural, "_MOST_SAMPLES", 2)


if __name__ == "__main__":
    make_small()
    sys.exit(main())
