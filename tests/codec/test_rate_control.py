"""Rate control: quality, and targets of bytes, PSNR and SSIMULACRA2."""

from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import pytest

from helpers.layers import encode_blocks
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import half_busy, psnr_db, sample
from vqcodec import api
from vqcodec.arrays import Pixels
from vqcodec.codec import rate_control
from vqcodec.codec.pipeline import Encoder
from vqcodec.errors import LimitError
from vqcodec.format import container
from vqcodec.format.header import Metadata
from vqcodec.io.image_reader import read_image
from vqcodec.options import EncodeOptions
from vqcodec.transform.layouts import COLOR_8X8, Layout
from vqcodec.weights import registry

SAMPLES = REPOSITORY / "samples"


def deep_picture(depth: int) -> np.ndarray:
    """A grey ramp with noise in samples of `depth` bits, uint16 [56, 72]."""
    y, x = np.mgrid[:56, :72]
    shares = 0.2 + 0.6 * (x + y) / 128 + np.random.default_rng(4).normal(0, 0.02, y.shape)
    return np.rint(shares * ((1 << depth) - 1)).astype(np.uint16)


def test_quality_is_monotone_and_reaches_48_db() -> None:
    pixels = sample("landscape", (200, 100, 360, 228))
    files = [api.encode(pixels, quality=q) for q in (0, 25, 50, 75, 90, 100)]
    sizes = [len(f) for f in files]
    quality = [psnr_db(pixels, api.decode(f)) for f in files]
    assert sizes == sorted(sizes)
    assert quality == sorted(quality)
    assert quality[-1] > 46


@pytest.mark.parametrize("bpp", fast_first([0.15, 0.5, 1.5]))
def test_rate_control_lands_below_the_target_within_a_percent(bpp: float) -> None:
    pixels = sample("still_life", (100, 80, 484, 368))
    found = 8 * len(api.encode(pixels, bpp=bpp, model="photo-lite")) / (384 * 288)
    assert bpp * 0.99 <= found <= bpp


def test_a_psnr_out_of_reach_of_the_blocks_is_met_without_loss() -> None:
    for box in ((100, 80, 164, 144), (100, 80, 356, 272)):  # a tiny picture, and one that is not tried otherwise
        pixels = sample("still_life", box)
        with pytest.raises(LimitError, match=r"can make here is \d\d\.\d\d$"):
            encode_blocks(pixels, psnr=90.0)
        np.testing.assert_array_equal(api.decode(api.encode(pixels, psnr=90.0)), pixels)


def test_targets_out_of_reach_are_refused() -> None:
    pixels = sample("still_life", (100, 80, 164, 144))
    with pytest.raises(LimitError, match=r"no file of at most 60 bytes: .* has \d+, of which 5000 are"):
        api.encode(pixels, size=60, metadata=Metadata(icc=bytes(5000)))
    assert len(api.encode(pixels, size=100)) <= 100
    with pytest.raises(LimitError, match=r"the model can make has \d+$"):
        api.encode(pixels, bpp=0.01)


def test_the_largest_steps_are_no_worse_with_the_synthesis() -> None:
    """The synthesis has learnt from steps up to 180 grey levels and gets larger ones as 180; otherwise it would cost several dB."""
    pixels = sample("still_life")[100:400, 100:500]
    encoder = Encoder(pixels, registry.find("photo"), EncodeOptions(threads=1, effort=1))
    data = encoder.file(500 * 64)
    assert psnr_db(pixels, api.decode(data)) > psnr_db(pixels, api.decode(data, refine="none"))


def test_psnr_target_is_met_closely() -> None:
    pixels = sample("still_life", (100, 80, 356, 272))
    found = psnr_db(pixels, api.decode(api.encode(pixels, psnr=36.0)))
    assert 36.0 <= found < 36.05


