"""Token models: their files, from the specification and through the program; the quantiser; training on a handful of digits."""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.errors import raised
from helpers.golden import TOKEN_CROPS, indices_digest
from helpers.networks import random_network
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.reference_reader import read_tokens
from helpers.token_models import COLOR, DIGITS, GREY, idx_bytes, random_token_model
from helpers.vqz_fields import put_together, take_apart
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import tokens
from vqcodec.errors import CorruptError, InputError, ModelError, TruncatedError, VqcodecError
from vqcodec.format import container, zstd_blocks
from vqcodec.format.header import Header, Metadata, Section, Tokens
from vqcodec.nets import convolution
from vqcodec.train import idx
from vqcodec.train.data import load_corpus
from vqcodec.transform import dct
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model
from vqcodec.weights.kinds import load_file_model
from vqcodec.weights.token import TokenModel

Pixels = np.ndarray
Given = dict[str, bytes]


# ------------------------------------------------------------------------------------------------ pixels and coefficients


@pytest.mark.parametrize("side", [8, 16])
@pytest.mark.parametrize("components", [1, 3])
def test_the_dct_is_orthonormal_and_undone(side: int, components: int) -> None:
    forward, inverse = (f(side, components, OPPONENT) for f in (tokens.forward_matrix, tokens.inverse_matrix))
    np.testing.assert_allclose(forward @ inverse, np.eye(len(forward)), atol=2e-4)
    np.testing.assert_allclose(dct.basis(side) @ dct.basis(side).T, np.eye(side), atol=1e-12)
    pixels = smooth_picture(side, 2 * side, components).reshape(side, 2 * side, components)
    dcs = tokens.forward(pixels, side, OPPONENT)[0, 0]
    means = [pixels[:, side * i : side * (i + 1)].mean() - 128 for i in range(2)]  # of grey, or of RGB alike
    np.testing.assert_allclose(dcs, side * np.array(means), atol=1e-2)


def test_edges_are_repeated_up_to_whole_cells() -> None:
    pixels = smooth_picture(13, 21, 3)
    padded = np.pad(pixels, ((0, 3), (0, 3), (0, 0)), mode="edge")
    np.testing.assert_array_equal(tokens.forward(pixels, 8, OPPONENT), tokens.forward(padded, 8, OPPONENT))


def test_a_decoder_that_gives_back_what_it_is_given_gives_the_picture() -> None:
    """A codeword for each cell, and networks that pass coefficients on: nothing else happens to pixels."""
    pixels, channels = smooth_picture(13, 21, 3), 192
    x = tokens.forward(pixels, 8, OPPONENT).reshape(channels, -1) / 40
    tensors = random_network(channels, 1, 0, kind="decoder", ends=(channels, channels))
    tensors["decoder.head"] = tensors["decoder.tail"] = np.eye(channels, dtype=np.float16)
    model = random_token_model(dim=channels)
    model = replace(model, tensors=model.tensors | tensors | {"token.words": x.T.astype(np.float16)})
    indices = np.arange(x.shape[1], dtype=np.uint16).reshape(2, 3)
    assert np.abs(tokens.decode(indices, model, pixels.shape).astype(int) - pixels).max() <= 2  # codewords are float16
    small = tokens.decode(indices, model, pixels.shape, scale=4)
    boxes = np.pad(pixels, ((0, 3), (0, 3), (0, 0)), mode="edge").reshape(4, 4, 6, 4, 3).mean(axis=(1, 3))
    assert small.shape == (4, 6, 3)
    assert np.abs(small - boxes).mean() < 4


@pytest.mark.parametrize("model", [COLOR, GREY])
def test_strips_and_threads_change_nothing(model: TokenModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = smooth_picture(150, 70, model.components).reshape(150, 70, -1)
    indices = tokens.encode(pixels, model)
    decoded = tokens.decode(indices, model, pixels.shape)
    assert len(np.unique(indices)) > 8
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 20)
    assert (tokens.encode(pixels, model, threads=2) == indices).mean() > 0.99  # floating point: a tie may break otherwise
    assert np.abs(tokens.decode(indices, model, pixels.shape, threads=2).astype(int) - decoded).max() <= 1


