"""The page of training: no torch for lite models, and options that reach the settings."""

import subprocess
import sys

import pytest

from helpers.processes import program_environment
from vqcodec.train.options import RefinerOptions, TokenOptions, command_options


def test_lite_training_needs_no_torch() -> None:
    program = "import sys; import vqcodec.train.lite; sys.exit('torch' in sys.modules or 'vqcodec.neural' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env=program_environment(), check=False).returncode == 0


def test_given_options_replace_settings_and_stand_in_the_command() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.refiner import RefinerSettings
    from vqcodec.neural.token import TokenSettings

    refiner = RefinerOptions(lambda_p=0.0, lambda_t=2.0, adaptive=True)
    settings = refiner.applied(RefinerSettings(steps=1))
    assert (settings.lambda_r, settings.lambda_p, settings.lambda_t, settings.adaptive) == (1.0, 0.0, 2.0, True)
    assert command_options(refiner) == {"lambda-p": 0.0, "adaptive": True, "lambda-t": 2.0}
    token = TokenOptions(cell=16, beta=0.5)
    assert token.applied(TokenSettings(steps=1)) == TokenSettings(steps=1, cell=16, beta=0.5)
    assert TokenOptions().applied(TokenSettings(steps=1)) == TokenSettings(steps=1)
