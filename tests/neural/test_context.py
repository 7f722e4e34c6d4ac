"""The context network in torch, and its training."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.networks import neural_model
from vqcodec import api
from vqcodec.codec import walk
from vqcodec.entropy import context
from vqcodec.entropy.linear import SCALE_SHIFT
from vqcodec.errors import InputError
from vqcodec.train.watch import Watch
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel

LITE = registry.find("photo-lite")


class Replay:
    """A coder that returns known latents."""

    def __init__(self, latents: np.ndarray) -> None:
        self.latents = latents.astype(np.int32)

    def start_layer(self, layer: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def code(
        self, codebook_set: int, channels: slice, cells: np.ndarray, means: np.ndarray, classes: np.ndarray, sizes: object = None
    ) -> np.ndarray:
        return self.latents[channels][:, cells] - means


class Listener(context.ContextCorrector):
    """Records the corrections of scores and means."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.heard: list[tuple[np.ndarray, np.ndarray | int]] = []

    def half(self, tile: Any, half: int, means: np.ndarray, score: np.ndarray) -> Any:
        before = context.clamp_score(score.copy())
        added, after = super().half(tile, half, means, score)
        self.heard.append((after - before, added))
        return added, after


@pytest.mark.slow
def test_a_grown_network_has_the_same_outputs(samples: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context as neural
    from vqcodec.neural import context_samples
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import record

    torch.manual_seed(4)
    start = neural.TileContext(12, 8, 6)
    with torch.no_grad():
        for half in start.halves:
            half.out.normal_(std=0.5)
            half.out_bias.normal_(std=0.5)
    with Image.open(samples / "landscape.png") as image:
        crop = TrainingImage("crop", np.asarray(image.convert("RGB"))[200:328, 150:278])
    batch = context_samples.draw_crops([record(crop, 30.0, LITE).tiles], 2, 16, np.random.default_rng(0))
    wide = neural.widened(start, 20, 10)
    assert len(wide.dc[0]) == 20
    with torch.no_grad():
        for (_, wanted), (_, found) in zip(start.corrections(batch), wide.corrections(batch), strict=True):
            torch.testing.assert_close(found, wanted)
    assert len(neural.widened(wide, 4, 4).dc[0]) == 20  # never smaller


@pytest.mark.slow
def test_torch_and_numpy_agree(samples: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context as neural
    from vqcodec.neural import context_samples
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import record
    from vqcodec.train.sessions import open_session

    torch.manual_seed(3)
    with Image.open(samples / "landscape.png") as image:
        crop = TrainingImage("crop", np.asarray(image.convert("RGB"))[200:328, 150:278])
    tiles, dcs = neural.TileContext(12, 8, 6), neural.DcContext((8, 6))
    with torch.no_grad():
        for half in tiles.halves:
            half.out.normal_(std=0.5)
            half.out_bias.normal_(std=0.5)
    network = context.ContextNetwork.from_tensors(neural.to_tensors(tiles, dcs))
    batch = context_samples.draw_crops([record(crop, 30.0, LITE).tiles], 1, 16, np.random.default_rng(0))
    session = open_session(crop, 30.0, LITE.color)
    latents = session.grid.latents
    from vqcodec.codec.choices import LAMBDA
    from vqcodec.codec.symbols import EncoderWriter

    walk.walk(session.grid, LITE, session, EncoderWriter(LITE, session.targets, LAMBDA))
    again = open_session(crop, 30.0, LITE.color)
    listener = Listener(network, again.grid, again.step_64)
    walk.walk(again.grid, LITE, again, Replay(latents), listener)
    np.testing.assert_array_equal(again.grid.latents, latents)
    with torch.no_grad():
        wanted = [half[0].T.numpy() for _, out in tiles.corrections(batch) for half in out.chunk(2, dim=1)]  # even, odd
    assert len(wanted) == len(listener.heard) == 2 * context.TILES
    for out, (scores, means) in zip(wanted, listener.heard, strict=True):
        np.testing.assert_allclose(scores / (1 << SCALE_SHIFT), out[0], atol=0.2)
        if len(out) > 1:
            np.testing.assert_allclose(np.asarray(means) / 16, out[1:], atol=0.2)
    assert max(np.abs(out).max() for out in wanted) > 1
    again_tiles, again_dcs = neural.load_tensors(neural.to_tensors(tiles, dcs))
    for name, array in neural.to_tensors(again_tiles, again_dcs).items():
        np.testing.assert_array_equal(array, neural.to_tensors(tiles, dcs)[name])


def some_sample(seed: int, side: int = 12, colour: bool = True) -> Any:
    """A random sample for a context network."""
    from vqcodec.neural.context_samples import ContextSample

    rng, channels = np.random.default_rng(seed), 96
    margin = side + 2 * context.MARGIN
    return ContextSample(
        rng.integers(-30, 30, (2 * channels, margin, margin)).astype(np.int8),
        rng.integers(-30, 30, (144, side, side)).astype(np.int8),
        np.array([32, 3, 1], np.float32),
        rng.integers(-40, 40, (channels, side, side)).astype(np.int16),
        rng.uniform(0, 12, (context.TILES, side, side)).astype(np.float16),
        rng.normal(0, 2, (channels, side, side)).astype(np.float16),
        colour,
    )


def test_crops_begin_at_even_cells() -> None:
    """Even cells, which are coded first, stay even in a crop."""
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context_samples

    sample = some_sample(0, 14)
    sample.means[:] = np.add.outer(np.arange(14), np.arange(14)) % 2
    means = context_samples.draw_crops([sample], 40, 8, np.random.default_rng(0))[3]
    assert not means[:, :32].any()
    assert means[:, 32:].all()


def test_chroma_of_grey_pictures_costs_nothing() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context as neural
    from vqcodec.neural import context_samples
    from vqcodec.transform.layouts import COLOR_4X4

    torch.manual_seed(0)
    network, chroma = neural.TileContext(6, 4, 4), np.array([component > 0 for component, _, _ in COLOR_4X4.positions])
    bits = []
    for colour in (False, True):
        sample = some_sample(1, 8, colour)
        for spread in (1, 3):
            sample.targets[chroma] *= spread
            batch = context_samples.draw_crops([sample], 1, 8, np.random.default_rng(0))
            bits.append([float(found.detach()) for found in network(batch)])
    assert bits[0] == bits[1]
    assert bits[2] < bits[3]
    assert bits[0] < bits[2]


def test_large_weights_are_kept_in_a_coarser_unit_and_stay_exact() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context as neural

    torch.manual_seed(0)
    tiles, dcs = neural.TileContext(6, 4, 4), neural.DcContext((8, 6))
    fine = neural.to_tensors(tiles, dcs)["context.shift"]
    with torch.no_grad():
        for weight in tiles.state:
            weight *= 6
    tensors = neural.to_tensors(tiles, dcs)
    assert tensors["context.shift"] < fine
    neural_model(tensors)
    wanted = tiles.state[0].detach().numpy()
    np.testing.assert_allclose(tensors["context.tile.00.state"] / 2.0 ** tensors["context.shift"], wanted, atol=0.02)


def test_the_figure_is_that_of_held_out_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context_fit
    from vqcodec.neural.context_samples import PassSample

    figures: list[float] = []

    def fit(network: Any, draw: Any, loss: Any, held_out: Any, *_: Any, **__: Any) -> Any:
        figures.append(held_out(network))
        return network

    def passes(seed: int) -> dict[str, PassSample]:
        rng, names = np.random.default_rng(seed), context.dc_pass_names()
        arrays = {
            name: (rng.integers(-9, 9, (9, context.dc_inputs_of(name))).astype(np.int8), rng.uniform(0, 9, 9)) for name in names
        }
        return {
            name: PassSample(inputs, scores.astype(np.float16), scores.astype(np.float16))
            for name, (inputs, scores) in arrays.items()
        }

    monkeypatch.setattr(context_fit, "fit", fit)
    monkeypatch.setattr(context_fit, "_HELD_OUT_BATCHES", 1)
    settings = context_fit.ContextSettings(batch=2, crop=8, luma=6, chroma=4, hidden=4, dc_hidden=(8, 6), dc_rows=9, steps=1)
    for seed in (0, 1, 0):
        context_fit.fit_tiles([some_sample(0)], [some_sample(seed)], settings)
        context_fit.fit_dcs(passes(0), passes(seed), settings)
    assert figures[:2] == figures[4:]
    assert figures[0] != figures[2]
    assert figures[1] != figures[3]


@pytest.mark.slow
def test_a_latent_costs_no_more_than_to_let_it_be_zero() -> None:
    """A residual costs at most a zero and its square, and one near zero costs less in low classes."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.density import Density

    density, x = Density(0.1), torch.linspace(-4, 4, 33)
    with torch.no_grad():
        costs = torch.stack([density(x, torch.full_like(x, score)) for score in (0.0, 6.0, 12.0)])
    assert (costs <= costs[:, 16:17] + x.square() / 0.1 + 1e-4).all()
    assert (costs[:, 16:].diff(dim=1) >= 0).all()
    torch.testing.assert_close(costs, costs.flip(1))
    assert costs[0, 16] < costs[1, 16] < costs[2, 16]
    assert costs[0, -1] > costs[2, -1]


@pytest.mark.slow
def test_training_saves_bits_and_begins_at_none(samples: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import context as neural
    from vqcodec.neural import context_fit
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.samples import make_context_samples

    with Image.open(samples / "still_life.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    images = [TrainingImage(str(n), pixels[100 * n : 100 * n + 130, 80 * n : 80 * n + 150]) for n in range(3)]
    made = make_context_samples(images, LITE, 0, "samples", Watch())
    crops, passes = made.tiles, made.passes
    settings = context_fit.ContextSettings(batch=4, crop=12, luma=16, chroma=8, hidden=8, dc_hidden=(12, 8), dc_rows=64, steps=20)
    untrained = context_fit.saved(neural.TileContext(16, 8, 8), neural.DcContext((12, 8)), crops, passes, settings)
    assert untrained == {"held_out_saved_ac": 0.0, "held_out_saved_dc": 0.0}
    tiles = context_fit.fit_tiles(crops, crops, settings)
    dcs = context_fit.fit_dcs(passes, passes, settings)
    saved = context_fit.saved(tiles, dcs, crops, passes, settings)
    assert saved["held_out_saved_ac"] > 0.005
    assert saved["held_out_saved_dc"] > 0.005
    strip = make_context_samples([TrainingImage("strip", pixels[:8, :300])], LITE, 0, "samples", Watch()).tiles
    assert context_fit.saved(tiles, dcs, strip, passes, settings)["held_out_saved_ac"] == 0  # less than two cells high
    with pytest.raises(InputError, match="too small"):
        context_fit.fit_tiles(strip, crops, settings)
    short = replace(settings, steps=2)
    once, again = (neural.to_tensors(context_fit.fit_tiles(crops, crops, short), dcs) for _ in range(2))
    for name, array in once.items():
        np.testing.assert_array_equal(array, again[name])


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["base", "context", "context and codebooks"])
def test_the_command_keeps_a_context_that_serves_held_out_pictures(
    kept: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from helpers.small_training import let_few_pictures_be_enough
    from vqcodec.cli.main import main
    from vqcodec.neural import context_fit
    from vqcodec.train import pipeline, stages, streams
    from vqcodec.train.assembly import Fitted
    from vqcodec.train.held_out import Figures, Point
    from vqcodec.train.settings import ExactSettings

    small = partial(context_fit.ContextSettings, luma=16, chroma=8, hidden=8, dc_hidden=(12, 8), batch=4, crop=12)
    monkeypatch.setattr(context_fit, "ContextSettings", small)
    monkeypatch.setattr(stages, "_MOST_SAMPLES", 2)
    monkeypatch.setattr(pipeline, "ExactSettings", partial(ExactSettings, small_files=8, few_files=6))
    monkeypatch.setattr(streams, "MAP_SIZES", (12, 4))
    let_few_pictures_be_enough(monkeypatch.setattr)

    def measure(training: Any, what: str, model: Any, pieces: Any, *_: Any) -> Figures:
        return Figures.of([[Point(1, 1, float(what != kept))] * 3] * len(pieces))

    monkeypatch.setattr(stages.NeuralTraining, "measure", measure)
    if kept != "context and codebooks":  # a candidate that is not kept may be trivial
        refit = lambda training, model, _: Fitted(model, used.extend(training.corpus.train) or [])  # noqa: E731
        monkeypatch.setattr(pipeline, "refit_codebooks", refit)
    used: list[Any] = []
    folder = tmp_path / "pictures"
    folder.mkdir()
    with Image.open(samples / "still_life.png") as image:
        for number in range(3):
            image.crop((90 * number, 100, 90 * number + 136, 232)).save(folder / f"{number}.png")
    target = tmp_path / "mine"
    arguments = ["train", str(folder), "-o", str(target), "--kind", "neural", "--init", "photo-lite", "--parts", "context"]
    assert main([*arguments, "--steps", "3", "--keep"]) == 0
    assert not list(tmp_path.glob("*.checkpoint"))
    trained = ExactModel.load(target)
    assert trained.synthesis is None
    assert len(used) == (0 if kept == "context and codebooks" else 2)  # one is held out
    assert (trained.id == LITE.id) == (kept == "base")
    assert (trained.context is None) == (kept == "base")
    assert np.array_equal(trained.tensors["book.words"], LITE.tensors["book.words"]) == (kept != "context and codebooks")
    pixels = np.asarray(Image.open(folder / "0.png"))
    assert api.decode(api.encode(pixels, model=trained), model=trained).shape == pixels.shape


def test_fewer_pictures_are_coded_at_more_steps_for_new_codebooks() -> None:
    pytest.importorskip("torch")
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.stages import repeated

    small = TrainingImage("small", np.zeros((100, 100, 3), np.uint8))
    large = TrainingImage("large", np.zeros((3000, 5000, 1), np.uint8))
    assert len(repeated([small] * 60)) == 8 * 60
    assert len(repeated([large])) == 2
    assert len(repeated([large] * 9)) == 9  # there are enough pixels already
