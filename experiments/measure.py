"""Measures the figures of docs/results.md that `vqcodec bench` does not print; the figures are the functions in figures/.

Command: `python experiments/measure.py FIGURE ../shared/data`. `all` measures every figure but `adapted` and
`loading`, in under two hours.
"""

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path

from figures import bounds, control, decoders, kinds, loading, lossless, size, speed, training

from vqcodec.weights import registry

Figure = Callable[[Path], None]
"""Measures one figure on the data folder and prints it with its bar and goal."""
FIGURES: dict[str, Figure] = {
    figure.__name__: figure
    for figure in (
        size.overhead,
        size.crops,
        size.quality100,
        size.domains,
        size.models,
        size.photographs,
        kinds.kinds,
        kinds.screens,
        kinds.scans,
        lossless.lossless,
        lossless.lossless_speed,
        bounds.png,
        bounds.best,
        control.monotone,
        control.targets,
        control.effort,
        control.tune,
        speed.speed,
        speed.avif_speed,
        speed.parts,
        speed.process,
        speed.memory,
        training.training,
        training.own,
        training.adapted,
        decoders.network,
        decoders.gan,
        decoders.denoise,
        loading.loading,
    )
}
DATA = Path("../shared/data")
NOT_IN_ALL = ("adapted", "loading")
HEADING = "== "
"""Begins the line above the output of each figure: name, date, models."""


def title(figure: Figure) -> str:
    """The first line of a figure's docstring, without its full stop."""
    return (figure.__doc__ or "").split("\n")[0].rstrip(".")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="figures:\n" + "\n".join(f"  {name:<16}{title(figure)}" for name, figure in FIGURES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("figure", choices=[*FIGURES, "all"], metavar="FIGURE", help="one of the figures below, or all")
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=DATA,
        metavar="DATA",
        help=f"folder with kodak, photos, domains, graphics, odd and perceptual (default {DATA}); kinds does not need it",
    )
    arguments = parser.parse_args()
    names = [name for name in FIGURES if name not in NOT_IN_ALL] if arguments.figure == "all" else [arguments.figure]
    models = ", ".join(f"{name} {registry.find(name).id[:12]}" for name in ("photo", "photo-lite"))
    for name in names:
        print(f"{HEADING}{name}: {date.today()}, {models}", flush=True)
        FIGURES[name](arguments.data)


if __name__ == "__main__":
    main()