# ------------------------------------------------------------------------------------------------ the section


@settings(max_examples=60)
@given(st.integers(1, 16), st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1), st.booleans())
def test_indices_come_back(bits: int, h: int, w: int, seed: int, skewed: bool) -> None:
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 1 << bits, (h, w)).astype(np.uint16)
    if skewed:  # for zstd to find something
        indices[rng.random((h, w)) < 0.9] = indices[0, 0]
    section = tokens.pack(indices, bits, zstd_blocks.LEVELS)
    np.testing.assert_array_equal(tokens.unpack(section, (h, w), bits), indices)
    assert len(section) <= 3 + -(-h * w * bits // 8)


@settings(max_examples=25)
@given(st.integers(1, 100), st.integers(1, 100), st.sampled_from([COLOR, GREY]), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_second_reader_finds_the_same_indices(width: int, height: int, model: TokenModel, skewed: bool, seed: int) -> None:
    h, w = -(-height // model.side), -(-width // model.side)
    indices = np.random.default_rng(seed).integers(0, 3 if skewed else len(model.codebook), (h, w)).astype(np.uint16)
    data = tokens.write(
        (height, width, 1), indices, model, zstd_blocks.LEVELS, [Section(container.ICC, b"profile")] if skewed else []
    )
    assert read_tokens(data) == indices.tolist()
    found = api.indices(data, model=model)
    np.testing.assert_array_equal(found["index"].reshape(h, w), indices)
    np.testing.assert_array_equal(found["row"] * w + found["column"], np.arange(h * w))
    assert api.decode(data, model=model).shape == (height, width)


def test_a_file_as_literal_bytes() -> None:
    """Four cells of 8x8, 9 bits an index: the low plane as it is, then the high plane's four bits."""
    data = tokens.write((9, 16, 3), np.array([[1, 258], [3, 299]], np.uint16), COLOR, zstd_blocks.LEVELS)
    head = bytes.fromhex("8956515A0D0A1A0A 03 10 09 07") + COLOR.file_id + bytes.fromhex("08")
    assert data[: len(head)] == head
    assert data[len(head) + 4 :] == bytes.fromhex("00 01 02 03 2B 50")


def test_a_picture_of_256_pixels_takes_less_than_400_bytes() -> None:
    """At 16x16 pixels a cell and 1024 codewords, all of them as likely; less where cells are alike, by zstd."""
    model = random_token_model(16, 3, 1024)
    indices = np.random.default_rng(0).integers(0, 1024, (16, 16)).astype(np.uint16)
    assert len(tokens.write((256, 256, 3), indices, model, zstd_blocks.LEVELS)) == 25 + 1 + 256 * 10 / 8
    assert len(api.encode(np.zeros((256, 256, 3), np.uint8), model=model)) < 80


@given(
    st.builds(
        Header,
        width=st.integers(1, 600),
        height=st.integers(1, 600),
        layout=st.sampled_from([0, 2]),
        layers=st.just(1),
        group_log2=st.just(0),
        model_id=st.binary(min_size=container.ID_BYTES, max_size=container.ID_BYTES),
        step_64=st.just(0),
        tokens=st.builds(Tokens, st.sampled_from([8, 16]), st.integers(1, 16)),
    ),
    st.binary(max_size=20),
    st.booleans(),
)
def test_headers_come_back(header: Header, data: bytes, alone: bool) -> None:
    sections = [Section(container.INDICES, data), *([] if alone else [Section(container.ICC, b"profile")])]
    assert container.read_file(container.write_file(header, sections)) == (header, sections)


# ------------------------------------------------------------------------------------------------ damage

PICTURE = smooth_picture(40, 50)
WITH_ALPHA = np.concatenate([PICTURE, np.full((40, 50, 1), 200, np.uint8)], axis=2)
FILES = [api.encode(pixels, model=COLOR) for pixels in (PICTURE, WITH_ALPHA)]


def outcome(data: bytes) -> VqcodecError | None:
    """The error that decoding ends in, if any; info and indices end in documented ones, too."""
    found = raised(api.decode, data, model=COLOR, max_pixels=1 << 16, threads=1)
    for function in (api.info, api.indices):
        raised(function, data, model=COLOR)
    return found


@pytest.mark.parametrize("data", FILES, ids=["plain", "with a table"])
def test_no_prefix_and_no_flipped_bit_is_read(data: bytes) -> None:
    assert outcome(data) is None
    for length in range(len(data)):
        assert outcome(data[:length]) is not None
    for bit in range(0, 8 * len(data), 3):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert outcome(bytes(flipped)) is not None
    assert outcome(data + b"\0") is not None


@settings(max_examples=150)
@given(st.data(), st.sampled_from(FILES))
def test_damage_under_a_right_checksum_ends_in_a_picture_or_in_a_documented_error(data: st.DataObject, good: bytes) -> None:
    fields = take_apart(good)
    assert put_together(fields) == good
    name = data.draw(st.sampled_from(sorted(fields)))
    value = bytearray(fields[name])
    if value and data.draw(st.booleans()):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
        outcome(put_together(fields | {name: bytes(value)}))
    else:
        outcome(put_together(fields | {name: data.draw(st.binary(max_size=12))}))


PLAIN = take_apart(FILES[0])  # 35 cells, 9 bits an index: 35 bytes and 5


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"layout": b"\x0f"}, CorruptError, "a reserved value"),
        ({"layout": b"\x27"}, CorruptError, "a reserved value"),
        ({"grid": b"\x28"}, CorruptError, "a reserved value"),
        ({"grid": b"\x09"}, CorruptError, "its tokens are not those of its model"),
        ({"grid": b"\x18"}, CorruptError, "its tokens are not those of its model"),
        ({"body": b""}, TruncatedError, "truncated file"),
        ({"body": bytes(36)}, CorruptError, "not as many tokens as the picture has cells"),
        ({"body": bytes(42)}, CorruptError, "not as many tokens as the picture has cells"),
        ({"body": bytes(40) + b"\x01"}, CorruptError, "raw bits left over"),
        ({"body": b"\x03" + bytes(40)}, CorruptError, "not stored as they say"),
        ({"body": b"\x10" + bytes(40)}, CorruptError, "not stored as they say"),
        ({"body": b"\x01\x05" + bytes(40)}, CorruptError, "a zstd frame does not decompress"),
        ({"body": b"\x01\xff\x7f" + bytes(40)}, TruncatedError, "truncated file"),
        ({"body": bytes(1) + b"\xff" * 39 + b"\xe0"}, CorruptError, "an index is not in its codebook"),
    ],
)
def test_what_a_token_file_may_not_say(changes: Given, kind: type[VqcodecError], message: str) -> None:
    with pytest.raises(kind, match=message):
        api.decode(put_together(PLAIN | changes), model=COLOR)


