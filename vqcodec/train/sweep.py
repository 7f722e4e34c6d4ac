"""One sweep of training: fits every predictor in coding order and codes all sessions with it before the next predictor is fitted.

Therefore the contexts of every fit are the decoder's (closed loop). The DC pyramid is fitted first, on rounded DCs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32, Intp
from vqcodec.codec import walk
from vqcodec.entropy import dc_pyramid, linear
from vqcodec.entropy.context import LinearOnly
from vqcodec.entropy.features import step_features
from vqcodec.entropy.predictor_shapes import mean_rows, scale_rows, tile_name
from vqcodec.train import predictors
from vqcodec.train.assembly import Draft, predictor_tensors
from vqcodec.train.sessions import Collector, Session
from vqcodec.train.watch import Progress
from vqcodec.transform.layouts import COLOR_8X8, LATENT_UNIT, Tile
from vqcodec.weights.exact import ExactModel

_SAMPLES_PER_FIT: Final = 40_000


@dataclass(frozen=True)
class Pull:
    """Regularisation towards the base model, with the weight of `strength` samples per fit; none without a base model."""

    base: ExactModel | None
    strength: float

    def start(self, *names: str, row: int) -> Int32 | None:
        """The base model's weights: row `row` of each tensor in `names`, joined. None without a base model."""
        if self.base is None:
            return None
        return np.concatenate([self.base.tensors[name][row] for name in names])


def sweep(draft: Draft, sessions: list[Session], collector: Collector, pull: Pull, seed: int, progress: Progress) -> list[Float32]:
    """Fit all predictors of the draft while all sessions are coded.

    Returns the residuals float32 [n, d] for every codebook, in steps.
    """
    rng = np.random.default_rng(seed + 1)
    _fit_dc_predictors(draft, sessions, pull, rng, progress)
    model = ExactModel("in training", predictor_tensors(draft))
    for number, session in enumerate(sessions):
        progress(f"coding means of {len(sessions)} pictures", number, len(sessions))
        collector.open(session.targets)
        grid = session.grid
        dcs = walk.walk_dc((grid.h, grid.w), grid.layout, model, session, collector, LinearOnly())
        grid.latents[: grid.layout.components] = dcs
        grid.dc_done()
    stage, done = f"fitting predictors and coding {len(sessions)} pictures", 0
    total = 2 * sum(len(session.grid.layout.tiles) for session in sessions)

    def tell(coded: int) -> None:
        nonlocal done
        done += coded
        progress(stage, done, total)

    for tile in COLOR_8X8.tiles:
        users = [_TileUser(s, t) for s in sessions for t in s.grid.layout.tiles if t.number == tile.number]
        _fit_tile(draft, tile, users, collector, pull, rng, tell)
    return collector.residuals()


def _sample(cells: int, images: int, rng: np.random.Generator) -> Intp:
    """Random cells of one image, so that all images together have about _SAMPLES_PER_FIT."""
    share = min(1.0, _SAMPLES_PER_FIT / max(1, images) / max(1, cells))
    return np.flatnonzero(rng.random(cells) < share)


def _step_rows(step_64: int, count: int) -> Float32:
    """The step's features, float32 [count, 3]."""
    return np.tile(np.array([step_features(step_64)], np.float32), (count, 1))


def _joined(arrays: list[Float32], columns: int) -> Float32:
    """Arrays float32 [n, columns] joined; [0, columns] if there are none."""
    return np.concatenate(arrays) if arrays else np.zeros((0, columns), np.float32)


# ---------------------------------------------------------------------------------------------------- the DC pyramid


@dataclass(frozen=True)
class _PassSamples:
    """Samples of one image in one DC pass: features float32 [n, rows], targets float32 [n] in 1/16 step less the base value."""

    mean: Float32
    scale: Float32
    targets: Float32
    image: int
    step_64: int
    dc_pass: dc_pyramid.Pass
    inputs: dc_pyramid.Inputs

    def magnitudes(self, mean: Int32) -> Float32:
        """|target - prediction| with the mean weights [rows], float32 [n] in steps."""
        return np.abs(self.targets / LATENT_UNIT - self.mean @ mean.astype(np.float32) / (LATENT_UNIT << linear.MEAN_SHIFT))


