"""Token priors: the network in torch and in numpy, drawn tokens, generated pictures, folders, the command, training."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.pictures import smooth_picture
from helpers.token_models import CLASSES, PRIOR_MODEL, random_prior, random_token_model, save_prior
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import generation, tokens
from vqcodec.errors import InputError, ModelError
from vqcodec.nets import transformer
from vqcodec.nets.transformer import Transformer
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

Pixels = np.ndarray


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a prior and its token model; also the current directory."""
    save_prior(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------------------------ the network


def test_torch_and_numpy_give_the_same_logits() -> None:
    torch = pytest.importorskip("torch")
    from vqcodec.neural.token_prior import PriorNetwork, PriorSettings

    torch.manual_seed(0)
    network = PriorNetwork(PriorSettings(steps=1, width=64, layers=3), 20, (4, 5), 3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_((weight + 0.2 * torch.randn_like(weight)).half())
    grids, labels = np.random.default_rng(0).integers(0, 21, (6, 3, 5)), np.array([0, 1, 2, 3, 3, 0])
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(grids), torch.from_numpy(labels)).numpy()
    cells = np.array([np.random.default_rng(number).permutation(15)[:9] for number in range(6)])
    wanted = np.take_along_axis(wanted.reshape(6, 15, -1), cells[:, :, None], axis=1)
    found = transformer.logits(Transformer.from_tensors(network.tensors()), grids, labels, cells)
    assert wanted.std() > 1
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.fixture
def untrained() -> Any:
    """Settings, and a network that gives 20 codewords about equal probabilities."""
    torch = pytest.importorskip("torch")
    from vqcodec.neural.token_prior import PriorNetwork, PriorSettings

    torch.manual_seed(0)
    settings = PriorSettings(steps=1, width=32, layers=1, batch=2000, dropout=0.5, unlabelled=0.25)
    return settings, PriorNetwork(settings, 20, (4, 5), 3)


def some_grids(seed: int, count: int = 30) -> list[Any]:
    from vqcodec.neural.token_prior import Grid

    return [Grid(np.random.default_rng([seed, number]).integers(0, 20, (4, 5)), number % 3) for number in range(count)]


def test_bits_are_bits_of_the_masked_tokens_alone(untrained: Any) -> None:
    import torch

    from vqcodec.neural import token_prior

    _, network = untrained
    network.weights["tail"].data.zero_()
    (batch,) = token_prior._score_batches(some_grids(0), 20, (4, 5), 0)
    np.testing.assert_allclose(token_prior.held_out_bits(network, batch).detach(), np.log2(20), rtol=1e-5)
    seen, targets = torch.tensor([[[20, 1], [20, 3]]]), torch.tensor([[[5, 1], [7, 3]]])
    assert token_prior.cross_entropy(torch.zeros(1, 2, 2, 20), seen, targets).shape == (2,)


def test_a_batch_masks_tokens_and_labels(untrained: Any) -> None:
    """A share of 2 / pi of the cells on average, and the label of one picture in four."""
    from vqcodec.neural.token_prior import draw_batch

    seen, targets, labels = draw_batch(some_grids(0), (4, 5), 20, 3, untrained[0], np.random.default_rng(0))
    masked = (seen == 20).double().mean(dim=(1, 2))
    assert (seen == targets).logical_or(seen == 20).all()
    assert float(masked.mean()) == pytest.approx(2 / np.pi, abs=0.05)
    assert float(masked.min()) > 0
    assert float((labels == 3).double().mean()) == pytest.approx(0.25, abs=0.04)


def test_the_score_is_of_held_out_grids_and_repeatable(untrained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vqcodec.neural import token_prior

    figures: list[tuple[float, float]] = []

    def fit(network: Any, draw: Any, loss: Any, held_out: Any, settings: Any, *_: Any) -> Any:
        figures.append((held_out(network), held_out(network)))
        return network

    monkeypatch.setattr(token_prior, "fit", fit)
    for kept in (some_grids(1), some_grids(0), []):
        token_prior.fit_prior(some_grids(0), kept, 20, 3, untrained[0])
    assert all(first == again for first, again in figures)  # without dropout
    assert figures[0] != figures[1] == figures[2]


def test_torch_and_numpy_find_the_same_tokens() -> None:
    pytest.importorskip("torch")
    from vqcodec.neural.token_prior import encode_all

    pictures = [smooth_picture(16 + 8 * (seed % 2), 32, 3, seed) for seed in range(7)]
    found = encode_all(pictures, PRIOR_MODEL, lambda done: None)
    for picture, grid in zip(pictures, found, strict=True):
        assert (grid == tokens.encode(picture, PRIOR_MODEL)).mean() > 0.9  # the rest are ties


def test_all_masked_cells_are_drawn_and_no_others() -> None:
    network = random_prior(PRIOR_MODEL, (20, 30, 3)).network
    grids = np.random.default_rng(1).integers(0, 40, (5, 3, 4))
    masked = np.zeros(grids.shape, np.bool_)
    masked[:, 1, 1:] = masked[:, 2, 0] = True
    found = generation.draw_tokens(network, np.where(masked, 40, grids), np.zeros(5, np.int64), np.random.default_rng(2))
    np.testing.assert_array_equal(found[~masked], grids[~masked])
    assert found.max() < 40
    assert len(np.unique(found[masked])) > 5


def test_cells_are_drawn_as_often_as_the_logits_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells with the same token: 0 with probability 0.7, else 1. Guidance weakens tokens that are likely without a label."""
    network = random_prior(PRIOR_MODEL, (8, 16, 3), (1, 2)).network

    def logits(network: Transformer, grids: np.ndarray, labels: np.ndarray, cells: np.ndarray) -> np.ndarray:
        found = np.full((*cells.shape, 40), -50, np.float32)
        other = np.take_along_axis(grids[:, 0], 1 - cells, axis=1)
        found[..., 0] = np.where(other == 40, np.log(0.7), np.where(other == 0, 0, -50))
        found[..., 1] = np.where(other == 40, np.log(0.3), np.where(other == 1, 0, -50))
        found[labels == 2, :, 0] += 2 * (other[labels == 2] == 40)
        return found

    monkeypatch.setattr(transformer, "logits", logits)
    shares = []
    for options in ({}, {"temperature": 0.5}, {"guidance": 0.5}):
        masked = np.full((20000, 1, 2), 40)
        found = generation.draw_tokens(network, masked, np.zeros(20000, np.int64), np.random.default_rng(0), **options)
        np.testing.assert_array_equal(found[:, 0, 0], found[:, 0, 1])
        shares.append((found == 0).mean())
    likelier, away = 0.49 / (0.49 + 0.09), 0.7 / (0.7 + 0.3 * np.e)
    np.testing.assert_allclose(shares, [0.7, likelier, away], atol=0.015)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40, 256])
def test_rounds_draw_each_cell_once(count: int) -> None:
    found = generation.round_bounds(count)
    assert [start for start, _ in found] == [0, *[stop for _, stop in found[:-1]]][: len(found)]
    assert all(start < stop for start, stop in found)
    assert len(found) == min(count, generation.MAX_ROUNDS)
    assert not found or found[-1][1] == count


def test_rounds_draw_more_and_more_cells() -> None:
    """While little of the picture is known, a round draws few cells."""
    sizes = [stop - start for start, stop in generation.round_bounds(256)]
    assert sizes[:4] == sorted(sizes[:4])
    assert sizes[0] < 4
    assert sizes[-1] > 20


def test_each_picture_draws_its_cells_in_its_own_random_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []

    def logits(network: Transformer, grids: np.ndarray, labels: np.ndarray, cells: np.ndarray) -> np.ndarray:
        asked.append(cells[:, 0])
        return np.zeros((*cells.shape, 40), np.float32)

    monkeypatch.setattr(transformer, "logits", logits)
    network = random_prior(PRIOR_MODEL, (20, 30, 3)).network
    generation.draw_tokens(network, np.full((500, 3, 4), 40), np.zeros(500, np.int64), np.random.default_rng(0))
    orders = np.stack(asked, axis=1)
    assert (np.sort(orders, axis=1) == np.arange(12)).all()
    assert (np.bincount(orders[:, 0], minlength=12) > 20).all()  # every cell comes first equally often


# ------------------------------------------------------------------------------------------------ pictures


def test_the_same_seed_makes_the_same_pictures(folder: Path) -> None:
    first, labels = api.generate(7, prior="./prior", seed=3)
    again, _ = api.generate(7, prior="./prior", seed=3)
    other, _ = api.generate(7, prior="./prior", seed=4)
    assert first.shape == (7, 20, 30, 3)
    assert labels == ["cat"] * 4 + ["dog"] * 3
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert api.generate(2, prior="./prior", label="dog")[1] == ["dog", "dog"]


def test_pictures_of_many_cells_are_drawn_one_by_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = api.generate(1, prior="./prior", seed=5)
    monkeypatch.setattr(generation, "_CELLS_AT_ONCE", 1)
    np.testing.assert_array_equal(api.generate(1, prior="./prior", seed=5)[0], expected)
    assert len(api.generate(3, prior="./prior")[0]) == 3


def test_pictures_have_their_labels_however_few_are_drawn_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def drawn(network: Transformer, grids: np.ndarray, labels: np.ndarray, rng: Any, **_: Any) -> np.ndarray:
        given.extend(labels.tolist())
        return np.zeros(grids.shape, np.int64)

    monkeypatch.setattr(generation, "draw_tokens", drawn)
    monkeypatch.setattr(generation, "_CELLS_AT_ONCE", 24)
    api.generate(5, prior="./prior")
    assert given == [0, 0, 0, 1, 1]


def test_a_contact_sheet_has_a_row_for_each_class() -> None:
    pictures = np.arange(1, 6, dtype=np.uint8)[:, None, None] * np.ones((2, 3), np.uint8)
    assert generation.contact_sheet(pictures, ["a", "a", "a", "b", "b"])[::2, ::3].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert generation.contact_sheet(pictures, [""] * 5)[::2, ::3].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert generation.contact_sheet(pictures[:4], [""] * 4)[::2, ::3].tolist() == [[1, 2], [3, 4]]


def test_temperatures_out_of_range_are_refused(folder: Path) -> None:
    for temperature in (0.0, 1e-300, 1e300, float("nan")):
        with pytest.raises(InputError, match=r"temperature is a number from 0\.01 to 100"):
            api.generate(1, prior="./prior", temperature=temperature)


# ------------------------------------------------------------------------------------------------ folders


def test_priors_are_listed_and_found_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VQCODEC_MODELS", str(folder))
    (folder / "elsewhere").mkdir()
    (folder / "prior").rename(folder / "elsewhere" / "prior")
    assert registry.find_prior("elsewhere/prior")[1].id == PRIOR_MODEL.id  # installed
    (folder / "elsewhere" / "prior").rename(folder / "prior")
    assert {entry.name: entry.kind for entry in registry.list_models()}["prior"] == "token-prior"
    assert registry.find_prior("prior")[0].labels == CLASSES
    assert registry.find_by_id(PRIOR_MODEL.file_id).name == "tokens"
    monkeypatch.chdir(folder.parent)
    for name, message in (("prior", "prior is a token prior, for generate -m and repair -m"), ("photo-gan", "no model named")):
        with pytest.raises(ModelError, match=message):
            registry.find_any(name)
    with pytest.raises(ModelError, match="no token prior named tokens"):
        registry.find_prior("tokens")


def test_a_prior_without_its_token_model_says_so(folder: Path) -> None:
    for name in ("tokens", "photo-gan"):
        with pytest.raises(ModelError, match="token prior"):
            registry.find_prior(folder / name if name == "tokens" else name)
    (folder / "tokens").rename(folder.parent / f"{folder.name}-moved")
    with pytest.raises(ModelError, match="neither installed nor beside it"):
        registry.find_prior("./prior")


def test_a_damaged_copy_of_a_token_model_does_not_hide_an_intact_one(folder: Path) -> None:
    shutil.copytree(folder / "tokens", folder / "a-copy")
    (folder / "a-copy" / "model.safetensors").write_bytes(b"damaged")
    assert registry.find_prior("./prior")[1].id == PRIOR_MODEL.id
    shutil.rmtree(folder / "tokens")
    with pytest.raises(ModelError, match="a-copy"):
        registry.find_prior("./prior")


@pytest.mark.parametrize(
    "damage",
    [
        {"prior.tail": None},
        {"prior.rows": np.zeros((0, 32), np.float16)},
        {"prior.qkv": np.zeros((2, 96, 31), np.float16)},
        {"prior.qkv_bias": np.full((2, 96), np.nan, np.float16)},
        {"prior.words": np.zeros((40, 32), np.float16)},
        {"prior.mix": np.array(1, np.float16)},
        {"prior.tail": np.zeros((40, 33), np.float16)},
        {"prior.picture": np.array([20, 0, 3], np.uint16)},
        {"prior.picture": np.array([20, 33, 3], np.uint16)},
        {"prior.picture": np.array([20, 30, 3], np.int64)},
        {"prior.token_id": np.zeros(5, np.uint8)},
        {"prior.labels": np.zeros((2, 32), np.float16)},
    ],
)
def test_damaged_priors_are_refused(folder: Path, damage: dict[str, Any]) -> None:
    whole = TokenPrior.load(folder / "prior")
    tensors = {name: array for name, array in (whole.tensors | damage).items() if array is not None}
    save_model(folder / "prior", TokenPrior("prior", tensors, whole.summary))
    with pytest.raises(ModelError):
        registry.find_prior("./prior")


@pytest.mark.parametrize("labels", [None, "ab", ["cat"], ["cat", "cat"], [1, 2], {"cat": 1, "dog": 2}])
def test_labels_other_than_a_list_of_names_are_refused(folder: Path, labels: Any) -> None:
    whole = TokenPrior.load(folder / "prior")
    save_model(folder / "prior", TokenPrior("prior", whole.tensors, whole.summary | {"labels": labels}))
    with pytest.raises(ModelError, match="labels"):
        TokenPrior.load(folder / "prior")


def test_a_prior_of_another_token_model_is_refused() -> None:
    other = replace(PRIOR_MODEL, tensors=PRIOR_MODEL.tensors | {"token.mean": PRIOR_MODEL.mean + 1})
    with pytest.raises(ModelError, match="was not trained for"):
        random_prior(PRIOR_MODEL, (20, 30, 3)).check_model(other)


@pytest.mark.parametrize("codewords", [39, 41])
def test_a_prior_of_another_number_of_codewords_is_refused(codewords: int) -> None:
    """The prior's token_id matches, but its tensors do not."""
    prior = random_prior(PRIOR_MODEL, (20, 30, 3))
    sizes = {"prior.words": codewords + 1, "prior.tail": codewords, "prior.tail_bias": codewords}
    resized = {name: np.resize(prior.tensors[name], (size, *prior.tensors[name].shape[1:])) for name, size in sizes.items()}
    other = replace(prior, tensors=prior.tensors | resized)
    other.check()
    assert other.token_id == PRIOR_MODEL.file_id
    with pytest.raises(ModelError, match="token prior prior was not trained for token model test"):
        other.check_model(PRIOR_MODEL)


# ------------------------------------------------------------------------------------------------ the program


def test_generate_writes_a_picture_or_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "-m", "./prior", "-n", "5", "-o", "all.png", "--seed", "2"]) == 0
    with Image.open("all.png") as image:
        assert image.size == (3 * 30, 2 * 20)
    assert main(["generate", "-m", "./prior", "-n", "5", "-o", "each", "--seed", "2"]) == 0
    names = [f"{number:03}-{'cat' if number < 3 else 'dog'}.png" for number in range(5)]
    assert sorted(path.name for path in Path("each").iterdir()) == [*names, "generated.json"]
    assert json.loads(Path("each/generated.json").read_text())["pictures"][names[0]] == "cat"
    with Image.open("all.png") as image, Image.open(f"each/{names[1]}") as one:
        np.testing.assert_array_equal(np.array(image)[:20, 30:60], one)
    for output in ("all.png", "each"):
        assert main(["generate", "-m", "./prior", "-n", "1", "-o", output]) == 5
        assert main(["generate", "-m", "./prior", "-n", "1", "-o", output, "-f", "--label", "dog", "--guidance", "1"]) == 0
    assert sorted(path.name for path in Path("each").iterdir()) == ["000-dog.png", "generated.json"]
    capsys.readouterr()
    for arguments, code in (
        (["-m", "./prior", "-o", "x.png", "--label", "cow"], 3),
        (["-m", "./prior", "-o", "x.jpeg2"], 5),
        (["-m", "./tokens", "-o", "x.png"], 4),
        (["-m", "photo", "-o", "x.png"], 4),
        (["-m", "./prior", "-o", "x.png", "--temperature", "0"], 2),
        (["-m", "./prior", "-o", "x.png", "--temperature", str(np.nextafter(generation.TEMPERATURES[0], 0))], 2),
        (["-m", "./prior", "-o", "x.png", "--temperature", str(np.nextafter(generation.TEMPERATURES[1], 200))], 2),
        (["-m", "./prior", "-o", "x.png", "--seed", str(2**64)], 2),
        (["-m", "./prior", "-o", "x.png", "--guidance", str(np.nextafter(generation.MAX_GUIDANCE, 200))], 2),
        (["-o", "x.png"], 2),
    ):
        assert main(["generate", *arguments]) == code
        assert capsys.readouterr().err.count("\n") == 1
    assert not Path("x.png").exists()


