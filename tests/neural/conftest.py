"""Pictures that networks are trained on in tests."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def picture(samples: Path) -> np.ndarray:
    with Image.open(samples / "still_life.png") as image:
        return np.asarray(image.convert("RGB"))[60:260, 40:285]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, picture: np.ndarray) -> Path:
    """Four tiny pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        top, left = 48 * (number // 2), 96 * (number % 2)
        Image.fromarray(picture[top : top + 144, left : left + 144]).save(root / f"{number}.png")
    return root