def _fit_dc_predictors(draft: Draft, sessions: list[Session], pull: Pull, rng: np.random.Generator, progress: Progress) -> None:
    """Fit the predictors of the DC pyramid to rounded DCs."""
    passes, done = sum(len(dc_pyramid.pass_names(component)) for component in range(3)), 0
    planes = [np.rint(s.targets[: s.grid.layout.components]).astype(np.int32) * LATENT_UNIT for s in sessions]
    sizes = [np.zeros_like(p) for p in planes]
    for component in range(3):
        users = [i for i, s in enumerate(sessions) if component < s.grid.layout.components]
        roots = [np.abs(sessions[i].targets[component, :1]) for i in users]
        steps = [_step_rows(sessions[i].step_64, 1) for i in users]
        _fit_dc_scale(draft, f"dc.root.{component}", np.zeros((len(users), 0), np.float32), roots, steps, pull)
        by_name: dict[str, list[tuple[int, dc_pyramid.Pass]]] = {name: [] for name in dc_pyramid.pass_names(component)}
        for i in users:
            for dc_pass in dc_pyramid.passes(sessions[i].grid.h, sessions[i].grid.w, component):
                by_name[dc_pass.name].append((i, dc_pass))
        for name in reversed(by_name):  # coarse to fine: a pass sees the magnitudes of coarser residuals
            progress("fitting predictors of means", done, passes)
            done += 1
            samples = []
            for i, dc_pass in by_name[name]:
                grid = sessions[i].grid
                inputs = dc_pyramid.inputs(planes[i], sizes[i], grid.h, grid.w, dc_pass)
                target = sessions[i].targets[component, dc_pass.cells] * LATENT_UNIT - inputs.base
                chosen = _sample(len(dc_pass.cells), len(by_name[name]), rng)
                mean, scale = inputs.mean[:, chosen].T, inputs.scale[:, chosen].T
                samples.append(_PassSamples(mean, scale, target[chosen], i, sessions[i].step_64, dc_pass, inputs))
            features = _joined([s.mean for s in samples], dc_pyramid.MEAN_ROWS[component][int(name[-1])])
            targets = np.concatenate([s.targets for s in samples]) if samples else np.zeros(0, np.float32)
            start = pull.start(f"{name}.mean", row=0)
            weights = predictors.fit_mean(predictors.Samples(features, targets), start, pull.strength)
            draft.weights[name] = {"mean": weights[None]}
            for s in samples:
                predicted = s.inputs.base + linear.means_of(weights.astype(np.float32)[None] @ s.inputs.mean)[0]
                sizes[s.image][component, s.dc_pass.cells] = np.abs(planes[s.image][component, s.dc_pass.cells] - predicted)
            magnitudes = [s.magnitudes(weights) for s in samples]
            scale_features = _joined([s.scale for s in samples], dc_pyramid.SCALE_ROWS[component])
            step_rows = [_step_rows(s.step_64, len(s.targets)) for s in samples]
            _fit_dc_scale(draft, name, scale_features, magnitudes, step_rows, pull)


def _fit_dc_scale(draft: Draft, name: str, features: Float32, magnitudes: list[Float32], steps: list[Float32], pull: Pull) -> None:
    """Fit the scale predictor of a DC pass into `draft.weights[name]`."""
    start = pull.start(f"{name}.scale", f"{name}.bias", row=0)
    target = np.concatenate(magnitudes) if magnitudes else np.zeros(0, np.float32)
    samples = predictors.Samples(features, target)
    found = predictors.fit_scale(samples, _joined(steps, 3), start, pull.strength)
    weights = draft.weights.setdefault(name, {})
    weights["scale"] = found[None, :-3]
    weights["scale_own"] = np.zeros(0, np.int32)
    weights["bias"] = found[None, -3:]


# ---------------------------------------------------------------------------------------------------- AC tiles


@dataclass(frozen=True)
class _TileUser:
    """A session, and a tile in its own layout."""

    session: Session
    tile: Tile


@dataclass
class _TileWeights:
    """Weights of a tile's predictor in training, laid out as in `linear.Predictor`."""

    mean: Int32 | None
    mean_own: Int32 | None
    scale: Int32
    scale_own: Int32
    bias: Int32

    @classmethod
    def zeros(cls, tile: Tile) -> _TileWeights:
        rows, mean_count = scale_rows()[tile.number], mean_rows().get(tile.number)
        mean = None if mean_count is None else np.zeros((2 * tile.size, mean_count), np.int32)
        mean_own = None if mean_count is None else np.zeros((tile.size, 4), np.int32)
        return cls(mean, mean_own, np.zeros((2, rows), np.int32), np.zeros(2, np.int32), np.zeros((2, 3), np.int32))

    def predictor(self) -> linear.Predictor:
        return linear.Predictor(
            mean=None if self.mean is None else self.mean.astype(np.float32),
            mean_own=None if self.mean_own is None else self.mean_own.astype(np.float32),
            scale=self.scale.astype(np.float32),
            scale_own=self.scale_own.astype(np.float32),
            bias=self.bias.astype(np.int64),
        )

    def tensors(self) -> dict[str, Int32]:
        found = {"scale": self.scale, "scale_own": self.scale_own, "bias": self.bias}
        if self.mean is not None and self.mean_own is not None:
            found |= {"mean": self.mean, "mean_own": self.mean_own}
        return found


@dataclass(frozen=True)
class _HalfSamples:
    """Samples of one image in one half of a tile of T coefficients."""

    mean: Float32  # [rows, n]
    own: list[Float32]  # T of [4, n], odd half only
    scale: Float32  # [rows (+ 2), n]
    targets: Float32  # [T, n] in steps
    step_64: int