@pytest.mark.parametrize("index", [300, 301, 511])
def test_an_index_of_no_codeword_is_corrupt(index: int) -> None:
    """There are 300, the last of which is 299; of 9 bits there could be more."""
    for last in (299, index):
        data = tokens.write((16, 16, 3), np.array([[0, 1], [299, last]], np.uint16), COLOR, zstd_blocks.LEVELS)
        if last < len(COLOR.codebook):
            assert api.decode(data, model=COLOR).shape == (16, 16, 3)
            continue
        for read in (api.decode, api.indices, api.verify):
            with pytest.raises(CorruptError, match="an index is not in its codebook"):
                read(data, model=COLOR)


def test_a_zstd_plane_may_not_have_more_bits_than_it_has() -> None:
    """Three bits in a plane of two, and a plane of another length than there are cells."""
    low = np.zeros(100, np.uint8).tobytes()
    plane = np.full(100, 4, np.uint8).tobytes()
    packed = [zstd_blocks.compress(data, None, zstd_blocks.LEVELS) for data in (low, plane)]
    assert {part.mode for part in packed} == {zstd_blocks.Mode.FRAME}
    section = bytes((1 | 1 << 2, len(packed[0].data))) + packed[0].data + packed[1].data
    assert tokens.unpack(section, (10, 10), 11).max() == 4 << 8
    with pytest.raises(CorruptError, match="more bits than tokens have"):
        tokens.unpack(section, (10, 10), 10)
    with pytest.raises(CorruptError, match="decompressed data has the wrong size"):
        tokens.unpack(section, (10, 11), 11)