class FakeEncoder:
    """An encoder whose file sizes and PSNRs, or SSIMULACRA2, are given functions of the step; it records all trials."""

    pixels, depth, others = np.zeros((8, 8, 3), np.uint8), 8, ()

    def __init__(
        self, size: Callable[[int, bool], float], psnr: Callable[[int], float] = lambda step: 0.0, rounds: int = 1
    ) -> None:
        self.size, self.psnr, self.rounds = size, psnr, rounds
        self.tried: list[tuple[bool, int, float]] = []
        """Whether it was aimed, the step, and the size or the PSNR."""

    def file(self, step_64: int) -> bytes:
        size = round(self.size(step_64, self.rounds > 0))
        self.tried.append((self.rounds > 0, step_64, size))
        return bytes((self.rounds > 0,)) + step_64.to_bytes(2, "big") + bytes(max(0, size - 3))

    def decoded(self, step_64: int) -> Pixels:
        return np.full((1, 1, 1), step_64, np.uint16)

    def psnr_of(self, decoded: Pixels) -> float:
        step_64 = int(decoded[0, 0, 0])
        self.tried.append((self.rounds > 0, step_64, self.psnr(step_64)))
        return self.tried[-1][2]

    def ssimulacra2_of(self, decoded: Pixels) -> float:
        return self.psnr_of(decoded)

    def layout(self, step_64: int) -> Layout:
        return COLOR_8X8

    def without_aiming(self) -> "FakeEncoder":
        other = copy(self)
        other.rounds = 0
        return other

    def with_large_layout(self) -> "FakeEncoder":
        return self


@pytest.mark.parametrize("excess", [0.0, 0.02])  # what aiming adds to the bytes
def test_a_search_aims_only_when_it_is_near(excess: float) -> None:
    """Sizes fall like those of files, with ripples; the search has to come within 0.2 % of the target."""
    encoder = FakeEncoder(lambda step, aimed: 2e6 * step**-1.07 * (1 + 0.001 * np.sin(step) + (excess if aimed else 0)))
    for size in (100, 700, 5000, 20_000):
        encoder.tried.clear()
        assert size * 0.99 <= len(rate_control.file_of_size(encoder, size)) <= size
        assert sum(aimed for aimed, *_ in encoder.tried) <= 6
    with pytest.raises(LimitError):
        rate_control.file_of_size(encoder, 1)


def test_a_search_returns_its_best_trial_with_aiming() -> None:
    """Sizes and PSNRs with ripples: the last trial is not always the best, and a trial without aiming is no file of this effort."""
    encoder = FakeEncoder(
        lambda step, aimed: 2e6 * step**-1.07 * (1 + 0.05 * np.sin(9 * step)),
        lambda step: 60 - 6 * np.log2(step / 64) + 0.3 * np.sin(9 * step),
    )
    for size in range(100, 20_000, 997):
        encoder.tried.clear()
        found = rate_control.file_of_size(encoder, size)
        assert found[0]
        assert len(found) == max(figure for aimed, _, figure in encoder.tried if aimed and figure <= size)
    for target in np.arange(25, 47, 0.7):
        encoder.tried.clear()
        found = rate_control.file_of_psnr(encoder, target)
        met = [step for aimed, step, figure in encoder.tried[:-1] if aimed and figure >= target]
        assert int.from_bytes(found[1:3], "big") == max(met)


@pytest.mark.parametrize("power", [0.55, 0.71, 0.9])  # photographs differ
@pytest.mark.parametrize("factor", [3.0, 4.5, 8.0])
def test_few_trials_meet_an_ssimulacra2(power: float, factor: float) -> None:
    """Scores fall like those of photographs, with ripples of 0.2 points."""

    def score(step_64: int) -> float:
        return 100 - factor * (step_64 / 64) ** power + 0.2 * np.sin(9 * step_64)

    encoder = FakeEncoder(lambda step, aimed: 2e6 * step**-1.07, score, rounds=0)
    trials = []
    for target in (30, 50, 70, 80, 90):
        encoder.tried.clear()
        found = int.from_bytes(rate_control.file_of_ssimulacra2(encoder, target)[1:3], "big")
        assert target <= score(found) <= target + 0.5
        assert found == max(step for _, step, figure in encoder.tried[:-1] if figure >= target)
        trials.append(len(encoder.tried) - 1)
    assert max(trials) <= 11
    assert np.mean(trials) <= 6


def test_a_coarser_step_than_one_that_misses_may_have_the_ssimulacra2() -> None:
    """Between two neighbouring steps the score falls by more than a point, and rises again later."""

    def score(step_64: int) -> float:
        smooth = 100 - 4.5 * (step_64 / 64) ** 0.71
        return smooth + (1.0 if step_64 <= 2000 else -0.5 if step_64 < 2020 else 1.0)

    target = 100 - 4.5 * (2000 / 64) ** 0.71
    encoder = FakeEncoder(lambda step, aimed: 2e6 * step**-1.07, score, rounds=0)
    found = int.from_bytes(rate_control.file_of_ssimulacra2(encoder, target)[1:3], "big")
    assert found > 2020
    assert target <= score(found) < target + 0.5


