"""`vqcodec train --kind token`."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from helpers.token_models import DIGITS
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.errors import ModelError
from vqcodec.weights import registry
from vqcodec.weights.kinds import load_file_model
from vqcodec.weights.token import TokenModel


@pytest.mark.slow
def test_the_command_trains_one(digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.train import token

    monkeypatch.setattr(token, "TokenSettings", partial(token.TokenSettings, batch=8, width=16, blocks=1))
    output, log = digits.with_name("words"), digits.with_name("log.jsonl")
    options = ["--kind", "token", "--steps", "50", "--codewords", "8", "--beta", "0.5", "--cell", "16", "--lambda-c", "2"]
    assert main(["train", str(digits), "-o", str(output), *options, "--log", str(log)]) == 0, capsys.readouterr().err
    model, summary = load_file_model(output), json.loads((output / "model.json").read_text())
    assert isinstance(model, TokenModel)
    assert (model.side, model.components, len(model.codebook), model.bits) == (16, 1, 8, 3)
    assert summary["id"] == model.id
    assert summary["kind"] == "token"
    assert "--cell 16 --codewords 8 --beta 0.5" in summary["command"]
    assert "--lambda-c 2.0" in summary["command"]
    assert {"held_out_psnr_db", "held_out_bytes", "perplexity", "used"} < set(summary)
    _, line, _ = map(json.loads, log.read_text().splitlines())  # between the plan and the result
    assert {"part", "loss", "reconstruction", "commitment", "perplexity", "used", "step", "seconds"} < set(line)
    assert not list(digits.parent.glob("*.checkpoint"))
    data = api.encode(DIGITS[0], model=output)
    assert len(data) <= 26
    assert np.abs(api.decode(data, model=output).astype(int) - DIGITS[0, :, :, 0]).mean() < 100
    with pytest.raises(ModelError, match="is a token model"):
        registry.find(output)


def test_training_continues_only_from_token_models(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert main(["train", str(photo), "-o", str(photo.with_name("out")), "--kind", "token", "--init", "photo"]) == 4
    assert "photo is a lite or neural model, not a token model" in capsys.readouterr().err
