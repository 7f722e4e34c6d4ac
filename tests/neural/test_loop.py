"""The training loop: rates, averages, batches, checkpoints."""

import resource
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vqcodec.errors import InputError, OutputError
from vqcodec.weights import registry

LITE = registry.find("photo-lite")


@pytest.mark.slow
def test_weights_are_kept_from_before_a_folder_is_memorised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss drives a weight up without end, held-out samples want 0.05; training stops after that point and continues."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    monkeypatch.setattr(loop, "EVERY", 1)
    monkeypatch.setattr(loop, "SCORED", 1)
    seen: list[float] = []

    def train(report: Any = None) -> float:
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)
        found = loop.fit(
            network,
            lambda rng: (torch.ones(1, 1),),
            lambda network, batch: -network(*batch).mean(),
            lambda network: abs(network.weight.item() - 0.05),
            loop.Schedule(steps=60, rate=0.01, average=0.5),
            loop.LoopOptions(checkpoint=tmp_path / "checkpoint", report=report),
        )
        return found.weight.item()

    def stop(facts: dict[str, float]) -> None:
        seen.append(facts["held_out"])
        if facts["step"] == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(stop)
    assert seen[-1] > 0.1
    assert train() == pytest.approx(0.05, abs=min(seen) + 1e-6)
    best, newest = loop.Best(torch.nn.Linear(1, 1)), torch.nn.Linear(1, 1)
    best.look(torch.nn.Linear(1, 1), float("nan"))
    best.look(newest, float("nan"))  # without held-out samples the newest is kept
    assert torch.equal(best.network.weight, newest.weight)
    good = torch.nn.Linear(1, 1)
    best.look(good, 0.5)
    best.look(torch.nn.Linear(1, 1), float("nan"))  # a diverged network does not replace a good one
    assert best.figure == 0.5
    assert torch.equal(best.network.weight, good.weight)


def test_learning_rates_rise_then_fall_to_nothing() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import Schedule

    schedule = Schedule(steps=100, warmup=0.1)
    shares = [schedule.share_of_rate(schedule.share_done(step, 0)) for step in range(101)]
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert (shares[0], shares[100]) == (0, 0)
    assert max(shares) > 0.9
    assert shares[50] == pytest.approx(0.5)
    assert Schedule(minutes=2.0).share_done(7, 30) == 0.25


def test_moving_averages_keep_the_given_share() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.loop import average_in

    average, network = (torch.nn.Linear(1, 1, bias=False) for _ in range(2))
    with torch.no_grad():
        average.weight.fill_(1), network.weight.fill_(0)
    for _ in range(3):
        average_in(average, network, 0.9)
    assert average.weight.item() == pytest.approx(0.9**3)
    assert network.weight.item() == 0


def test_a_step_clips_the_gradient_and_scales_the_learning_rate() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    network = torch.nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(0), network.bias.fill_(0)
    found = loop.fit(
        network,
        lambda rng: (torch.ones(1, 1),),
        lambda network, batch: 1e6 * network(*batch).mean(),
        lambda network: 0.0,
        loop.Schedule(steps=20, average=0.0),
        rate_factor=lambda parameter: 10.0 if parameter is network.bias else 1.0,
    )
    assert 0.9 < float(torch.cat([network.weight.grad[0], network.bias.grad]).norm()) <= 1.0001
    assert found.bias.item() == pytest.approx(10 * found.weight.item(), rel=0.01)
    assert found.weight.item() < 0


