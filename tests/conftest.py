"""What several tests share: where things are, small pictures, and the program run as a user runs it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Read when numpy and torch are imported. Matrices of tests are small, and threads that wait for each other take minutes where
# something else runs; tests of threads set these for programs that they start.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

settings.register_profile("untimed", deadline=None)  # no test measures time: others may use the machine
settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parent.parent
Program = Callable[..., "subprocess.CompletedProcess[bytes]"]
_LONG = ("test_train", "test_context", "test_neural", "test_codec")
"""Files that take longest: begun last, one would keep one process busy while the other has nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in _LONG)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample pictures."""
    return REPOSITORY / "samples"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The data folder beside the checkout; tests that want it are skipped without it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data beside the checkout")
    return folder


def smooth_picture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of soft gradients and a little noise: uint8 [height,width] or [height,width,3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + c) + c) + np.cos(y / (9 - c)) for c in range(channels)]
    picture = 128 + 45 * np.stack(waves, 2) + np.random.default_rng(seed).normal(0, 3, (height, width, channels))
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture[:, :, 0] if channels == 1 else picture


def random_context(seed: int = 0, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Tensors `context.*` of a small random network, within the bounds that a model must keep.

    Scores gain about `scale` classes, means about a third of a step times `scale`; with 0 they gain nothing.
    """
    from vqcodec.entropy import context
    from vqcodec.transform.layouts import COLOR_4X4

    random = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    widths, hidden, dc_hidden = (5, 4), 3, (6, 4)

    def add(name: str, shape: tuple[int, ...], spread: NDArray[np.float64] | float) -> None:
        """Inputs of 32 make sums of about `spread` * 32768; one for each output, or for all."""
        deviation = np.broadcast_to(spread, shape[-2])[:, None] * 1024 / np.sqrt(shape[-1])
        tensors[f"context.{name}"] = np.rint(random.normal(0, 1, shape) * deviation).astype(np.int16)

    def add_biased(name: str, shape: tuple[int, ...], spread: NDArray[np.float64] | float) -> None:
        add(name, shape, spread)
        bias = random.normal(0, 8192, shape[:-1]) * spread
        tensors[f"context.{name}_bias"] = np.rint(bias).astype(np.int32)

    def spread_of_outputs(count: int) -> NDArray[np.float64]:
        """Of the score and the means: a class is 16384, and so is a step."""
        return scale * np.array([1 / 2, *[1 / 6] * (count - 1)])

    tensors["context.shift"] = np.array([10], np.int16)
    for name, width, planes in zip(("luma", "chroma"), widths, (1, 2), strict=True):
        add(f"{name}.dc", (width, 48 * planes), 1.0)
        add(f"{name}.step", (width, 3), 0.5)
    for tile in COLOR_4X4.tiles:
        name, bank, outputs = f"tile.{tile.number:02d}", min(tile.component, 1), context.outputs_of(tile)
        add(f"{name}.state", (widths[bank], 2 * tile.size * len(context.taps_of(tile))), 0.25)
        add(f"{name}.own", (widths[bank], 8 * tile.size), 0.5)
        add_biased(f"{name}.hidden", (2, hidden, sum(widths[: bank + 1]) + 1 + tile.size), 1.0)
        add_biased(f"{name}.out", (2, outputs, hidden), spread_of_outputs(outputs))
    for name in context.dc_pass_names():
        first, second = dc_hidden
        add_biased(f"{name}.first", (first, context.dc_inputs_of(name)), 1.0)
        add_biased(f"{name}.second", (second, first), 1.0)
        add_biased(f"{name}.out", (2, second), spread_of_outputs(2))
    return tensors


def weights(
    width: int, blocks: int, scale: float, seed: int = 0, kind: str = "synthesis", ends: tuple[int, int] | None = None
) -> dict[str, np.ndarray]:
    """Tensors `synthesis.*`, `refiner.*` or, with inputs and outputs as `ends`, others, of a random network."""
    from vqcodec.nets import convolution

    rng = np.random.default_rng(seed)
    inputs, outputs = ends or (convolution.INPUTS[kind], convolution.OUTPUTS)
    shapes: dict[str, tuple[int, ...]] = {
        "head": (width, inputs),
        "depthwise": (blocks, width, 9),
        "expand": (blocks, 2 * width, width),
        "project": (blocks, width, 2 * width),
        "tail": (outputs, width),
    }
    shapes = {**shapes, **{f"{name}_bias": shape[:-1] for name, shape in shapes.items()}}
    return {f"{kind}.{name}": (scale * rng.standard_normal(shape)).astype(np.float16) for name, shape in shapes.items()}


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 48 x 40 colour PNG."""
    path = tmp_path / "photo.png"
    Image.fromarray(smooth_picture(40, 48)).save(path)
    return path


@pytest.fixture
def vqz(photo: Path) -> Path:
    """The photo, encoded."""
    import vqcodec

    path = photo.with_suffix(".vqz")
    path.write_bytes(vqcodec.encode(np.asarray(Image.open(photo))))
    return path


def program_command(*arguments: object) -> list[str]:
    """The command line that runs this checkout's vqcodec."""
    return [sys.executable, "-m", "vqcodec", *map(str, arguments)]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run vqcodec in a process of its own, in tmp_path: `program("info", path, stdin=b"")`."""

    def run(*arguments: object, stdin: bytes = b"", **options: object) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            program_command(*arguments),
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            timeout=60,
            env=program_environment(),
            check=False,
            **options,  # type: ignore[call-overload]  # options of any overload
        )

    return run


def as_of_a_terminal() -> None:
    """Set signals as a program has them that a terminal's shell begins: the tests may run in the background, or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def program_environment() -> dict[str, str]:
    """This process's environment, with the checkout importable from any folder."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}
