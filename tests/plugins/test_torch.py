"""Data sets for PyTorch and WebDataset."""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.pictures import smooth_picture
from vqcodec.cli.main import main
from vqcodec.errors import CorruptError, InputError
from vqcodec.plugins.webdataset import VqzHandler

torch = pytest.importorskip("torch", reason="the extra neural is not installed")

from vqcodec.plugins.torch import VqzDataset, to_tensor  # noqa: E402 (needs torch)

PICTURES = {
    "cat/a.vqz": smooth_picture(160, 160),
    "cat/b.VQZ": smooth_picture(160, 160, seed=1),
    "dog/deep/c.vqz": smooth_picture(160, 160, seed=2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of two classes, and a file of another kind."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "text.txt").write_text("no picture")
    for name, pixels in PICTURES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(vqcodec.encode(pixels, effort=1, threads=1))
    return folder


def test_items_are_the_decodes(folder: Path) -> None:
    for refine in ("none", "best"):
        dataset = VqzDataset(folder, refine=refine)
        assert (len(dataset), dataset.names) == (3, list(PICTURES))
        for name, tensor in zip(dataset.names, [dataset[i] for i in range(3)], strict=True):
            assert (tensor.dtype, tensor.is_contiguous()) == (torch.uint8, True)
            np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), vqcodec.decode(folder / name, refine=refine))
    assert VqzDataset(folder, scale=4)[0].shape == (3, 40, 40)
    assert VqzDataset(folder, scale=4, refine="best")[0].shape == (3, 40, 40)


def test_classes_and_transforms(folder: Path) -> None:
    dataset = VqzDataset(folder, classes=True, transform=lambda tensor: tensor[:, :2, :2].float())
    assert dataset.classes == ["cat", "dog"]
    assert [dataset[i][1] for i in range(3)] == [0, 0, 1]
    assert (dataset[0][0].shape, dataset[0][0].dtype) == ((3, 2, 2), torch.float32)


@pytest.fixture(scope="module")
def pack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `folder` in a pack."""
    pictures, pack = tmp_path_factory.mktemp("png"), tmp_path_factory.mktemp("packs") / "a.vqzs"
    for name, pixels in PICTURES.items():
        path = (pictures / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    assert main(["pack", str(pictures), str(pack), "--effort", "1", "--quiet"]) == 0
    return pack


def test_packs(pack: Path) -> None:
    dataset, opened = VqzDataset(pack, classes=True, refine="best"), vqcodec.open_pack(pack)
    assert (dataset.names, dataset.classes) == (opened.names, ["cat", "dog"])
    for index, name in enumerate(opened.names):
        np.testing.assert_array_equal(dataset[index][0].permute(1, 2, 0).numpy(), opened[name])
    assert VqzDataset(pack, scale=8)[2].shape == (3, 20, 20)


def test_workers_read_a_pack_each_for_itself(pack: Path) -> None:
    dataset = VqzDataset(pack)
    alone = [dataset[index] for index in range(3)]  # opens it in this process, too
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[1], alone[1])  # as workers that spawn get it
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2, multiprocessing_context="fork")
    for _ in range(3):
        assert all(torch.equal(found, wanted) for found, wanted in zip(loader, alone, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_any_kind(folder: Path, method: str) -> None:
    dataset = VqzDataset(folder, scale=2, classes=True)
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context=method)
    batches = list(loader)
    assert [tuple(tensors.shape) for tensors, _ in batches] == [(2, 3, 80, 80), (1, 3, 80, 80)]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 0, 1]
    assert torch.equal(batches[1][0][0], dataset[2][0])


def test_errors_name_the_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="files in it: vqcodec encode"):
        VqzDataset(tmp_path)
    with pytest.raises(InputError, match="scale"):
        VqzDataset(folder, scale=3)
    data = bytearray((folder / "cat/a.vqz").read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad.vqz").write_bytes(data)
    with pytest.raises(CorruptError, match=r"bad\.vqz"):
        VqzDataset(tmp_path)[0]
    with pytest.raises(InputError, match=r"bad\.vqz is in no folder of a class"):
        VqzDataset(tmp_path, classes=True)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (4, 5, 4)])
def test_tensors_of_any_channels(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tensor = to_tensor(pixels)
    assert (tensor.dtype, tuple(tensor.shape)) == (torch.uint16, (1 if len(shape) == 2 else shape[2], 4, 5))


def test_the_handler_of_webdataset(folder: Path) -> None:
    data = (folder / "cat/a.vqz").read_bytes()
    np.testing.assert_array_equal(VqzHandler()(".vqz", data), vqcodec.decode(data, refine="none"))
    np.testing.assert_array_equal(VqzHandler(refine="best")(".left.VQZ", data), vqcodec.decode(data))
    assert VqzHandler(tensor=True, scale=8)(".vqz", data).shape == (3, 20, 20)
    assert VqzHandler()(".cls", b"1") is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves files open
def test_webdataset_itself(folder: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for number, name in enumerate(PICTURES):
            for suffix, data in (("vqz", (folder / name).read_bytes()), ("cls", str(number).encode())):
                entry = tarfile.TarInfo(f"{number}.{suffix}")
                entry.size = len(data)
                shard.addfile(entry, io.BytesIO(data))
    shards = webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)
    found = list(shards.decode(VqzHandler(tensor=True)).to_tuple("vqz", "cls"))
    assert [label for _, label in found] == [0, 1, 2]
    assert torch.equal(found[2][0], VqzDataset(folder)[2])
