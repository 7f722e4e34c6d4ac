"""Token models that continue: perceptual and adversarial losses, training of the decoder alone, and the command."""

import gzip
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.token_models import COLOR, DIGITS, GREY, idx_bytes
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import tokens
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model
from vqcodec.weights.token import TokenModel

torch = pytest.importorskip("torch", reason="torch is not installed")

from vqcodec.neural import adversary, token  # noqa: E402  # all of these need it
from vqcodec.neural.loop import LoopOptions, Report, descend  # noqa: E402
from vqcodec.neural.perceptual import GradientStatistics  # noqa: E402
from vqcodec.train.data import TrainingImage  # noqa: E402
from vqcodec.train.token import check_sides, continued, score_files, sheet, statistics, whole_cells  # noqa: E402

PICTURES = [whole_cells(pixels, 8, 1) for pixels in DIGITS]
SCALING = statistics(PICTURES, 8)
Tensors = dict[str, np.ndarray]
small = partial(token.TokenSettings, batch=8, width=16, blocks=1, codewords=8, dim=4)
fit = partial(token.fit_tokens, PICTURES, SCALING, score=lambda found: {})


@pytest.fixture(scope="module")
def trained() -> Tensors:
    """The tensors of a model of 8 codewords, after a few steps."""
    return fit(small(steps=20))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """An idx file of pictures."""
    path = tmp_path / "few-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(DIGITS[:, :, :, 0])))
    return path


@pytest.fixture
def installed(tmp_path: Path, trained: Tensors, monkeypatch: pytest.MonkeyPatch) -> TokenModel:
    """The trained model, installed as `words`."""
    tensors = {**trained, "color": OPPONENT, "token.mean": SCALING.mean, "token.scale": SCALING.scale}
    save_model(tmp_path / "models" / "words", TokenModel("words", tensors, {"name": "words", "kind": "token"}))
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path / "models"))
    return registry.find_token("words")


# ------------------------------------------------------------------------------------------------ losses in pixels


@pytest.mark.parametrize("model", [COLOR, GREY], ids=["colour", "grey"])
def test_training_sees_the_pictures_that_decoding_makes(model: TokenModel) -> None:
    """Torch and numpy make the same pixels from the decoder's coefficients, up to rounding."""
    indices = np.random.default_rng(0).integers(0, len(model.codebook), (3, 4)).astype(np.uint16)
    wanted = tokens.decode(indices, model, (3 * model.side, 4 * model.side, model.components))
    network = token.TokenNetwork(small(steps=1, codewords=len(model.codebook)), model.channels)
    network.load(model.tensors)
    with torch.no_grad():
        words = network.quantiser.words[torch.from_numpy(indices.astype(np.int64))][None]
        found = token.Cells(token.Scaling(model.mean, model.scale)).pictures(network.decoded(words))[0]
    assert np.abs(255 * found.permute(1, 2, 0).numpy() - wanted).max() < 0.6
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_gradient_statistics_of_small_crops(side: int) -> None:
    """Scales without a whole window are left out."""
    rng = np.random.default_rng(0)
    one, other = (torch.from_numpy(rng.random((2, 3, side, side)).astype(np.float32)) for _ in range(2))
    found = GradientStatistics()(one, other)
    assert torch.isfinite(found).all()
    assert (found > 0).all() == (side > 8)


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [1, 7])
def test_a_discriminator_learns_for_any_number_of_planes(inputs: int) -> None:
    torch.manual_seed(0)
    discriminator = adversary.Discriminator(inputs)
    optimiser = torch.optim.Adam(discriminator.parameters(), 1e-3, adversary.BETAS)
    flat, noisy = torch.zeros(2, inputs, 32, 32), torch.randn(2, inputs, 32, 32)
    assert [out.shape for out in discriminator(flat)] == [(2, 1, 8, 8), (2, 1, 4, 4)]
    facts = [adversary.discriminator_step(discriminator, optimiser, flat, noisy) for _ in range(12)]
    assert facts[-1]["accuracy"] > 0.9
    assert facts[-1]["discriminator_loss"] < 0.7 * facts[0]["discriminator_loss"]
    assert adversary.adversarial_loss(discriminator, flat) < adversary.adversarial_loss(discriminator, noisy)