def test_a_search_for_an_ssimulacra2_goes_on_until_a_step_has_it() -> None:
    """The score falls at one step alone, so that slopes mislead."""
    for edge in (33, 40, 100, 700, 5000, container.MAX_STEP_64):
        encoder = FakeEncoder(
            lambda step, aimed: 2e6 * step**-1.07, lambda step, edge=edge: 60.0 if step > edge else 90.0, rounds=0
        )
        found = int.from_bytes(rate_control.file_of_ssimulacra2(encoder, 70)[1:3], "big")
        assert found <= edge


def test_an_ssimulacra2_out_of_reach_is_refused() -> None:
    encoder = FakeEncoder(lambda step, aimed: 1e3, lambda step: 93.25 - step / 1e5)
    with pytest.raises(LimitError, match=r"no file of at least SSIMULACRA2 99: the most that the model can make here is 93\.2\d$"):
        rate_control.file_of_ssimulacra2(encoder, 99)
    with pytest.raises(LimitError):
        rate_control.file_of_ssimulacra2(encoder, 100)
    assert rate_control.file_of_ssimulacra2(encoder, 20)[1:3] == container.MAX_STEP_64.to_bytes(2, "big")


def test_quality_100_is_finer_the_deeper_the_samples() -> None:
    steps = [rate_control.step_of_quality(100, depth) for depth in (8, 9, 10, 16)]
    assert steps == [128, 64, rate_control.FINEST_STEP_64, rate_control.FINEST_STEP_64]
    assert [rate_control.step_of_quality(quality, 16) for quality in (0, 50, 95)] == [
        rate_control.step_of_quality(q) for q in (0, 50, 95)
    ]


@pytest.mark.parametrize(
    ("model", "depth", "tile", "step"),
    fast_first(
        [
            ("photo-lite", 8, 64, 40),
            ("photo-lite", 12, 64, 30),
            ("photo", 16, None, 30),
            ("photo-lite", 8, None, 40),
            ("photo", 8, 64, 40),
            ("photo", 8, 64, 3),  # without the synthesis
        ],
        1,
    ),
)
def test_the_psnr_of_a_step_is_that_of_its_file(model: str, depth: int, tile: int | None, step: int, samples: Path) -> None:
    pixels = read_image(samples / "still_life.png").pixels[100:204, 80:184] if depth == 8 else deep_picture(depth)[:, :, None]
    encoder = Encoder(pixels, registry.find(model), EncodeOptions(threads=1, effort=1, tile=tile))
    data = encoder.file(64 * step)
    decoded = api.decode(data).reshape(pixels.shape)
    mse = np.square(decoded.astype(float) - pixels).mean()
    assert encoder.psnr_of(encoder.decoded(64 * step)) == pytest.approx(10 * np.log10(((1 << depth) - 1) ** 2 / mse), abs=1e-3)
    assert decoded.dtype == pixels.dtype


@pytest.mark.parametrize(("depth", "tile"), fast_first([(16, None), (8, 64), (10, None), (12, 64)]))
def test_the_psnr_target_holds_for_the_decode(depth: int, tile: int | None) -> None:
    pixels = half_busy(72, 3) if depth == 8 else deep_picture(depth)
    decoded = api.decode(encode_blocks(pixels, psnr=38, model="photo-lite", effort=1, tile=tile))
    found = 10 * np.log10(((1 << depth) - 1) ** 2 / np.square(decoded.astype(float) - pixels).mean())
    assert 38 <= found < 38.1


@pytest.mark.slow
def test_no_target_of_size_is_missed_by_a_byte() -> None:
    """The search for each of these sizes also tries a file that is one byte larger."""
    pixels, options = half_busy(24, 1), {"model": "photo-lite", "effort": 1}
    for size in (50, 56, 60):
        assert size - 4 <= len(encode_blocks(pixels, size=size, **options)) <= size
        assert size - 4 <= len(encode_blocks(pixels, bpp=8 * (size + 0.99) / 24**2, **options)) <= size
    encoder = Encoder(pixels, registry.find("photo-lite"), EncodeOptions(threads=1, effort=1))
    least = len(encoder.file(container.MAX_STEP_64))
    assert len(encode_blocks(pixels, size=least, **options)) == least
    with pytest.raises(LimitError, match=f"no file of at most {least - 1} bytes: .* has {least}$"):
        api.encode(pixels, size=least - 1, **options)


def test_a_rate_beyond_all_files_gives_the_largest() -> None:
    pixels = half_busy(24, 1)
    assert api.encode(pixels, bpp=1e308, model="photo-lite") == api.encode(pixels, bpp=1000, model="photo-lite")
