"""The context network in torch. Its integer formulas are in entropy/context.py, its fit in context_fit.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.codec.choices import LAMBDA
from vqcodec.codec.symbols import DC_LAMBDA
from vqcodec.entropy.context import (
    CROSS,
    DC_AROUND,
    MARGIN,
    MEAN_OUT_SHIFT,
    dc_inputs_of,
    dc_pass_names,
    outputs_of,
    taps_of,
)
from vqcodec.entropy.layers import UNIT_MAX, UNIT_SHIFT
from vqcodec.entropy.linear import FLOAT32_EXACT, SCALE_SHIFT
from vqcodec.neural.context_samples import ONE, even_first
from vqcodec.neural.density import Density
from vqcodec.neural.loop import Batch
from vqcodec.neural.units import product_type, unit
from vqcodec.transform.layouts import COLOR_4X4, Tile

_LATENTS: Final = 16
"""Units of latents per step."""
_SEEN: Final = COLOR_4X4.channels
_INT16: Final = 32767


def _weights(outputs: int, inputs: int, gain: float) -> nn.Parameter:
    return nn.Parameter(torch.randn(outputs, inputs) * gain / inputs**0.5)


class Half(nn.Module):
    """The two layers after the states, for one half of a tile."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden, self.hidden_bias = _weights(hidden, inputs, 1.0), nn.Parameter(torch.zeros(hidden))
        self.out, self.out_bias = nn.Parameter(torch.zeros(outputs, hidden)), nn.Parameter(torch.zeros(outputs))

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Corrections of inputs [B, n, ...] that come in parts, which are never copied together."""
        first = 0
        sums: Tensor = self.hidden_bias
        for part in parts:
            sums = functional.linear(part, self.hidden[:, first : first + part.shape[-1]]) + sums
            first += part.shape[-1]
        return functional.linear(unit(sums), self.out, self.out_bias)


class TileContext(nn.Module):
    """The network's part for tiles; its corrections are zero before training."""

    def __init__(self, luma: int, chroma: int, hidden: int) -> None:
        super().__init__()
        widths = (luma, chroma)
        planes = 2 * len(DC_AROUND)
        self.dc = nn.ParameterList([_weights(luma, planes, 0.7), _weights(chroma, 2 * planes, 0.7)])
        self.step = nn.ParameterList([_weights(w, 3, 0.3) for w in widths])
        self.state, self.own, self.halves = nn.ParameterList(), nn.ParameterList(), nn.ModuleList()
        for tile in COLOR_4X4.tiles:
            bank = min(tile.component, 1)
            self.state.append(_weights(widths[bank], 2 * tile.size * len(taps_of(tile)), 0.5))
            self.own.append(_weights(widths[bank], 8 * tile.size, 0.3))
            inputs = sum(widths[: bank + 1]) + 1 + tile.size
            self.halves.extend([Half(inputs, hidden, outputs_of(tile)) for _ in range(2)])
        self.density, self.linear_density = Density(LAMBDA), Density(LAMBDA)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bits of every crop of a `draw_crops` batch, with the network and with the linear predictions alone, [B] each."""
        *_, means, scores, targets, colour = batch
        total, linear = torch.zeros_like(colour), torch.zeros_like(colour)
        found = list(self.corrections(batch))
        for size in {tile.size for tile, _ in found}:  # all tiles of a size at once: many small steps take longer
            tiles, outs = zip(*((tile, out) for tile, out in found if tile.size == size), strict=True)
            missing = torch.stack([targets[..., t.channels] - means[..., t.channels] / _LATENTS for t in tiles], dim=2)
            score = torch.stack([scores[..., t.number] for t in tiles], dim=2)[..., None]  # [B, n, tiles, 1]
            added = torch.stack([out[..., 1:].expand_as(missing[:, :, 0]) for out in map(_with_means, outs)], dim=2)
            better = score + torch.stack([out[..., :1] for out in outs], dim=2)
            counts = torch.stack([colour if t.component else torch.ones_like(colour) for t in tiles], dim=1)  # [B, tiles]
            total = total + (counts * self.density(missing - added, better).sum(dim=(1, 3))).sum(dim=1)
            linear = linear + (counts * self.linear_density(missing, score).sum(dim=(1, 3))).sum(dim=1)
        return total, linear

    def corrections(self, batch: Batch) -> Iterator[tuple[Tile, Tensor]]:
        """The corrections [B, n, 1 or 1 + T] of each tile's scores (classes) and means (steps)."""
        values, differences, step_inputs, means, scores, *_ = batch
        cells = scores.shape[1]
        side = int(cells**0.5)
        halves = slice(0, cells // 2), slice(cells // 2, cells)
        places = [torch.from_numpy(even_first(side)[half]).to(values.device) for half in halves]
        rows = values.flatten(2).transpose(1, 2).to(product_type(values))  # [B, (side + 4) ** 2, 192]
        around = len(DC_AROUND)
        luma_dc = torch.cat([differences[..., :around], differences[..., 3 * around : 4 * around]], 2)
        chroma_dc = torch.cat([differences[..., around : 3 * around], differences[..., 4 * around :]], 2)
        states = []
        for dc, weights, own in zip((luma_dc, chroma_dc), self.dc, self.step, strict=True):
            of_step = functional.linear(step_inputs, own).float()[:, None]
            states.append([functional.linear(dc[:, half], weights).float() + of_step for half in halves])
        units = [[unit(state) for state in bank] for bank in states]
        mean_features = torch.sign(means) * torch.log2(1 + means.abs() / 4) * (8 / ONE)
        for tile in COLOR_4X4.tiles:
            bank, channels = min(tile.component, 1), tile.channels
            seen = torch.cat([rows[..., channels], rows[..., _SEEN + channels.start : _SEEN + channels.stop]], 2)
            outs = []
            for number, half in enumerate(halves):
                here = [both[number] for both in units[: bank + 1]]
                if number:
                    own = functional.linear(_columns(seen, CROSS, side, places[1]), self.own[tile.number])
                    here[bank] = unit(states[bank][1] + own)
                others = torch.cat([scores[:, half, tile.number, None] * (4 / ONE), mean_features[:, half, channels]], 2)
                outs.append(self.halves[2 * tile.number + number]([*here, others]).float())
            yield tile, torch.cat(outs, 1)
            weights = self.state[tile.number]
            for number, where in enumerate(places):
                states[bank][number] = states[bank][number] + functional.linear(_columns(seen, taps_of(tile), side, where), weights)
                units[bank][number] = unit(states[bank][number])


def _columns(seen: Tensor, taps: Sequence[tuple[int, int]], side: int, places: Tensor) -> Tensor:
    """Neighbourhoods [B, n, taps * channels] of the n cells `places`, from values [B, (side + 4) ** 2, channels]."""
    width = side + 2 * MARGIN
    middle = (places // side + MARGIN) * width + places % side + MARGIN
    offsets = torch.tensor([y * width + x for y, x in taps], device=places.device)
    around = seen.index_select(1, (middle[:, None] + offsets).reshape(-1))
    return around.reshape(len(seen), len(places), -1)


def _with_means(out: Tensor) -> Tensor:
    """Corrections [B, n, 1 + T or 2] of a tile: with a zero for all means if it has none."""
    return out if out.shape[2] > 1 else functional.pad(out, (0, 1))


def widened(start: TileContext, luma: int, hidden: int) -> TileContext:
    """A network with more luma units and hidden units and the same outputs as `start` (Net2Net, Chen et al. 2016).

    New units have no effect yet. It never has fewer units than `start`.
    """
    old_luma, chroma, old_hidden = len(start.dc[0]), len(start.dc[1]), len(_halves(start)[0].hidden_bias)
    wide = TileContext(max(luma, old_luma), chroma, max(hidden, old_hidden))
    with torch.no_grad():
        for new, old in zip(wide.parameters(), start.parameters(), strict=True):
            if new.shape == old.shape:
                new.copy_(old)
            elif new.ndim == 1 or new.shape[1] == old.shape[1]:  # more outputs
                new[: len(old)] = old
        for new_half, old_half in zip(_halves(wide), _halves(start), strict=True):
            rows, inputs = old_half.hidden.shape
            new_half.hidden[:rows] = 0
            new_half.hidden[:rows, :old_luma] = old_half.hidden[:, :old_luma]
            new_half.hidden[:rows, len(new_half.hidden[0]) - (inputs - old_luma) :] = old_half.hidden[:, old_luma:]
            new_half.out[:] = 0
            new_half.out[:, :rows] = old_half.out
    return wide


def _halves(network: TileContext) -> list[Half]:
    return [half for half in network.halves if isinstance(half, Half)]


class DcContext(nn.Module):
    """The network's part for DC passes, two hidden layers each; its corrections are zero before training."""

    def __init__(self, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.passes = nn.ModuleDict({_key(name): _DcPass(dc_inputs_of(name), hidden) for name in dc_pass_names()})
        self.density, self.linear_density = Density(LAMBDA * DC_LAMBDA), Density(LAMBDA * DC_LAMBDA)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bits of each pass of a `draw_rows` batch, with the network and with the linear predictions alone, [passes] each."""
        total, linear = [], []
        for number, network in enumerate(self.passes.values()):
            inputs, score, target = batch[3 * number : 3 * number + 3]
            out = network(inputs).float()
            total.append(self.density(target - out[:, 1], score + out[:, 0]).sum())
            linear.append(self.linear_density(target, score).sum())
        return torch.stack(total), torch.stack(linear)


class _DcPass(nn.Module):
    """The layers of one kind of DC pass."""

    def __init__(self, inputs: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.first, self.first_bias = _weights(hidden[0], inputs, 1.0), nn.Parameter(torch.zeros(hidden[0]))
        self.second, self.second_bias = _weights(hidden[1], hidden[0], 1.4), nn.Parameter(torch.zeros(hidden[1]))
        self.out, self.out_bias = nn.Parameter(torch.zeros(2, hidden[1])), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        hidden = unit(functional.linear(x, self.first, self.first_bias))
        hidden = unit(functional.linear(hidden, self.second, self.second_bias))
        return functional.linear(hidden, self.out, self.out_bias)


def _key(name: str) -> str:
    return name.replace(".", "_")  # module names have no dots


def to_tensors(tiles: TileContext, dcs: DcContext) -> dict[str, NDArray[Any]]:
    """Tensors `context.*` for entropy.context.ContextNetwork: int16 weights, int32 biases."""
    found: dict[str, NDArray[Any]] = {}
    shift = _state_shift(tiles)
    found["context.shift"] = np.array([shift], np.int16)
    for name, (parameters, scale) in _named_parameters(tiles, dcs, shift).items():
        arrays = [np.rint(parameter.detach().numpy() * scale) for parameter in parameters]
        array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
        whole = array.astype(np.int32) if name.endswith("_bias") else np.clip(array, -_INT16, _INT16).astype(np.int16)
        found[f"context.{name}"] = whole
    return found


def load_tensors(tensors: Mapping[str, NDArray[Any]]) -> tuple[TileContext, DcContext]:
    """The network of tensors `context.*`: the inverse of `to_tensors`, with untrained densities."""
    luma, chroma = (len(tensors[f"context.{bank}.dc"]) for bank in ("luma", "chroma"))
    first, second = (len(tensors[f"context.{dc_pass_names()[0]}.{part}"]) for part in ("first", "second"))
    tiles = TileContext(luma, chroma, tensors["context.tile.00.hidden"].shape[1])
    dcs = DcContext((first, second))
    with torch.no_grad():
        for name, (parameters, scale) in _named_parameters(tiles, dcs, int(tensors["context.shift"][0])).items():
            array = torch.from_numpy(tensors[f"context.{name}"].astype(np.float32) / np.float32(scale))
            for parameter, values in zip(parameters, array if len(parameters) > 1 else [array], strict=True):
                parameter.copy_(values)
    return tiles, dcs


def _state_shift(tiles: TileContext) -> int:
    """Fractional bits of the states, at most UNIT_SHIFT, such that their sums stay exact in float32."""
    worst = 0.0
    for bank in (0, 1):
        states = [tiles.state[tile.number] for tile in COLOR_4X4.tiles if min(tile.component, 1) == bank]
        own = [tiles.own[tile.number] for tile in COLOR_4X4.tiles if min(tile.component, 1) == bank]
        sums = sum(weights.detach().abs().sum(dim=1) for weights in (tiles.dc[bank], tiles.step[bank], *states))
        once = torch.stack([weights.detach().abs().sum(dim=1) for weights in own]).amax(dim=0)
        worst = max(worst, float((sums + once).max()))
    exact = FLOAT32_EXACT * 0.99 / (UNIT_MAX * max(worst, 1e-3))  # with room for rounding
    return max(1, min(UNIT_SHIFT, int(np.log2(exact))))


def _named_parameters(tiles: TileContext, dcs: DcContext, shift: int) -> dict[str, tuple[list[nn.Parameter], float]]:
    """Parameters of each tensor, by its name without `context.`, of both halves if there are two, and their integer scale."""
    state, inner, last = float(1 << shift), float(1 << UNIT_SHIFT), float(1 << SCALE_SHIFT) / ONE
    found: dict[str, tuple[list[nn.Parameter], float]] = {}

    def layers(name: str, part: str, owners: Sequence[Any], scale: float) -> None:
        found[f"{name}.{part}"] = [getattr(owner, part) for owner in owners], scale
        found[f"{name}.{part}_bias"] = [getattr(owner, f"{part}_bias") for owner in owners], scale * ONE

    for bank, name in enumerate(("luma", "chroma")):
        found[f"{name}.dc"] = [tiles.dc[bank]], state
        found[f"{name}.step"] = [tiles.step[bank]], state
    for tile in COLOR_4X4.tiles:
        name = f"tile.{tile.number:02d}"
        halves = [tiles.halves[2 * tile.number + half] for half in (0, 1)]
        found[f"{name}.state"] = [tiles.state[tile.number]], state
        found[f"{name}.own"] = [tiles.own[tile.number]], state
        layers(name, "hidden", halves, inner)
        layers(name, "out", halves, last)
    for name in dc_pass_names():
        for part, scale in (("first", inner), ("second", inner), ("out", last)):
            layers(name, part, [dcs.passes[_key(name)]], scale)
    return found


assert MEAN_OUT_SHIFT + 4 == SCALE_SHIFT  # steps and classes have one scale in the outputs