def test_muon_moves_matrices_alike_in_all_directions_and_continues_from_a_checkpoint(tmp_path: Path) -> None:
    """The singular values of a step are nearly equal, however unequal those of the gradient; biases are left to Adam."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    inputs = torch.randn(64, 8, generator=torch.manual_seed(0)) * 2.0 ** -torch.arange(8)
    batch = (inputs, inputs @ torch.randn(8, 4) + 1)

    def trained(steps: int, checkpoint: Path | None = None) -> Any:
        network = torch.nn.Linear(8, 4)
        with torch.no_grad():
            network.weight.zero_(), network.bias.zero_()
        return loop.fit(
            network,
            lambda rng: batch,
            lambda network, batch: (network(batch[0]) - batch[1]).square().mean(),
            lambda network: 0.0,
            loop.Schedule(steps=steps, average=0.0, rate=1e-3, matrix_rate=0.02, warmup=1e-9),
            loop.LoopOptions(checkpoint=checkpoint),
            matrices=lambda network: [network.weight],
        )

    moved = trained(2)  # the first step has next to no rate
    values = torch.linalg.svdvals(moved.weight.detach())
    assert 0.5 * 0.02 * 0.5 < float(values.min()) < float(values.max()) < 1.5 * 0.02 * 0.5
    assert float(moved.bias.detach().abs().max()) == pytest.approx(5e-4, rel=0.01)
    whole = trained(2 * loop.EVERY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Schedule, "share_done", lambda self, number, seconds: number / (2 * loop.EVERY) + (number == loop.EVERY))
        trained(loop.EVERY, tmp_path / "checkpoint")  # stopped half-way
    continued = trained(2 * loop.EVERY, tmp_path / "checkpoint")
    torch.testing.assert_close(continued.weight.detach(), whole.weight.detach())


def test_batches_are_others_for_every_seed_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    def first_draw(seed: int, rank: int) -> float:
        drawn: list[float] = []

        def draw(rng: np.random.Generator) -> tuple[Any, ...]:
            drawn.append(rng.random())
            return (torch.ones(1, 1),)

        monkeypatch.setattr(loop, "join_processes", lambda device: rank)
        settings = loop.Schedule(steps=1, seed=seed)
        loop.fit(torch.nn.Linear(1, 1), draw, lambda network, batch: network(*batch).mean(), lambda network: 0.0, settings)
        return drawn[0]

    assert first_draw(0, 0) == first_draw(0, 0)
    assert len({first_draw(seed, rank) for seed in (0, 1) for rank in (0, 1)}) == 4


def test_crops_are_as_large_as_nine_pictures_of_ten_allow_and_come_by_area() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import crops

    assert crops.usable_crop([(12, 20)] * 19 + [(2, 30)], 16) == 12
    assert crops.usable_crop([(12, 20)] * 15 + [(2, 30)] * 5, 16) == 2
    assert crops.usable_crop([(12, 20)], 8) == 8
    places = list(crops.draw_places([(4, 4), (12, 12)], 1000, 4, np.random.default_rng(0)))
    assert np.mean([place.number for place in places]) == pytest.approx(0.9, abs=0.03)
    assert {place.top for place in places if place.number == 1} == set(range(9))


def test_a_checkpoint_of_another_training_is_refused_and_kept(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    checkpoint = tmp_path / "checkpoint"
    settings = loop.Schedule(steps=100, origin="photo 12 pictures")
    parts = {"network": torch.nn.Linear(2, 2)}
    loop.save_checkpoint(checkpoint, settings, 50, 7.0, parts)
    assert loop.load_checkpoint(checkpoint, settings, parts) == (50, 7.0)
    longer = replace(settings, steps=None, minutes=3.0)
    assert loop.load_checkpoint(checkpoint, longer, parts) == (50, 7.0)  # the length may change
    assert loop.load_checkpoint(checkpoint, replace(settings, batch=5), parts, ("batch",)) == (50, 7.0)
    kept = checkpoint.read_bytes()
    for other, what in (({"origin": "photo 13 pictures"}, "another origin"), ({"batch": 5, "seed": 1}, "another seed, batch")):
        with pytest.raises(InputError, match=what):
            loop.load_checkpoint(checkpoint, replace(settings, **other), parts)  # type: ignore[arg-type]  # by name
    with pytest.raises(InputError, match="cannot continue from it"):
        loop.load_checkpoint(checkpoint, settings, {"network": torch.nn.Linear(2, 3)})
    assert checkpoint.read_bytes() == kept
    for broken in (b"", b"junk", kept[:-100]):
        checkpoint.write_bytes(broken)
        with pytest.raises(InputError, match="cannot continue from it"):
            loop.load_checkpoint(checkpoint, settings, parts)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    checkpoint, settings = tmp_path / "checkpoint", loop.Schedule(steps=100)
    parts = {"network": torch.nn.Linear(200, 200)}
    loop.save_checkpoint(checkpoint, settings, 50, 7.0, parts)
    kept = checkpoint.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) // 2, limit[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            loop.save_checkpoint(checkpoint, settings, 100, 14.0, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert checkpoint.read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_continued_training_draws_other_batches_within_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import loop

    monkeypatch.setattr(loop, "EVERY", 1)
    checkpoint = tmp_path / "checkpoint"
    drawn: list[float] = []

    def train(settings: loop.Schedule) -> None:
        def draw(rng: np.random.Generator) -> tuple[Any, ...]:
            assert len(drawn) < 6
            drawn.append(rng.random())
            return (torch.ones(1, 1),)

        options = loop.LoopOptions(checkpoint=checkpoint)
        loop.fit(torch.nn.Linear(1, 1), draw, lambda net, batch: net(*batch).mean(), lambda _: 0.0, settings, options)

    train(loop.Schedule(steps=3))
    train(loop.Schedule(steps=6))
    assert len(set(drawn)) == 6
    saved = torch.load(checkpoint, weights_only=True)
    torch.save(saved | {"spent": 90.0}, checkpoint)
    train(loop.Schedule(minutes=1.0))  # the time is over
    assert len(drawn) == 6
