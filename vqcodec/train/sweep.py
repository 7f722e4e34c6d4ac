"""One sweep of training: every predictor is fitted in its turn, and all sessions are coded with it before the next.

So the contexts of a fit are always those that a decoder has. The DC pyramid comes first, fitted on rounded DCs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Intp
from vqcodec.codec import walk
from vqcodec.entropy import dc_pyramid, linear
from vqcodec.entropy.context import LinearOnly
from vqcodec.entropy.features import step_features
from vqcodec.entropy.predictor_shapes import mean_rows, scale_rows, tile_name
from vqcodec.train import predictors
from vqcodec.train.assembly import predictor_tensors
from vqcodec.train.sessions import Collector, Fit, LiteSettings, Session
from vqcodec.train.watch import Progress
from vqcodec.transform.layouts import COLOR_8X8, LATENT_UNIT, Tile
from vqcodec.weights.exact import ExactModel

_SAMPLES_PER_FIT: Final = 40_000


def sweep(
    fit: Fit,
    sessions: list[Session],
    collector: Collector,
    base: ExactModel | None,
    settings: LiteSettings,
    progress: Progress,
) -> None:
    """Fit all predictors while coding all sessions; the collector keeps what the codebooks need."""
    rng = np.random.default_rng(settings.seed + 1)
    fit_dc(fit, sessions, base, settings, rng, progress)
    model = ExactModel("in training", predictor_tensors(fit))
    for number, session in enumerate(sessions):
        progress(f"coding means of {len(sessions)} pictures", number, len(sessions))
        collector.open(session.targets)
        grid = session.grid
        cells, fine = (grid.h, grid.w), session.fine_dcs
        dcs = walk.walk_dc(cells, grid.layout, model, session.step_64, fine, collector, LinearOnly())
        grid.latents[: grid.layout.components] = dcs
        grid.dc_done()
    stage, done = f"fitting predictors and coding {len(sessions)} pictures", 0
    total = 2 * sum(len(session.grid.layout.tiles) for session in sessions)

    def tell(coded: int) -> None:
        nonlocal done
        done += coded
        progress(stage, done, total)

    for tile in COLOR_8X8.tiles:
        users = [(s, t) for s in sessions for t in s.grid.layout.tiles if t.number == tile.number]
        _fit_tile(fit, tile, users, collector, base, settings, rng, tell)


def fit_dc(
    fit: Fit, sessions: list[Session], base: ExactModel | None, settings: LiteSettings, rng: np.random.Generator, progress: Progress
) -> None:
    """Fit the predictors of the DC pyramid to rounded DCs."""
    passes, done = sum(len(dc_pyramid.pass_names(component)) for component in range(3)), 0
    planes = [np.rint(s.targets[: s.grid.layout.components]).astype(np.int32) * LATENT_UNIT for s in sessions]
    sizes = [np.zeros_like(p) for p in planes]
    for component in range(3):
        users = [i for i, s in enumerate(sessions) if component < s.grid.layout.components]
        roots = [np.abs(sessions[i].targets[component, :1]) for i in users]
        inputs = [np.array([step_features(sessions[i].step_64)], np.float32) for i in users]
        _fit_scale(fit, f"dc.root.{component}", np.zeros((len(users), 0), np.float32), roots, inputs, base, settings)
        by_name: dict[str, list[tuple[int, dc_pyramid.Pass]]] = {name: [] for name in dc_pyramid.pass_names(component)}
        for i in users:
            for this in dc_pyramid.passes(sessions[i].grid.h, sessions[i].grid.w, component):
                by_name[this.name].append((i, this))
        for name in reversed(by_name):  # coarse to fine: a pass sees the sizes of coarser residuals
            progress("fitting predictors of means", done, passes)
            done += 1
            collected = []
            for i, this in by_name[name]:
                grid = sessions[i].grid
                found = dc_pyramid.inputs(planes[i], sizes[i], grid.h, grid.w, this)
                target = sessions[i].targets[component, this.cells] * LATENT_UNIT - found.base
                chosen = _sample(len(this.cells), len(by_name[name]), rng)
                collected.append(
                    (
                        found.mean[:, chosen].T,
                        found.scale[:, chosen].T,
                        target[chosen],
                        sessions[i].step_64,
                        i,
                        this,
                        found,
                    )
                )
            rows = dc_pyramid.MEAN_ROWS[component][int(name[-1])]
            features = np.concatenate([c[0] for c in collected]) if collected else np.zeros((0, rows), np.float32)
            targets = np.concatenate([c[2] for c in collected]) if collected else np.zeros(0, np.float32)
            start = None if base is None else base.tensors[f"{name}.mean"][0]
            mean = predictors.fit_mean(predictors.Samples(features, targets), start, settings.strength)
            fit.weights[name] = {"mean": mean[None]}
            for _, _, _, _, i, this, found in collected:
                predicted = found.base + linear.means_of(mean.astype(np.float32)[None] @ found.mean)[0]
                sizes[i][component, this.cells] = np.abs(planes[i][component, this.cells] - predicted)
            magnitudes, scales, steps = [], [], []
            for m, scale, target, step, *_ in collected:
                magnitudes.append(np.abs(target / LATENT_UNIT - m @ mean.astype(np.float32) / (LATENT_UNIT << linear.MEAN_SHIFT)))
                scales.append(scale)
                steps.append(np.tile(np.array([step_features(step)], np.float32), (len(target), 1)))
            stacked = np.concatenate(scales) if scales else np.zeros((0, dc_pyramid.SCALE_ROWS[component]), np.float32)
            _fit_scale(fit, name, stacked, magnitudes, steps, base, settings)


def _fit_scale(
    fit: Fit,
    name: str,
    features: Float32,
    magnitudes: list[Float32],
    steps: list[Float32],
    base: ExactModel | None,
    settings: LiteSettings,
) -> None:
    """Fit a one-pass scale predictor into `fit.weights[name]`."""
    start = None
    if base is not None:
        start = np.concatenate([base.tensors[f"{name}.scale"][0], base.tensors[f"{name}.bias"][0]])
    target = np.concatenate(magnitudes) if magnitudes else np.zeros(0, np.float32)
    inputs = np.concatenate(steps) if steps else np.zeros((0, 3), np.float32)
    found = predictors.fit_scale(predictors.Samples(features, target), inputs, start, settings.strength)
    weights = fit.weights.setdefault(name, {})
    weights["scale"] = found[None, :-3]
    weights["scale_own"] = np.zeros(0, np.int32)
    weights["bias"] = found[None, -3:]


def _fit_tile(
    fit: Fit,
    tile: Tile,
    users: list[tuple[Session, Tile]],
    collector: Collector,
    base: ExactModel | None,
    settings: LiteSettings,
    rng: np.random.Generator,
    tell: Callable[[int], None],
) -> None:
    """Fit the predictor of a tile, and code all sessions with it; `tell` gets how many halves were coded since its last call."""
    name, size = tile_name(tile), tile.size
    rows, mean_count = scale_rows()[tile.number], mean_rows().get(tile.number)
    scale = np.zeros((2, rows), np.int32)
    scale_own = np.zeros(2, np.int32)
    bias = np.zeros((2, 3), np.int32)
    mean = None if mean_count is None else np.zeros((2 * size, mean_count), np.int32)
    mean_own = None if mean_count is None else np.zeros((size, 4), np.int32)
    for session, _ in users:
        session.magnitude = np.zeros(session.grid.h * session.grid.w, np.int32)
    for half in (0, 1):
        gathered = [_gather(session, own, half, _sample(len(session.grid.halves[half]), len(users), rng)) for session, own in users]
        targets = np.concatenate([g.targets for g in gathered], axis=1) if gathered else np.zeros((size, 0), np.float32)
        if mean is not None and mean_own is not None:
            for j in range(size):
                tell(0)
                features = (
                    np.concatenate([np.concatenate([g.mean, *([g.own[j]] if half else [])]).T for g in gathered])
                    if gathered
                    else np.zeros((0, mean.shape[1] + 4 * half), np.float32)
                )
                start = None
                if base is not None:
                    start = base.tensors[f"{name}.mean"][half * size + j]
                    start = np.concatenate([start, base.tensors[f"{name}.mean_own"][j]]) if half else start
                found = predictors.fit_mean(predictors.Samples(features, targets[j] * LATENT_UNIT), start, settings.strength)
                mean[half * size + j] = found[: mean.shape[1]]
                if half:
                    mean_own[j] = found[mean.shape[1] :]
                targets[j] -= features @ found.astype(np.float32) / (LATENT_UNIT << linear.MEAN_SHIFT)
        features = np.concatenate([g.scale.T for g in gathered]) if gathered else np.zeros((0, rows + 2 * half), np.float32)
        steps = (
            np.concatenate([np.tile(np.array([step_features(g.step)], np.float32), (g.targets.shape[1], 1)) for g in gathered])
            if gathered
            else np.zeros((0, 3), np.float32)
        )
        start = None
        if base is not None:
            parts = [base.tensors[f"{name}.scale"][half]] + ([base.tensors[f"{name}.scale_own"]] if half else [])
            start = np.concatenate([*parts, base.tensors[f"{name}.bias"][half]])
        magnitudes = np.abs(targets).mean(axis=0)
        found = predictors.fit_scale(predictors.Samples(features, magnitudes), steps, start, settings.strength)
        scale[half], bias[half] = found[:rows], found[-3:]
        if half:
            scale_own[:] = found[rows : rows + 2]
        predictor = linear.Predictor(
            None if mean is None else mean.astype(np.float32),
            None if mean_own is None else mean_own.astype(np.float32),
            scale.astype(np.float32),
            scale_own.astype(np.float32),
            bias.astype(np.int64),
        )
        for session, own in users:
            collector.open(session.targets)
            shared = linear.sums_ahead(session.grid, [(own, predictor)])[0]
            means, score = linear.predict(session.grid, own, predictor, shared, session.step_64, half, session.magnitude)
            walk.code_half(session.grid, own, half, means, score, session.magnitude, collector, LinearOnly())
            tell(1)
    for session, own in users:
        session.grid.tile_done(own, session.magnitude)
    fit.weights[name] = {"scale": scale, "scale_own": scale_own, "bias": bias}
    if mean is not None and mean_own is not None:
        fit.weights[name] |= {"mean": mean, "mean_own": mean_own}


@dataclass(frozen=True)
class _Gathered:
    mean: Float32  # [rows, n]
    own: list[Float32]  # T of [4, n], odd half only
    scale: Float32  # [rows (+ 2), n]
    targets: Float32  # [T, n] in steps
    step: int


def _gather(session: Session, tile: Tile, half: int, chosen: Intp) -> _Gathered:
    """Features and targets of some cells of one half."""
    grid = session.grid
    cells = grid.halves[half][chosen]
    scale = [bank[:, cells] for bank in grid.activity(tile.component)]
    own = []
    if half:
        scale.append(grid.own_activity(session.magnitude)[:, chosen])
        own = [grid.own_latents(channel)[:, chosen] for channel in range(tile.first, tile.first + tile.size)]
    mean = grid.mean_features(tile.component)[:, cells]
    return _Gathered(mean, own, np.concatenate(scale), session.targets[tile.channels, cells], session.step_64)


def _sample(cells: int, images: int, rng: np.random.Generator) -> Intp:
    share = min(1.0, _SAMPLES_PER_FIT / max(1, images) / max(1, cells))
    return np.flatnonzero(rng.random(cells) < share)
