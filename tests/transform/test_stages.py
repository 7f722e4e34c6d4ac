"""Every stage and its inverse, on random input; and the exact stages against plain integer arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vqcodec.codec import decoder, rate_control, symbols
from vqcodec.entropy import codebooks, dc_pyramid, linear
from vqcodec.errors import CorruptError
from vqcodec.format import container, stream_records
from vqcodec.format.bits import BitReader, pack_bits
from vqcodec.format.header import Header, Section, StreamRecord
from vqcodec.format.stream_forms import Direct, Form, Pairs, Split
from vqcodec.train.streams import pair_table, rank_pairs
from vqcodec.transform import dct, layouts
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import registry
from vqcodec.weights.exact import AC_SET, DC_SET

MODEL = registry.find("photo-lite")
seeds = st.integers(0, 2**32 - 1)


def skewed(seed: int, count: int, size: int) -> np.ndarray:
    """Symbols uint8 [count], mostly zeros, none above `size`."""
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(rng.uniform(0.2, 0.98), count) - 1, size - 1).astype(np.uint8)


# ------------------------------------------------------------------------------------------------ bits and streams


@given(st.lists(st.integers(0, 16).flatmap(lambda w: st.tuples(st.just(w), st.integers(0, (1 << w) - 1))), max_size=60))
def test_bits_come_back(pairs: list[tuple[int, int]]) -> None:
    widths = np.array([w for w, _ in pairs], np.uint8)
    values = np.array([v for _, v in pairs], np.int32)
    data = pack_bits(values, widths)
    assert len(data) == -(-int(widths.sum(dtype=int)) // 8)
    reader = BitReader(data)
    half = len(pairs) // 2
    found = np.concatenate([reader.take(widths[:half]), reader.take(widths[half:])])
    np.testing.assert_array_equal(found, values)
    reader.finish()


def test_bits_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(CorruptError):
        BitReader(b"\x80").take(np.array([9], np.uint8))
    for data, width in ((b"\x00\x00", 8), (b"\x81", 1)):
        reader = BitReader(data)
        reader.take(np.array([width], np.uint8))
        with pytest.raises(CorruptError):
            reader.finish()


def forms(seed: int) -> list[Form]:
    symbols = np.append(skewed(seed, 3000, 60), np.uint8(1))
    return [Direct(), Split(), *(pair_table(rank_pairs(symbols), size) for size in (5, 100, 247)), *MODEL_PAIRS]


MODEL_PAIRS = [s.form for streams in MODEL.streams[:1] for s in streams if isinstance(s.form, Pairs)]


@settings(max_examples=40)
@given(seeds, st.integers(0, 3000), st.integers(1, 256))
def test_streams_come_back_in_every_form(seed: int, count: int, size: int) -> None:
    symbols = skewed(seed, count, size)
    wanted = np.trim_zeros(symbols, "b")
    for form in forms(seed):
        parts = form.pack(symbols)
        assert len(parts) == form.parts
        np.testing.assert_array_equal(form.unpack(parts, len(symbols)), wanted)
        if len(wanted):
            with pytest.raises(CorruptError):
                form.unpack(parts, len(wanted) - 1)


@settings(max_examples=40)
@given(seeds, st.sampled_from([f for f in MODEL_PAIRS if f.lengths is not None]))
def test_code_lengths_make_pairs_cheaper(seed: int, form: Pairs) -> None:
    assert form.lengths is not None
    lengths = np.where(form.lengths > 0, form.lengths, 16).astype(int)
    symbols = skewed(seed, 1000, 20)
    longest, cheapest = (np.frombuffer(f.pack(symbols)[0], np.uint8) for f in (replace(form, lengths=None), form))
    assert lengths[cheapest].sum() <= lengths[longest].sum()


@given(st.lists(st.binary(max_size=90), min_size=3, max_size=3))
def test_any_bytes_are_a_stream_or_corrupt(parts: list[bytes]) -> None:
    for form in forms(1):
        try:
            symbols = form.unpack(parts[: form.parts], 4000)
        except CorruptError:
            continue
        np.testing.assert_array_equal(form.unpack(form.pack(symbols), 4000), np.trim_zeros(symbols, "b"))


def test_runs_that_nothing_ends_are_no_stream() -> None:
    np.testing.assert_array_equal(Split().unpack([b"\xff\3", b"\1"], 259), np.append(np.zeros(258), 1))
    for runs in (b"\3\xff", b"\3\xff\xff", b"\3\4", b""):
        with pytest.raises(CorruptError, match="runs do not add up"):
            Split().unpack([runs, b"\1"], 999)


# ------------------------------------------------------------------------------------------------ the container

modes = st.sampled_from([stream_records.VERBATIM, stream_records.FRAME, stream_records.BLOCK, stream_records.BLOCK_WITH_DICTIONARY])


record = st.tuples(st.integers(0, 9000), modes, st.binary(max_size=200), st.integers(1, 20000))


@given(st.lists(st.lists(record, min_size=1, max_size=2), max_size=8), st.sampled_from([b"", b"raw"]))
def test_records_come_back(entries: list[list[tuple[int, int, bytes, int]]], raw: bytes) -> None:
    found = []
    for stream in entries:
        largest = 1 << 30
        for size, mode, data, _ in stream:
            whole = min(size, largest)  # a second part is no larger than the first
            stored = (bytes(whole) if mode == stream_records.VERBATIM else data) if whole else b""
            if mode == stream_records.BLOCK_WITH_DICTIONARY and whole >= stream_records.SINGLE_BELOW:
                stored = bytes((len(data) // 2, 0, 0, 0, len(data) // 3, 0)) + data  # the second of four streams is empty
            found.append(StreamRecord(whole, mode if whole else stream_records.VERBATIM, stored))
            largest = whole
    means = [[mean for *_, mean in stream] for stream in entries]
    limit = sum(entry.size for entry in found)
    data = stream_records.write_streams(found, means, raw)
    if limit >= len(raw):
        assert stream_records.read_streams(data, means, limit) == (found, raw)
    assert stream_records.read_streams(data + b"later", means, limit + 8) == (found, raw + b"later")  # raw bits are all the rest
    if limit:
        with pytest.raises(CorruptError, match="larger than the picture allows"):
            stream_records.read_streams(data, means, limit - 1)
    if not raw and data:
        with pytest.raises(CorruptError):
            stream_records.read_streams(data[:-1], means, limit)


@given(st.integers(0, 1 << 45), st.integers(0, 20))
@example(value=0xFFFFFFFF, order=0)  # 32 zeros
def test_numbers_in_bits_come_back(value: int, order: int) -> None:
    written = stream_records._number_bits(value) + stream_records._golomb_bits(order, value & 0xFFFFFFFF) + "1"
    bits = stream_records._BitReader(int(written.ljust(-(-len(written) // 8) * 8, "0"), 2).to_bytes(-(-len(written) // 8), "big"))
    assert stream_records._read_number(bits) == value
    assert stream_records._read_golomb(bits, order) == value & 0xFFFFFFFF
    assert bits.take(1) == 1
    assert bits.cursor == len(written)


@given(
    st.builds(
        Header,
        width=st.integers(1, 600),
        height=st.integers(1, 600),
        layout=st.integers(0, 2),
        layers=st.integers(1, 3),
        group_log2=st.sampled_from([0, 3, 5, 13]),
        model_id=st.binary(min_size=container.ID_BYTES, max_size=container.ID_BYTES),
        step_64=st.integers(1, 65535),
        merge_map=st.integers(0, 31),
        masking=st.integers(0, 7),
    ),
    st.data(),
)
def test_files_come_back(header: Header, data: st.DataObject) -> None:
    count = header.layers * len(header.groups)
    sections = [Section(container.INDICES, data.draw(st.binary(max_size=20))) for _ in range(count)]
    sections.append(Section(container.ICC, b"profile"))
    file = container.write_file(header, sections)
    assert container.read_file(file) == (header, sections)


# ------------------------------------------------------------------------------------------------ the quantiser


@given(hnp.arrays(np.int64, 50, elements=st.integers(-codebooks.SCALAR_MAX, codebooks.SCALAR_MAX)))
def test_the_alphabet_covers_every_integer_once(values: np.ndarray) -> None:
    letters = codebooks.alphabet_symbols(values)
    first, raw = codebooks.ALPHABET[letters].astype(int), codebooks.ALPHABET_RAW_BITS[letters].astype(int)
    rest = np.abs(values) - np.abs(first)
    assert np.all((rest >= 0) & (rest < 1 << raw) & (np.sign(first) == np.sign(values)))


@pytest.mark.slow
@given(seeds, st.sampled_from([0.0, 0.13, 2.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_residuals_come_back_from_their_symbols(seed: int, rate: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    search = codebooks.Search.of(MODEL.codebooks, [rate] * len(MODEL.codebooks))
    for number, book in enumerate(MODEL.codebooks):
        x = rng.laplace(0, rng.choice([0.3, 3, 300]), (40, book.dim)).astype(np.float32)
        if book.dim == 1:
            places = codebooks.quantize_scalar(search.scalars, np.full(len(x), search.origin[number]), x[:, 0], share)
            symbols, low, words = (array[places] for array in (search.scalars.symbols, search.scalars.low, search.scalars.words))
            np.testing.assert_array_equal(search.scalars.widths[places], book.raw_bits[symbols])
            np.testing.assert_array_equal(codebooks.with_low_bits(book.rows[symbols, 0].copy(), low), words)
            if rate * share == 0:  # the nearest integer at least
                inside = np.abs(x[:, 0]) < codebooks.SCALAR_MAX
                assert np.all(np.abs(x[:, 0] - words / codebooks.LATENT_UNIT)[inside] <= 1)
        else:
            x[:20] *= np.sqrt(max(0.0, search.reach[number]) / (x[:20] ** 2).sum(axis=1, keepdims=True))  # on the edge
            index, costs = codebooks.nearest(x, search.vectors[number].weights)
            words = book.rows[index] / codebooks.LATENT_UNIT
            assert not np.any(index == book.escape)
            every = ((x[:, None] - book.words.T[None] / codebooks.LATENT_UNIT) ** 2).sum(axis=2) + rate * book.bits
            if book.escape >= 0:
                every[:, book.escape] = np.inf
            found = ((x - words) ** 2).sum(axis=1) + rate * book.bits[index]
            np.testing.assert_allclose(found, every.min(axis=1), rtol=1e-3, atol=1e-3 * (1 + float((x * x).max())))
            np.testing.assert_allclose(costs + (x * x).sum(axis=1), found, rtol=1e-3, atol=1e-3 * (1 + float((x * x).max())))
            near = (x * x).sum(axis=1) <= search.reach[number]
            assert np.all(index[near] == search.zero[number])
            assert not np.any(words[near])
            assert book.escape < 0 or np.all(found[near] <= rate * book.bits[book.escape] + 1e-6)


@given(seeds, st.sampled_from([1, 2, 4, 8]), st.integers(1, 40), st.sampled_from([0.0, 0.13]), st.sampled_from([256, 128, None]))
def test_residuals_of_a_half_tile_come_back(seed: int, size: int, count: int, weight: float, word_size: int | None) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.permutation(60)[:count]
    means = rng.integers(-99, 99, (size, count)).astype(np.int32)
    classes = rng.integers(0, linear.CLASSES, count).astype(np.uint8)
    targets = np.clip(rng.laplace(0, rng.choice([0.1, 3, 300]), (11, 60)), -1000, 1000).astype(np.float32)
    sizes = word_size or rng.integers(128, 862, count).astype(np.int32)
    arguments = (AC_SET, slice(2, 2 + size), cells, means, classes, sizes)
    writer = symbols.SymbolWriter(MODEL, targets, symbols.search_rates(MODEL, weight))
    writer.start_layer(0)
    residuals = writer.code(*arguments)
    raw = pack_bits(*(np.concatenate(parts) for parts in zip(*writer.raw[0], strict=True))) if writer.raw[0] else b""
    streams: list[list[np.ndarray]] = [[np.zeros(0, np.uint8)] for _ in MODEL.streams[0]]
    for book, found in writer.calls[0]:
        streams[MODEL.maps[0][book]].append(found)
    found = [np.concatenate(parts) for parts in streams]
    reader = symbols.SymbolReader(MODEL, 0, [symbols.GroupStreams(lambda layer: (found, raw))])
    reader.start_layer(0)
    np.testing.assert_array_equal(reader.code(*arguments), residuals)
    reader.finish()
    if weight == 0:  # each value no worse than the nearest integer, or as many sizes, which are rounded to sixteenths
        wanted = targets[2 : 2 + size, cells] - means / 16
        worst = 1.0 if word_size == codebooks.NATURAL else np.asarray(sizes) / codebooks.NATURAL + 1 / 32
        assert np.all(((wanted - residuals / 16) ** 2).sum(axis=0) <= size * worst**2 * 1.0001)


@pytest.mark.parametrize("component", [0, 1, 2])
def test_dcs_that_others_are_predicted_from_are_nearer_to_what_they_should_be(component: int) -> None:
    cells = 256 * 256
    wanted = np.resize(np.linspace(-1, 1, cells // 64, dtype=np.float32), cells)
    classes = np.full(cells // 4, 8, np.uint8)  # a quiet class: anything but zero is dear
    means = np.zeros((1, cells // 4), np.int32)

    def error(density: float, word_size: int = codebooks.NATURAL) -> float:
        some = np.arange(int(density * cells))
        writer = symbols.EncoderWriter(MODEL, np.tile(wanted, (3, 1)), 0.13)
        writer.start_layer(0)
        found = writer.code(DC_SET, slice(component, component + 1), some, means[:, some], classes[some], word_size)
        return float(np.abs(wanted[some] - found[0] / 16).max())

    assert error(1 / 64) < error(1 / 16) < error(1 / 4)
    assert error(1 / 64, codebooks.NATURAL // 2) < error(1 / 64)


@pytest.mark.parametrize("components", [1, 3])
def test_fine_dcs_are_nearer_in_smooth_pictures(components: int) -> None:
    """Each DC of a slow gradient is less than a step from the DCs around: with coarse words whole areas are off."""
    gradient = 100 + 20 * np.add.outer(np.sin(np.arange(256) / 40), np.cos(np.arange(256) / 50))
    pixels = np.clip(gradient[..., None] + np.array((0, 12, -9))[:components], 0, 255).astype(np.uint8)

    def error(fine: bool) -> float:
        encoder = rate_control.Encoder(pixels, MODEL, threads=1)
        header = replace(encoder.header(64 * 100), fine_dcs=fine)
        coded = encoder.code_group(
            dct.forward(pixels, layouts.LAYOUTS[header.layout], OPPONENT), (32, 32), encoder.settings(header)
        )
        decoded = decoder.reconstruct(header, [coded.latents], MODEL, 1)
        return float(np.abs((decoded - pixels.astype(float)).reshape(8, 32, 8, 32, components).mean(axis=(1, 3))).mean())

    assert error(fine=True) < 0.9 * error(fine=False)
    assert rate_control.fine_dcs(components, 100) == (components == 3)
    assert not rate_control.fine_dcs(components, 20)


# ------------------------------------------------------------------------------------------------ geometry, transform


@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_has_each_coefficient_once(layout: layouts.Layout) -> None:
    assert len(set(layout.positions)) == len(layout.positions) == layout.channels
    assert {p for p in layout.positions if p[0] == 0} == {(0, v, u) for v in range(8) for u in range(8)}
    channels = [c for tile in layout.tiles for c in range(tile.channels.start, tile.channels.stop)]
    assert channels == list(range(layout.components, layout.channels))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2))
def test_dc_passes_reach_each_cell_once(h: int, w: int, component: int) -> None:
    cells = [0, *(cell for this in dc_pyramid.passes(h, w, component) for cell in this.cells.tolist())]
    assert sorted(cells) == list(range(h * w))


@settings(max_examples=30)
@given(seeds, st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 3]))
def test_pixels_come_back_from_fine_latents(seed: int, height: int, width: int, components: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, components), dtype=np.uint8)
    layout = layouts.GREY if components == 1 else layouts.COLOR_8X8
    coefficients = dct.forward(pixels, layout, OPPONENT)  # grey levels
    step = 64  # one grey level; latents in sixteenths of it
    latents = np.rint(coefficients * 16).astype(np.int16)
    out = np.empty_like(pixels)
    dct.inverse(latents, step, (-(-height // 8), -(-width // 8)), dct.inverse_matrix(layout, OPPONENT), out)
    assert int(np.abs(out.astype(int) - pixels).max()) <= 1


@settings(max_examples=30)
@given(seeds, st.integers(1, 65535), st.sampled_from([None, (-32767, 32768), (-32767, 1), (0, 32768)]))
@example(seed=0, step=65535, extreme=(-32767, 1))
def test_the_inverse_transform_is_integer_arithmetic(seed: int, step: int, extreme: tuple[int, int] | None) -> None:
    rng = np.random.default_rng(seed)
    layout = layouts.LAYOUTS[seed % 3]
    shape = layout.channels, 2
    latents = (rng.integers(*extreme, shape) if extreme else rng.laplace(0, 40, shape)).astype(np.int16)
    matrix = dct.inverse_matrix(layout, OPPONENT)
    assert np.array_equal(matrix, np.rint(matrix))
    out = np.empty((8, 16, layout.components), np.uint8)
    dct.inverse(latents, step, (1, 2), matrix, out)
    whole = matrix.astype(np.int64).tolist()
    for cell in range(2):
        values = [max(-dct.COEFFICIENT_MAX, min(dct.COEFFICIENT_MAX, int(v) * step)) for v in latents[:, cell]]
        for position in (0, 7, 77 % len(whole[0]), len(whole[0]) - 1):
            exact = sum(v * row[position] for v, row in zip(values, whole, strict=True))
            level = (exact + (257 << dct.COEFFICIENT_SHIFT + dct.SHIFT - 1)) >> dct.COEFFICIENT_SHIFT + dct.SHIFT
            block = out[:, 8 * cell : 8 * cell + 8].reshape(-1)
            assert block[position] == max(0, min(255, level))


# ------------------------------------------------------------------------------------------------ the prior


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 20))
def test_log16_is_monotone_and_exact_at_powers(x: int, step: int) -> None:
    assert linear.log16(x) <= linear.log16(x + step)
    assert linear.log16(1 << x.bit_length()) == 16 * x.bit_length()
    assert abs(int(linear.log16(x)) - 16 * np.log2(x)) < 16 * 0.0861 + 1


@settings(max_examples=20)
@given(seeds, st.integers(1, 65535))
def test_predictions_are_integer_arithmetic(seed: int, step: int) -> None:
    """Whatever latents came before, float32 products equal those of 64-bit integers: any order of summation is right."""
    rng = np.random.default_rng(seed)
    layout = layouts.LAYOUTS[seed % 3]
    h, w = (int(n) for n in rng.integers(1, 7, 2))
    grid = linear.Grid(h, w, layout)
    grid.latents[: layout.components] = rng.integers(-32767, 32768, (layout.components, h * w))
    grid.dc_done()
    tiles = [(tile, MODEL.predictors[f"tile.{tile.number:02d}"]) for tile in layout.tiles]
    ahead: list[linear.Products] = []
    for order, (tile, predictor) in enumerate(tiles):
        ahead = ahead or linear.products(grid, tiles[order : order + 1 + seed % 4])
        shared = ahead.pop(0)
        linear.complete(grid, tile, predictor, shared)
        features = np.concatenate(grid.activity(tile.component)).astype(np.int64)
        np.testing.assert_array_equal(shared.scores, predictor.scale.astype(np.int64) @ features)
        if shared.means is not None and predictor.mean is not None:
            rows = grid.mean_features(tile.component).astype(np.int64)
            np.testing.assert_array_equal(shared.means, predictor.mean.astype(np.int64) @ rows)
            shifted = (predictor.mean.astype(np.int64) @ rows + 512) >> 10
            np.testing.assert_array_equal(linear.means_of(shared.means.copy()), shifted)
        grid.latents[tile.channels] = rng.integers(-32767, 32768, (tile.size, h * w)) >> rng.integers(0, 15)
        magnitude = rng.integers(0, linear.MAGNITUDE_MAX + 1, h * w).astype(np.int32)
        means, score = linear.expect(grid, tile, predictor, shared, step, 1, magnitude)
        assert means.shape == (tile.size, len(grid.halves[1]))
        whole = predictor.scale[1].astype(np.int64) @ features[:, grid.halves[1]]
        whole += predictor.scale_own.astype(np.int64) @ grid.own_activity(magnitude).astype(np.int64)
        whole += predictor.bias[1] @ np.array(linear.step_features(step))
        np.testing.assert_array_equal(score, whole)
        np.testing.assert_array_equal(linear.classes_of(score), np.clip(whole >> linear.SCALE_SHIFT, 0, linear.CLASSES - 1))
        grid.tile_done(tile, magnitude)