# ------------------------------------------------------------------------------------------------ training


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder each of dark and bright pictures, a token model that tells them apart, and a prior trained on them."""
    pytest.importorskip("torch")
    from vqcodec.neural import token_prior

    folder = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.normal(level + 10 * (np.arange(20) > 9), 2, (12, 20)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    save_model(folder / "tokens", levels())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_prior.PriorSettings.__init__, "__defaults__", _small(token_prior.PriorSettings))
        arguments = ["train", str(folder / "pictures"), "-o", str(folder / "prior"), "--kind", "token-prior"]
        assert main([*arguments, "--init", str(folder / "tokens"), "--steps", "100", "--log", str(folder / "log")]) == 0
    return folder


def _small(settings: type) -> tuple[Any, ...]:
    """Defaults of the settings, for a small network."""
    own = {"width": 32, "layers": 1, "batch": 32, "rate": 1e-2}
    return tuple(own.get(field.name, field.default) for field in fields(settings))


def levels() -> TokenModel:
    """A token model whose codewords are grey levels, 8 apart. Its networks pass the DC through."""
    base = random_token_model(8, 1, 32, 1)
    tensors = dict(base.tensors)
    for kind in ("encoder", "decoder"):
        for name in ("head", "tail", "project"):
            tensors[f"{kind}.{name}"] = np.zeros_like(tensors[f"{kind}.{name}"])
            tensors[f"{kind}.{name}_bias"] = np.zeros_like(tensors[f"{kind}.{name}_bias"])
        tensors[f"{kind}.head"][0, 0] = tensors[f"{kind}.tail"][0, 0] = 1
    tensors["token.scale"] = np.full(64, 8, np.float32)  # 8 times a grey level is a DC
    tensors["token.words"] = (np.arange(32) * 8 - 124).astype(np.float16)[:, None]
    model = TokenModel("tokens", tensors)
    return replace(model, summary={"name": "tokens", "kind": "token", "id": model.id})


@pytest.mark.slow
def test_training_lowers_the_loss(toy: Path) -> None:
    _, *lines, _ = [json.loads(line) for line in (toy / "log").read_text().splitlines()]  # between the plan and the result
    assert [line["step"] for line in lines] == [50, 100]
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    summary = json.loads((toy / "prior" / "model.json").read_text())
    assert summary["labels"] == ["dark", "light"]
    assert summary["held_out_bits_per_token"] < 2  # of 5
    assert TokenPrior.load(toy / "prior").picture == (12, 20, 1)


@pytest.mark.slow
def test_generated_pictures_belong_to_their_class(toy: Path) -> None:
    pictures, labels = api.generate(40, prior=toy / "prior")
    assert pictures.shape == (40, 12, 20)
    bright = pictures.mean(axis=(1, 2)) > 120
    assert labels == ["dark"] * 20 + ["light"] * 20
    assert (bright == [label == "light" for label in labels]).mean() > 0.9


@pytest.mark.slow
def test_repaired_pixels_match_their_surroundings(toy: Path) -> None:
    mask = np.zeros((12, 20), np.bool_)
    mask[:, 8:12] = True
    for level in (40, 200):
        pixels = np.where(mask, 0, level).astype(np.uint8)
        found = [api.repair(pixels, mask, prior=toy / "prior", seed=seed)[mask].astype(int) for seed in range(5)]
        assert np.median(np.abs(np.array(found) - level).mean(axis=1)) < 20


@pytest.mark.slow
def test_repair_follows_the_given_class(toy: Path) -> None:
    pixels, mask = np.full((12, 20), 120, np.uint8), np.ones((12, 20), np.bool_)
    for label, is_bright in (("light", True), ("dark", False)):
        found = [api.repair(pixels, mask, prior=toy / "prior", label=label, seed=seed).mean() > 128 for seed in range(5)]
        assert sum(bright == is_bright for bright in found) >= 4
    with pytest.raises(InputError, match="no class grey"):
        api.repair(pixels, mask, prior=toy / "prior", label="grey")


def test_classes_are_the_first_folders_and_mixed_sizes_give_whole_cells() -> None:
    pytest.importorskip("torch")
    from vqcodec.train.data import TrainingImage
    from vqcodec.train.token_prior import classes_of, grids_of, picture_of

    def images(*sizes: tuple[int, int], folders: str = "") -> list[TrainingImage]:
        names = [f"{folder}/{number}" if folder.strip() else str(number) for number, folder in enumerate(folders.ljust(len(sizes)))]
        return [TrainingImage(name, np.zeros((*size, 1), np.uint8)) for name, size in zip(names, sizes, strict=True)]

    given = images(*[(12, 20)] * 4, folders="ba b")
    assert classes_of(given) == ["a", "b"]
    assert classes_of(images(*[(12, 20)] * 2, folders="a")) == []
    assert [grid.label for grid in grids_of(given, ["a", "b"], levels(), "tokens", lambda *_: None)] == [1, 0, 2, 1]
    assert picture_of(given, (2, 3), 8) == (12, 20, 1)
    assert picture_of(images((12, 20), (13, 20)), (2, 3), 8) == (16, 24, 1)
    assert picture_of(images((12, 36), (12, 36)), (2, 3), 8) == (16, 24, 1)


@pytest.mark.slow
def test_training_needs_a_token_model(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(toy / "pictures"), "-o", str(tmp_path / "x"), "--kind", "token-prior"]
    for given, code in (([], 2), (["--init", "photo-lite"], 4), (["--init", str(toy / "tokens"), "--cosine"], 2)):
        assert main([*arguments, *given]) == code
        assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ModelError, match="token prior"):
        registry.find_prior(toy / "tokens")
