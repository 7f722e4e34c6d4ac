"""Commands run in this process, and their results."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vqcodec.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command run in this process."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.glob(".*.tmp"))