def test_a_model_of_another_kind_is_refused() -> None:
    lite = registry.find("photo-lite")
    fields = take_apart(api.encode(PICTURE, model=lite))
    with pytest.raises(ModelError, match="not with test"):
        api.decode(put_together(fields), model=COLOR)
    with pytest.raises(CorruptError, match="not those of its model"):
        api.decode(put_together(fields | {"model": COLOR.file_id}), model=COLOR)
    with pytest.raises(CorruptError, match="it has tokens, and its model has none"):
        api.decode(put_together(PLAIN | {"model": lite.file_id}), model=lite)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("token.words", np.full((300, 4), np.nan, np.float16), "token.words is wrong"),
        ("token.words", np.zeros((1, 4), np.float16), "token.words is wrong"),
        ("token.mean", np.zeros(100, np.float32), "token.mean is wrong"),
        ("token.scale", np.zeros(192, np.float32), "token.scale is wrong"),
        ("decoder.tail", np.zeros((64, 6), np.float16), "decoder.tail is wrong"),
        ("encoder.head", None, "encoder.head' is missing"),
    ],
)
def test_damaged_models_are_refused(name: str, value: np.ndarray | None, message: str, tmp_path: Path) -> None:
    tensors = {key: array for key, array in COLOR.tensors.items() if key != name}
    save_model(tmp_path / "model", replace(COLOR, tensors=tensors if value is None else tensors | {name: value}))
    with pytest.raises(ModelError, match=message):
        load_file_model(tmp_path / "model")