def _fit_tile(
    draft: Draft,
    tile: Tile,
    users: list[_TileUser],
    collector: Collector,
    pull: Pull,
    rng: np.random.Generator,
    tell: Callable[[int], None],
) -> None:
    """Fit the predictor of a tile and code all sessions with it. `tell` gets the number of halves coded since its last call."""
    weights = _TileWeights.zeros(tile)
    for user in users:
        user.session.magnitude = np.zeros(user.session.grid.h * user.session.grid.w, np.int32)
    for half in (0, 1):
        samples = [_gather(user, half, _sample(len(user.session.grid.halves[half]), len(users), rng)) for user in users]
        targets = np.concatenate([s.targets for s in samples], axis=1) if samples else np.zeros((tile.size, 0), np.float32)
        _fit_tile_means(weights, tile, half, samples, targets, pull, tell)
        _fit_tile_scale(weights, tile, half, samples, targets, pull)
        predictor = weights.predictor()
        for user in users:
            _code_half(user, predictor, half, collector)
            tell(1)
    for user in users:
        user.session.grid.tile_done(user.tile, user.session.magnitude)
    draft.weights[tile_name(tile)] = weights.tensors()


def _gather(user: _TileUser, half: int, chosen: Intp) -> _HalfSamples:
    """Features and targets of the `chosen` cells of one half."""
    session, tile, grid = user.session, user.tile, user.session.grid
    cells = grid.halves[half][chosen]
    scale = [bank[:, cells] for bank in grid.activity(tile.component)]
    own = []
    if half:
        scale.append(grid.own_activity(session.magnitude)[:, chosen])
        own = [grid.own_latents(channel)[:, chosen] for channel in range(tile.first, tile.first + tile.size)]
    mean = grid.mean_features(tile.component)[:, cells]
    return _HalfSamples(mean, own, np.concatenate(scale), session.targets[tile.channels, cells], session.step_64)


def _fit_tile_means(
    weights: _TileWeights,
    tile: Tile,
    half: int,
    samples: list[_HalfSamples],
    targets: Float32,
    pull: Pull,
    tell: Callable[[int], None],
) -> None:
    """Fit the mean weights of one half, if the tile has any, and subtract the predictions from `targets` [T, n] in place."""
    if weights.mean is None or weights.mean_own is None:
        return
    name, count = tile_name(tile), weights.mean.shape[1]
    for j in range(tile.size):
        tell(0)
        features = _joined([np.concatenate([s.mean, *([s.own[j]] if half else [])]).T for s in samples], count + 4 * half)
        start = pull.start(f"{name}.mean", row=half * tile.size + j)
        own = pull.start(f"{name}.mean_own", row=j) if half else None
        if start is not None and own is not None:
            start = np.concatenate([start, own])
        found = predictors.fit_mean(predictors.Samples(features, targets[j] * LATENT_UNIT), start, pull.strength)
        weights.mean[half * tile.size + j] = found[:count]
        if half:
            weights.mean_own[j] = found[count:]
        targets[j] -= features @ found.astype(np.float32) / (LATENT_UNIT << linear.MEAN_SHIFT)


def _fit_tile_scale(
    weights: _TileWeights, tile: Tile, half: int, samples: list[_HalfSamples], residuals: Float32, pull: Pull
) -> None:
    """Fit the scale weights of one half to the magnitudes of `residuals` [T, n], in steps."""
    name, rows = tile_name(tile), weights.scale.shape[1]
    features = _joined([s.scale.T for s in samples], rows + 2 * half)
    step_rows = _joined([_step_rows(s.step_64, s.targets.shape[1]) for s in samples], 3)
    start = None
    if pull.base is not None:
        own = [pull.base.tensors[f"{name}.scale_own"]] if half else []
        start = np.concatenate([pull.base.tensors[f"{name}.scale"][half], *own, pull.base.tensors[f"{name}.bias"][half]])
    magnitudes = np.abs(residuals).mean(axis=0)
    found = predictors.fit_scale(predictors.Samples(features, magnitudes), step_rows, start, pull.strength)
    weights.scale[half], weights.bias[half] = found[:rows], found[-3:]
    if half:
        weights.scale_own[:] = found[rows : rows + 2]


def _code_half(user: _TileUser, predictor: linear.Predictor, half: int, collector: Collector) -> None:
    """Code one half of a tile of one session, in place in its grid."""
    session, grid = user.session, user.session.grid
    collector.open(session.targets)
    shared = linear.sums_ahead(grid, [(user.tile, predictor)])[0]
    prediction = linear.predict(grid, user.tile, predictor, shared, session.step_64, half, session.magnitude)
    walk.code_half(grid, user.tile, half, prediction, session.magnitude, coder=collector, corrector=LinearOnly())
