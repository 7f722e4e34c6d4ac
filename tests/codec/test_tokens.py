"""Token models: their files and pictures, damage, the API and the commands."""

import io
import json
from dataclasses import replace
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
from helpers.token_models import COLOR, GREY, random_token_model
from helpers.vqz_fields import put_together, take_apart
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import tokens
from vqcodec.errors import CorruptError, InputError, ModelError, TruncatedError, VqcodecError
from vqcodec.format import container, zstd_blocks
from vqcodec.format.header import Header, Metadata, Section, Tokens
from vqcodec.nets import convolution
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


def test_an_identity_network_decodes_the_picture() -> None:
    """With a codeword for each cell and networks that pass coefficients on, pixels change by rounding only."""
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
    """With cells of 16x16 pixels and 1024 equally likely codewords; zstd saves bytes if cells are alike."""
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
        ({"body": b"\x03" + bytes(40)}, CorruptError, "invalid modes of its tokens"),
        ({"body": b"\x10" + bytes(40)}, CorruptError, "invalid modes of its tokens"),
        ({"body": b"\x01\x05" + bytes(40)}, CorruptError, "a zstd frame does not decompress"),
        ({"body": b"\x01\xff\x7f" + bytes(40)}, TruncatedError, "truncated file"),
        ({"body": bytes(1) + b"\xff" * 39 + b"\xe0"}, CorruptError, "an index is not in its codebook"),
    ],
)
def test_invalid_fields_of_token_files_are_refused(changes: Given, kind: type[VqcodecError], message: str) -> None:
    with pytest.raises(kind, match=message):
        api.decode(put_together(PLAIN | changes), model=COLOR)


@pytest.mark.parametrize("index", [300, 301, 511])
def test_an_index_of_no_codeword_is_corrupt(index: int) -> None:
    """The codebook has 300 codewords, 0 to 299; an index has 9 bits and could be up to 511."""
    for last in (299, index):
        data = tokens.write((16, 16, 3), np.array([[0, 1], [299, last]], np.uint16), COLOR, zstd_blocks.LEVELS)
        if last < len(COLOR.codebook):
            assert api.decode(data, model=COLOR).shape == (16, 16, 3)
            continue
        for read in (api.decode, api.indices, api.verify):
            with pytest.raises(CorruptError, match="an index is not in its codebook"):
                read(data, model=COLOR)


def test_a_zstd_plane_of_wrong_width_or_length_is_refused() -> None:
    """Values of three bits in a plane of two, and a plane with more values than there are cells."""
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
    with pytest.raises(InputError, match="token model test is for grey pictures"):
        api.encode(PICTURE, model=GREY)
    with pytest.raises(InputError, match="of 8 bits a sample"):
        api.encode(grey.astype(np.uint16) * 256, model=COLOR)


def test_a_region_is_that_part_of_the_picture() -> None:
    with api.open_vqz(io.BytesIO(FILES[1]), model=COLOR) as opened:
        np.testing.assert_array_equal(opened.read((7, 3, 20, 30)), api.decode(FILES[1], model=COLOR)[3:33, 7:27])


@pytest.mark.parametrize(
    "options", [{"quality": 50}, {"bpp": 1.0}, {"size": 1000}, {"psnr": 30.0}, {"ssimulacra2": 70.0}, {"tile": 64}]
)
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
    """A folder of models with a token model named `words`."""
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
    reported = capsys.readouterr().out
    assert "index_bits" in reported
    assert "codewords" not in reported  # they are in the indices, which are not read
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
        (
            ["train", "IN", "-o", "OUT", "--kind", "lite", "--init", "words"],
            4,
            "words is a token model, not a lite or neural model",
        ),
        (["train", "IN", "-o", "OUT", "--kind", "neural", "--cell", "8"], 2, "--cell: only for --kind token"),
        (["train", "IN", "-o", "OUT", "--kind", "token", "--cell", "9"], 2, "'9' is not one of '8', '16'"),
        (["train", "IN", "-o", "OUT", "--kind", "token", "--codewords", "1"], 2, "1 is not in the range"),
    ],
)
def test_impossible_requests_are_errors_of_one_line(
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
    import vqcodec.pillow  # noqa: F401  # registers the plugin

    with Image.open(io.BytesIO(FILES[0])) as image:
        np.testing.assert_array_equal(np.asarray(image), api.decode(FILES[0]))
    with Image.open(io.BytesIO(FILES[0])) as image:
        image.thumbnail((13, 10))
        assert image.size == (12, 10)
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "VQZ", model="words")
    assert stream.getvalue() == FILES[0]


# ------------------------------------------------------------------------------------------------ golden files


@pytest.mark.parametrize("name", sorted(TOKEN_CROPS))
def test_golden_files_have_the_same_indices_and_pixels_within_one(name: str) -> None:
    path = REPOSITORY / "tests" / "golden" / "token" / f"{name}.vqz"
    data = path.read_bytes()
    assert indices_digest(data) == path.with_suffix(".indices").read_text().strip()
    np.testing.assert_array_equal(np.ravel(read_tokens(data)), api.indices(data)["index"])
    with Image.open(path.with_suffix(".png")) as image:
        wanted = np.asarray(image).astype(int)
    assert np.abs(api.decode(data).astype(int) - wanted).max() <= 1