# ------------------------------------------------------------------------------------------------ the API


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 33), (64, 5)])
def test_any_size_and_metadata_and_alpha_come_back(size: tuple[int, int]) -> None:
    pixels = smooth_picture(*size, 4)
    data = api.encode(pixels, model=COLOR, metadata=Metadata(icc=b"profile"))
    found = api.decode(data, model=COLOR)
    assert found.shape == pixels.shape
    np.testing.assert_array_equal(found[:, :, 3], pixels[:, :, 3])
    with api.open_vqz(io.BytesIO(data), model=COLOR) as opened:
        assert opened.metadata.icc == b"profile"
        assert opened.read(scale=8).shape == (-(-size[0] // 8), -(-size[1] // 8), 4)
    api.verify(data, model=COLOR)


def test_grey_pictures_stay_grey_and_colour_needs_a_model_of_colour() -> None:
    grey = smooth_picture(20, 30, 1)
    assert api.decode(api.encode(grey, model=COLOR), model=COLOR).shape == (20, 30)
    assert api.decode(api.encode(grey, model=GREY), model=GREY).shape == (20, 30)
    with pytest.raises(InputError, match="token model test is of grey pictures"):
        api.encode(PICTURE, model=GREY)
    with pytest.raises(InputError, match="of 8 bits a sample"):
        api.encode(grey.astype(np.uint16) * 256, model=COLOR)


def test_a_region_is_that_part_of_the_picture() -> None:
    with api.open_vqz(io.BytesIO(FILES[1]), model=COLOR) as opened:
        np.testing.assert_array_equal(opened.read((7, 3, 20, 30)), api.decode(FILES[1], model=COLOR)[3:33, 7:27])


@pytest.mark.parametrize("options", [{"quality": 50}, {"bpp": 1.0}, {"size": 1000}, {"psnr": 30.0}, {"tile": 64}])
def test_the_rate_is_fixed(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="test is a token model: its rate is fixed"):
        api.encode(PICTURE, model=COLOR, **options)


def test_torch_runs_the_networks_as_numpy_does() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import inference

    rng = np.random.default_rng(0)
    for kind, network in (("encoder", COLOR.encoder), ("decoder", COLOR.decoder)):
        x = rng.standard_normal((network.head.shape[1], 9, 7)).astype(np.float32)
        np.testing.assert_allclose(
            inference.run_network_on("cpu", COLOR, kind)(x), convolution.run_network(network, x), rtol=1e-3, atol=1e-3
        )
    indices = tokens.encode(PICTURE, COLOR)
    there = tokens.decode(indices, COLOR, PICTURE.shape, run=inference.run_network_on("cpu", COLOR, "decoder"))
    assert np.abs(tokens.decode(indices, COLOR, PICTURE.shape).astype(int) - there).max() <= 1


# ------------------------------------------------------------------------------------------------ the program


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with one named `words`."""
    save_model(tmp_path / "models" / "words", replace(COLOR, name="words", summary={"name": "words", "kind": "token"}))
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_commands(photo: Path, installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = photo.with_suffix(".vqz"), photo.with_name("out.png")
    assert main(["encode", str(photo), str(file), "-m", "words", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == file.stat().st_size < 80
    assert main(["verify", str(file)]) == 0
    assert main(["decode", str(file), str(picture), "--refine", "none"]) == 0
    with Image.open(picture) as image:
        assert image.size == (48, 40)
    capsys.readouterr()
    assert main(["info", str(file), "--json", "--streams"]) == 0
    facts = json.loads(capsys.readouterr().out)
    wanted = {"layout": "tokens", "model": "words", "cell": 8, "rows": 5, "columns": 6, "index_bits": 9, "codewords": 300}
    assert {name: facts[name] for name in wanted} == wanted
    assert facts["used_codewords"] == len({index for row in read_tokens(file.read_bytes()) for index in row})
    assert main(["info", str(file)]) == 0
    told = capsys.readouterr().out
    assert "index_bits" in told
    assert "codewords" not in told  # they are in the indices, which are not read
    assert main(["info", str(file), "--indices", str(photo.with_suffix(".npz"))]) == 0
    with np.load(photo.with_suffix(".npz")) as columns:
        assert set(columns) == {"index", "row", "column"}
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    listed = {entry["name"]: entry["kind"] for entry in json.loads(capsys.readouterr().out)["models"]}
    assert listed["words"] == "token"


def test_info_needs_no_model(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = photo.with_suffix(".vqz")
    file.write_bytes(FILES[0])
    assert main(["info", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["index_bits"] == 9
    assert main(["decode", str(file), str(photo.with_name("out.png"))]) == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["encode", "IN", "OUT", "-m", "words", "--bpp", "1"], 3, "words is a token model: its rate is fixed"),
        (["encode", "IN", "OUT", "-m", "words", "--size", "1k"], 3, "words is a token model: its rate is fixed"),
        (["encode", "IN", "OUT", "-m", "words", "--psnr", "30"], 3, "words is a token model: its rate is fixed"),
        (["encode", "IN", "OUT", "-m", "words", "--tune", "ssim"], 3, "words is a token model: its rate is fixed"),
        (["decode", "VQZ", "OUT.png", "--refine", "best"], 4, "words is a token model: its files have one decode"),
        (["decode", "VQZ", "OUT.png", "--refine", "gan"], 4, "words is a token model: its files have one decode"),
        (["train", "IN", "-o", "OUT", "--init", "words"], 4, "words is a token model, not a lite or neural model"),
        (["train", "IN", "-o", "OUT", "--kind", "neural", "--cell", "8"], 2, "--cell: only for --kind token"),
        (["train", "IN", "-o", "OUT", "--kind", "token", "--cell", "9"], 2, "'9' is not one of '8', '16'"),
        (["train", "IN", "-o", "OUT", "--kind", "token", "--codewords", "1"], 2, "1 is not in the range"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], code: int, message: str, photo: Path, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = photo.with_suffix(".vqz")
    file.write_bytes(FILES[0])
    output = photo.with_name("output")
    places = {"IN": str(photo), "OUT": str(output), "OUT.png": f"{output}.png", "VQZ": str(file)}
    assert main([places.get(word, word) for word in words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(photo.parent.glob("output*"))


def test_pillow_reads_and_writes_them(installed: Path) -> None:
    import vqcodec.pillow  # noqa: F401  # registers itself

    with Image.open(io.BytesIO(FILES[0])) as image:
        np.testing.assert_array_equal(np.asarray(image), api.decode(FILES[0]))
    with Image.open(io.BytesIO(FILES[0])) as image:
        image.thumbnail((13, 10))
        assert image.size == (12, 10)
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "VQZ", model="words")
    assert stream.getvalue() == FILES[0]


# ------------------------------------------------------------------------------------------------ idx files


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """An idx file of pictures with its labels beside it, named as those of MNIST."""
    path = tmp_path / "few-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(DIGITS[:, :, :, 0])))
    (tmp_path / "few-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.arange(24, dtype=np.uint8) % 4)))
    return path


def test_pictures_of_an_idx_file(digits: Path) -> None:
    found = idx.read_pictures(digits)
    assert [name for name, _ in found[:5]] == ["0/000000", "1/000001", "2/000002", "3/000003", "0/000004"]
    np.testing.assert_array_equal([pixels for _, pixels in found], DIGITS)
    corpus = load_corpus(digits, lambda *_: None)
    assert (len(corpus.train), len(corpus.held_out)) == (22, 2)
    digits.with_name("few-labels-idx1-ubyte.gz").unlink()
    assert idx.read_pictures(digits)[4][0] == "000004"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data, "not a gzip file"),
        (lambda data: gzip.compress(data)[:-20], "not a gzip file, or damaged"),
        (lambda data: gzip.compress(data[:-1]), "its size differs from its header"),
        (lambda data: gzip.compress(data + b"\0"), "its size differs from its header"),
        (lambda data: gzip.compress(data[:9]), "not an idx file of bytes in 3 dimensions"),
        (lambda data: gzip.compress(b"\1" + data[1:]), "not an idx file of bytes in 3 dimensions"),
        (lambda data: gzip.compress(data[:8] + bytes(4) + data[12:]), "not an idx file of bytes in 3 dimensions"),
        (lambda data: gzip.compress(data[:4] + b"\xff" * 12 + data[16:]), "more than 268435456 bytes"),
    ],
)
def test_damaged_idx_files_are_refused(digits: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    digits.write_bytes(damage(gzip.decompress(digits.read_bytes())))
    with pytest.raises(InputError, match=message):
        idx.read_pictures(digits)


def test_labels_must_be_as_many_as_pictures(digits: Path) -> None:
    digits.with_name("few-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(23, np.uint8))))
    with pytest.raises(InputError, match="23 labels for 24 pictures"):
        idx.read_pictures(digits)


# ------------------------------------------------------------------------------------------------ the quantiser


@pytest.fixture
def small() -> Any:
    """Settings of a model that trains in a second."""
    pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural.token import TokenSettings

    return partial(TokenSettings, batch=8, width=16, blocks=1, codewords=8, dim=4)


def test_gradients_of_the_quantiser(small: Any) -> None:
    """Through the codewords as if they were not there; beta is on the encoder's term, and the codewords' term has none."""
    import torch

    from vqcodec.neural.token import commitment, straight_through

    z, words, pull = (torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    z.requires_grad_(True), words.requires_grad_(True)
    out = straight_through(z, words)
    torch.testing.assert_close(out, words)
    (out * pull).sum().backward()
    torch.testing.assert_close(z.grad, pull)
    assert words.grad is None
    z.grad = None
    loss = commitment(z, words, 0.25)
    loss.backward()
    torch.testing.assert_close(loss, 1.25 * (z - words).square().mean())
    torch.testing.assert_close(z.grad, 0.25 * 2 * (z - words).detach() / z.numel())
    torch.testing.assert_close(words.grad, 2 * (words - z).detach() / z.numel())


@pytest.mark.parametrize("cosine", [False, True])
def test_codewords_are_moving_averages(small: Any, cosine: bool) -> None:
    """Against the plain formulas, word by word."""
    import torch

    from vqcodec.neural.token import Quantiser

    quantiser = Quantiser(small(steps=1, cosine=cosine, dead=0.0))
    rng = np.random.default_rng(0)
    quantiser.start(quantiser.placed(torch.from_numpy(rng.standard_normal((200, 4)).astype(np.float32))), rng)
    shares, sums = (array.numpy().astype(float).copy() for array in (quantiser.shares, quantiser.sums))
    for _ in range(3):
        z = quantiser.placed(torch.from_numpy(rng.standard_normal((50, 4)).astype(np.float32)))
        with torch.autocast("cpu", torch.bfloat16):  # as where it is fast; distances stay exact
            index = quantiser.nearest(z)
        words = quantiser.words.numpy()
        np.testing.assert_array_equal(index, np.square(z.numpy()[:, None] - words).sum(axis=2).argmin(axis=1))
        quantiser.update(z, index, 0.9, rng)
        for k in range(8):
            own = z.numpy()[index.numpy() == k]
            shares[k] = 0.9 * shares[k] + 0.1 * len(own) / 50
            sums[k] = 0.9 * sums[k] + 0.1 * own.sum(axis=0) / 50
            word = sums[k] / shares[k]
            np.testing.assert_allclose(quantiser.words[k], word / np.linalg.norm(word) if cosine else word, rtol=1e-4, atol=1e-5)


def test_k_means_finds_clusters_and_dead_codewords_come_back(small: Any) -> None:
    import torch

    from vqcodec.neural.token import Quantiser

    rng = np.random.default_rng(0)
    centres = 10 * rng.standard_normal((8, 4))
    z = torch.from_numpy((centres[np.arange(400) % 8] + 0.1 * rng.standard_normal((400, 4))).astype(np.float32))
    quantiser = Quantiser(small(steps=1))
    quantiser.start(z, rng)
    quantiser.words[3:] = 1e3  # nothing is near them
    quantiser.shares[3:] = 1e-6
    assert len(quantiser.nearest(z).unique()) <= 3
    for _ in range(60):
        quantiser.update(z, quantiser.nearest(z), 0.9, rng)
    assert len(quantiser.nearest(z).unique()) == 8
    assert quantiser.words.abs().max() < 50


def test_perplexity_is_the_number_of_equally_likely_codewords(small: Any) -> None:
    import torch

    from vqcodec.neural.token import perplexity

    assert perplexity(torch.tensor([5.0, 5, 0, 5, 5])) == pytest.approx(4)
    assert perplexity(torch.tensor([0.0, 3])) == pytest.approx(1)


# ------------------------------------------------------------------------------------------------ training


def test_training_sees_what_encoding_does(small: Any) -> None:
    """The same pixels and weights give the same indices in torch and in numpy, but for ties, and the same vectors."""
    import torch

    from vqcodec.neural import token
    from vqcodec.neural.networks import load_tensors

    network = token.TokenNetwork(small(steps=1, codewords=300), 192)
    network.encoder = load_tensors(COLOR.tensors, "encoder")
    network.quantiser.words.copy_(torch.from_numpy(COLOR.codebook.astype(np.float32)))
    pixels = torch.from_numpy(PICTURE[:, :48].transpose(2, 0, 1).astype(np.float32))[None]
    x = token.Cells(token.Scaling(COLOR.mean, COLOR.scale))(pixels)
    np.testing.assert_allclose(x[0], tokens.forward(PICTURE[:, :48], 8, OPPONENT) / 40, atol=1e-4)
    with torch.no_grad():
        index = network.quantiser.nearest(network.vectors(x).flatten(0, 2)).reshape(5, 6)
    assert (index.numpy() == tokens.encode(PICTURE[:, :48], COLOR)).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("cosine", [False, True])
def test_a_few_steps_lower_the_loss(small: Any, cosine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import token
    from vqcodec.neural.loop import LoopOptions
    from vqcodec.train.token import statistics, whole_cells

    monkeypatch.setattr(token, "EVERY", 10)
    pictures = [whole_cells(pixels, 8, 1) for pixels in DIGITS]
    scaling = statistics(pictures, 8)
    seen: list[dict[str, float]] = []
    options = LoopOptions(report=seen.append)
    found = token.fit_tokens(pictures, scaling, small(steps=60, cosine=cosine), options, score=lambda found: {})
    assert [facts["step"] for facts in seen] == [10, 20, 30, 40, 50, 60]
    assert seen[-1]["reconstruction"] < 0.75 * seen[0]["reconstruction"]
    assert seen[-1]["loss"] == pytest.approx(seen[-1]["reconstruction"] + seen[-1]["commitment"], rel=1e-4)
    assert all(1 <= facts["perplexity"] <= facts["used"] + 1e-3 <= 8.01 for facts in seen)
    assert all(np.isfinite(array).all() for array in found.values())
    if cosine:
        np.testing.assert_allclose(np.linalg.norm(found["token.words"].astype(float), axis=1), 1, atol=1e-2)


def test_training_goes_on_from_a_checkpoint(small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import token
    from vqcodec.neural.loop import LoopOptions
    from vqcodec.train.token import statistics, whole_cells

    monkeypatch.setattr(token, "EVERY", 2)
    pictures = [whole_cells(pixels, 8, 1) for pixels in DIGITS]
    scaling = statistics(pictures, 8)
    train = partial(token.fit_tokens, pictures, scaling, small(steps=6), score=lambda found: {})

    def stop(facts: dict[str, float]) -> None:
        if facts["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(options=LoopOptions(checkpoint=tmp_path / "checkpoint", report=stop))
    seen: list[dict[str, float]] = []
    found = train(options=LoopOptions(checkpoint=tmp_path / "checkpoint", report=seen.append))
    assert [facts["step"] for facts in seen] == [6]
    assert found.keys() == train().keys()


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_command_trains_one(digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
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
    line = json.loads(log.read_text())
    assert {"part", "loss", "reconstruction", "commitment", "perplexity", "used", "step", "seconds"} < set(line)
    assert not list(digits.parent.glob("*.checkpoint"))
    data = api.encode(DIGITS[0], model=output)
    assert len(data) <= 26
    assert np.abs(api.decode(data, model=output).astype(int) - DIGITS[0, :, :, 0]).mean() < 100
    with pytest.raises(ModelError, match="is a token model"):
        registry.find(output)


def test_training_goes_on_from_token_models_alone(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    assert main(["train", str(photo), "-o", str(photo.with_name("out")), "--kind", "token", "--init", "photo"]) == 4
    assert "photo is a lite or neural model, not a token model" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(TOKEN_CROPS))
def test_golden_files_have_the_same_indices_and_pixels_within_one(name: str) -> None:
    path = REPOSITORY / "tests" / "golden" / "token" / f"{name}.vqz"
    data = path.read_bytes()
    assert indices_digest(data) == path.with_suffix(".indices").read_text().strip()
    np.testing.assert_array_equal(np.ravel(read_tokens(data)), api.indices(data)["index"])
    with Image.open(path.with_suffix(".png")) as image:
        wanted = np.asarray(image).astype(int)
    assert np.abs(api.decode(data).astype(int) - wanted).max() <= 1