def test_errors_count_as_they_do_in_pixels() -> None:
    """Errors are relative to the variance: twice the deviation counts four times."""
    scale = np.linspace(1, 3, 64).astype(np.float32)
    cells, errors = token.Cells(token.Scaling(np.zeros(64, np.float32), scale)), torch.zeros(2, 64, 3, 4)
    for channel in (5, 60):
        errors[channel % 2, channel] = 1
        assert float(cells.lost(errors)) == pytest.approx(scale[channel] ** 2 / np.square(scale).sum() / 2, rel=1e-4)
        errors.zero_()


def test_coefficients_are_measured_to_be_of_unit_variance() -> None:
    x = np.concatenate([tokens.forward(pixels, 8, OPPONENT).reshape(64, -1) for pixels in PICTURES], axis=1)
    standard = (x - SCALING.mean[:, None]) / SCALING.scale[:, None]
    np.testing.assert_allclose(standard.mean(axis=1), 0, atol=1e-3)
    varying = x.std(axis=1) > 1
    assert varying.sum() > 20
    np.testing.assert_allclose(standard[varying].std(axis=1), 1, rtol=1e-3)
    assert (SCALING.scale >= 0.5).all()


# ------------------------------------------------------------------------------------------------ training


@pytest.mark.slow
@pytest.mark.parametrize("adaptive", [False, True])
def test_only_the_decoder_learns_against_a_discriminator(trained: Tensors, adaptive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "EVERY", 2)
    monkeypatch.setattr(token, "SCORED", 2)
    seen: list[dict[str, float]] = []
    shown: list[int] = []
    settings = small(steps=4, frozen=True, lambda_p=1.0, lambda_a=0.5, adaptive=adaptive, ramp=0.5)
    found = fit(settings, LoopOptions(report=seen.append), start=trained, show=lambda step, tensors: shown.append(step))
    wanted = {"loss", "reconstruction", "commitment", "perceptual", "adversarial", "discriminator_loss", "accuracy", "perplexity"}
    assert wanted < set(seen[0])
    assert all(np.isfinite(value) for facts in seen for value in facts.values())
    assert shown == [4]
    assert found.keys() == trained.keys()
    changed = {name for name, array in found.items() if (array != trained[name]).any()}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)
    assert all(np.isfinite(array).all() for array in found.values())


