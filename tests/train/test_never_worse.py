"""`train` never makes a worse model than the one it starts from, however few pictures there are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from vqcodec.train import lite, streams
from vqcodec.train.data import TrainingImage
from vqcodec.train.held_out import measure
from vqcodec.train.result import Plan
from vqcodec.train.settings import ExactSettings
from vqcodec.train.watch import Watch
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel

SMALL = ExactSettings(sweeps=1, small_files=60, few_files=20)
"""A fit of seconds, which is worse than a whole one: more must be refused."""
SIDE = 384
"""Three pictures of this side are just enough to train on."""


def crops(name: str, corners: list[tuple[int, int]], size: int) -> list[Image.Image]:
    with Image.open(REPOSITORY / "samples" / f"{name}.png") as image:
        return [image.convert("RGB").crop((left, top, left + size, top + size)) for left, top in corners]


@pytest.mark.slow
@pytest.mark.parametrize("kinds", fast_first([["landscape"], ["landscape", "still_life"]], 0))
def test_a_model_of_three_pictures_is_not_worse_on_others(
    kinds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of one kind, and of two: either nothing is written, or other pictures gain, too."""
    monkeypatch.setattr(streams, "MAP_SIZES", (12, 4))
    (tmp_path / "in").mkdir()
    found = [crop for name in kinds for crop in crops(name, [(0, 0), (200, 128), (384, 0)], SIDE)]
    for number, crop in enumerate(found[:: len(kinds)][:3]):
        crop.save(tmp_path / "in" / f"{number}.png")
    plans: list[Plan] = []
    trained = lite.train_lite(tmp_path / "in", tmp_path / "own", init="photo-lite", settings=SMALL, announce=plans.append)
    assert (plans[0].trained_on, plans[0].held_out) == (2, 1)
    assert len(trained.summary["candidates"]) > 1  # the base model, and what was tried
    assert trained.written == (tmp_path / "own").exists()
    if trained.written:
        base, own = registry.find("photo-lite"), ExactModel.load(tmp_path / "own")
        others = [TrainingImage(name, np.asarray(crop)) for name in kinds for crop in crops(name, [(100, 384), (600, 400)], 112)]
        costs = [measure(model, others, Watch()).mean_cost for model in (base, own)]
        assert costs[1] <= costs[0]
    else:
        assert "nothing was better" in trained.refusal or "not smaller" in trained.refusal