def test_the_adversarial_weight_rises_and_each_line_counts_its_own_codewords(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[float] = []
    seen: list[dict[str, float]] = []

    def step(players: token.Players, pixels: torch.Tensor, adversarial: float) -> token.StepResult:
        heard.append(adversarial)
        indices = torch.full((8,), len(heard) > 5, dtype=torch.int64)
        return token.StepResult({"loss": torch.zeros(())}, torch.zeros(8, 4), indices)

    monkeypatch.setattr(token, "EVERY", 5)
    monkeypatch.setattr(token, "training_step", step)
    fit(small(steps=10, lambda_a=2.0, ramp=0.4), LoopOptions(report=seen.append))
    assert heard == pytest.approx([0, 0.5, 1, 1.5, *[2] * 6])
    assert [(facts["used"], facts["perplexity"]) for facts in seen] == [(1, 1), (1, 1)]


def test_the_same_seed_makes_the_same_model() -> None:
    one, again, other = (fit(small(steps=1, seed=seed)) for seed in (3, 3, 4))
    for name, array in one.items():
        np.testing.assert_array_equal(array, again[name])
    assert all((one[name] != other[name]).any() for name in ("encoder.head", "decoder.head", "token.words"))


def test_gradients_are_clipped_and_so_is_the_adaptive_weight() -> None:
    network = torch.nn.Linear(2, 1)
    before = network.weight.detach().clone()
    optimiser = torch.optim.SGD(network.parameters(), 1.0)
    descend(network, optimiser, 1e6 * network(torch.ones(1, 2)).sum())
    assert 0.5 < float((network.weight.detach() - before).norm()) <= 1
    generator = adversary.ConvNetwork(4, 1, ends=(3, 2))
    out = generator(torch.ones(1, 3, 2, 2)).sum()
    assert float(adversary.adaptive_weight(1e9 * out, 0 * out, generator)) == 1e4
    assert float(adversary.adaptive_weight(out, out, generator)) == pytest.approx(1, rel=1e-3)


@pytest.mark.slow
def test_all_parts_learn_unless_frozen(trained: Tensors) -> None:
    found = fit(small(steps=4, lambda_p=1.0, lambda_a=0.5), start=trained)
    for kind in ("encoder.", "decoder.", "token.words"):
        assert any((array != trained[name]).any() for name, array in found.items() if name.startswith(kind))


@pytest.mark.slow
def test_a_continued_training_starts_from_the_previous_one(trained: Tensors) -> None:
    """After one step at almost zero learning rate the networks are the same and codewords have hardly moved."""
    found = fit(small(steps=1), start=trained)
    for name, array in trained.items():
        np.testing.assert_allclose(found[name], array, atol=0.05 if name == "token.words" else 2e-3, err_msg=name)
    again = fit(small(steps=40), start=trained)
    assert any(np.abs(again[name] - array).max() > 0.02 for name, array in trained.items())


@pytest.mark.slow
def test_training_continues_from_a_checkpoint_with_its_discriminator(
    trained: Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token, "EVERY", 2)

    def train(report: Report) -> None:
        options = LoopOptions(checkpoint=tmp_path / "checkpoint", report=report)
        fit(small(steps=4, lambda_a=0.5), options, start=trained)

    def stop(facts: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    assert "discriminator" in torch.load(tmp_path / "checkpoint", weights_only=True)
    seen: list[dict[str, float]] = []
    train(seen.append)
    assert [facts["step"] for facts in seen] == [4]


def test_a_continued_training_keeps_the_sizes_of_its_model(installed: TokenModel) -> None:
    settings = continued(token.TokenSettings(steps=1, rate=2e-3), installed)
    assert (settings.cell, settings.codewords, settings.dim, settings.width, settings.blocks) == (8, 8, 4, 16, 1)
    assert settings.rate == 1e-3
    assert not settings.cosine
    words = installed.codebook / np.linalg.norm(installed.codebook.astype(np.float32), axis=1, keepdims=True)
    unit = TokenModel("unit", installed.tensors | {"token.words": words.astype(np.float16)})
    assert continued(settings, unit).cosine


# ------------------------------------------------------------------------------------------------ the program


def test_the_command_continues_from_a_model(
    digits: Path, installed: TokenModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(token, "EVERY", 2)
    monkeypatch.setattr(token, "SCORED", 1)
    output, log, sheets = (digits.with_name(name) for name in ("sharp", "log.jsonl", "sheets"))
    given = ["--kind", "token", "--init", "words", "--parts", "decoder", "--steps", "2", "--batch", "4", "--lambda-p", "1"]
    given += ["--lambda-a", "0.5", "--log", str(log), "--sheets", str(sheets)]
    assert main(["train", str(digits), "-o", str(output), *given]) == 0, capsys.readouterr().err
    summary, model = json.loads((output / "model.json").read_text()), registry.find_token(output)
    assert "--init words" in summary["command"]
    assert "--parts decoder" in summary["command"]
    assert "--batch 4" in summary["command"]
    assert "--lambda-a 0.5" in summary["command"]
    assert summary["init_id"] == installed.id != model.id == summary["id"]
    _, line, _ = map(json.loads, log.read_text().splitlines())  # between the plan and the result
    assert {"adversarial", "perceptual", "accuracy", "perplexity", "used", "held_out_psnr_db"} < set(line)
    with Image.open(sheets / "000002.png") as image:
        assert image.size == (2 * 28, 2 * 28)  # two held-out digits
    for pixels in DIGITS[:4]:
        np.testing.assert_array_equal(tokens.encode(pixels, model), tokens.encode(pixels, installed))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--init", "words", "--cell", "8"], 2, "are fixed by the model that --init names"),
        (["--init", "words", "--codewords", "8"], 2, "are fixed by the model that --init names"),
        (["--init", "words", "--cosine"], 2, "are fixed by the model that --init names"),
        (["--parts", "decoder"], 2, "--parts decoder continues a token model: name it by --init"),
        (["--init", "words", "--parts", "encoder"], 2, "which must be trained with its codebook"),
        (["--init", "words", "--parts", "context"], 2, "'context' is not a network of --kind token: choose from encoder, decoder"),
        (["--init", "photo-lite"], 4, "photo-lite is a lite or neural model, not a token model"),
        (["--init", "words", "--steps", "1"], 3, "token model words is for grey pictures"),
        (["--steps", "1", "--perceptual", "LPIPS"], 3, "no weights of a perceptual loss"),
    ],
)
@pytest.mark.usefixtures("installed")
def test_impossible_requests_are_errors_of_one_line(
    words: list[str], code: int, message: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(photo), "-o", str(photo.with_name("output")), "--kind", "token", *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(photo.parent.glob("output*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "lite", "--parts", "encoder"], "--parts: only for --kind neural, token"),
        (["--sheets", "x"], "--sheets: only for --kind refiner, token"),
        (["--kind", "neural", "--parts", "decoder"], "'decoder' is not a network of --kind neural"),
        (["--kind", "neural", "--batch", "3"], "--batch: only for --kind token"),
    ],
)
def test_options_of_other_kinds_are_refused(
    words: list[str], message: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(photo), "-o", str(photo.with_name("output")), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_sheet_has_the_middles_of_pictures_beside_their_decodes(installed: TokenModel) -> None:
    images = [TrainingImage("wide", np.tile(DIGITS[0], (2, 3, 1))), TrainingImage("digit", DIGITS[1])]
    found = sheet(installed, images)
    assert found.shape == (2 * 28, 2 * 28, 3)
    np.testing.assert_array_equal(found[28:, :28], np.broadcast_to(DIGITS[1], (28, 28, 3)))
    decoded = tokens.decode(tokens.encode(DIGITS[1], installed), installed, DIGITS[1].shape)
    np.testing.assert_array_equal(found[28:, 28:], np.broadcast_to(decoded, (28, 28, 3)))


def test_scores_use_all_pixels_together_and_whole_files(installed: TokenModel) -> None:
    images = [TrainingImage("wide", np.tile(DIGITS[0], (2, 3, 1))), TrainingImage("digit", DIGITS[1])]
    found = score_files(installed, images, None)
    files = [api.encode(image.pixels[:, :, 0], model=installed) for image in images]
    squares = [
        np.square(api.decode(data, model=installed).astype(float) - image.pixels[:, :, 0]).ravel()
        for data, image in zip(files, images, strict=True)
    ]
    assert found["held_out_psnr_db"] == pytest.approx(10 * np.log10(255**2 / np.concatenate(squares).mean()))
    assert found["held_out_bytes"] == np.mean([len(data) for data in files])


def test_lpips_is_recorded_and_needs_32_pixels(
    shared_data: Path, digits: Path, installed: TokenModel, capsys: pytest.CaptureFixture[str]
) -> None:
    from vqcodec.errors import InputError

    output = digits.with_name("sharp")
    given = ["--kind", "token", "--init", "words", "--steps", "1", "--lambda-p", "1"]
    given += ["--perceptual", str(shared_data / "perceptual")]
    assert main(["train", str(digits), "-o", str(output), *given]) == 0, capsys.readouterr().err
    summary = json.loads((output / "model.json").read_text())
    assert summary["distance"] == "LPIPS 0.1, SqueezeNet 1.1"
    assert 0 < summary["held_out_distance"] < 1
    check_sides([TrainingImage("digit", DIGITS[0])], 8)
    with pytest.raises(InputError, match="thin: 20 x 40 pixels; LPIPS wants 32 a side"):
        check_sides([TrainingImage("thin", np.zeros((40, 20, 1), np.uint8))], 8)
