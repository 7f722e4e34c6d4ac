"""Folders to packs and back: names, kinds of files, failures, appending, damage; and the API."""

import io
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.encoded import LITE
from helpers.packs import opened
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.checks import MAX_PIXELS
from vqcodec.errors import CorruptError, InputError, ModelError, OutputError, TruncatedError
from vqcodec.format.pack import HEAD, MODEL, Record, StoredModel, write_index, write_model
from vqcodec.io.batch import Summary
from vqcodec.io.pack_reader import PackReader, facts_of, verify_pack
from vqcodec.io.pack_writer import Packing, pack_folder
from vqcodec.io.unpacking import Unpacking, unpack_pictures
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.weights import folder, registry
from vqcodec.weights.embedded import write_embedded
from vqcodec.weights.folder import save_model
from vqcodec.weights.kinds import file_model_of


def packed_to(folder: Path, output: Path, *, append: bool = False, jobs: int = 1, overwrite: bool = False) -> Summary:
    packing = Packing(options=EncodeOptions(quality=40, threads=1), model="photo-lite")
    return pack_folder(
        packing,
        folder,
        output,
        jobs=jobs,
        overwrite=overwrite,
        append=append,
        started=lambda _: None,
        progress=lambda _: None,
    )


def unpacked_to(source: Path, output: Path, *names: str, files: bool = False, allow_partial: bool = False) -> Summary:
    unpacking = Unpacking(source=source, options=DecodeOptions(refine="none"), files=files, allow_partial=allow_partial)
    return unpack_pictures(
        unpacking,
        output,
        names,
        suffix=".vqz" if files else ".png",
        jobs=1,
        overwrite=False,
        started=lambda _: None,
        progress=lambda _: None,
    )


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, a drawing, a .vqz file, two pictures that differ in their suffix, and other files."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    for number, name in enumerate(("b.png", "a.png", "sub/ü.png", "sub/c.bmp", "sub/c.png")):
        Image.fromarray(smooth_picture(32, 40, seed=number)).save(folder / name)
    drawing = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8, 1)), np.ones((4, 4, 3))).astype(np.uint8) * 255
    Image.fromarray(drawing).save(folder / "drawing.png")
    (folder / "sub" / "old.vqz").write_bytes(api.encode(smooth_picture(24, 24), model=LITE, quality=70))
    (folder / "notes.txt").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def pack(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("packs") / "all.vqzs"
    summary = packed_to(pictures, output)
    assert [Path(outcome.source).name for outcome in summary.failed] == ["cut.png"]
    assert [Path(skipped.source).name for skipped in summary.skipped] == ["notes.txt"]
    assert (summary.done, summary.bytes_out) == (7, output.stat().st_size)
    assert [path.name for path in output.parent.iterdir()] == ["all.vqzs"]
    return output


NAMES = ["a.png", "b.png", "drawing.png", "sub/c.bmp", "sub/c.png", "sub/old.vqz", "sub/ü.png"]


def test_the_api_reads_every_picture(pack: Path, pictures: Path) -> None:
    with vqcodec.open_pack(pack) as found:
        assert (len(found), found.names, list(found)) == (7, NAMES, NAMES)
        assert "a.png" in found
        assert "a" not in found
        for name in NAMES:
            pixels = found[name]
            np.testing.assert_array_equal(api.decode(found.bytes(name)), pixels)
            np.testing.assert_array_equal(found.read(name, refine="none"), found.file(name).read(refine="none"))
        np.testing.assert_array_equal(found["drawing.png"], np.asarray(Image.open(pictures / "drawing.png")))
        assert found.file("a.png").size == (40, 32)
        with pytest.raises(KeyError):
            found["nothing"]
    with pytest.raises(InputError, match="the pack is closed"):
        found["a.png"]
    with pack.open("rb") as stream:
        found = vqcodec.open_pack(stream)
    with pytest.raises(InputError, match="the pack is closed"):  # by its owner
        found["a.png"]
    data = pack.read_bytes()
    np.testing.assert_array_equal(vqcodec.open_pack(data)["a.png"], vqcodec.open_pack(io.BytesIO(data))["a.png"])


def test_small_photographs_take_fewer_bytes_than_as_files(pack: Path) -> None:
    found = api.open_pack(pack)
    names = [name for name in NAMES if name not in ("drawing.png", "sub/old.vqz")]
    files = sum(len(found.bytes(name)) for name in names)
    stored = sum(place.entry.size for place in opened(pack.read_bytes()).each() if place.entry.name in names)
    assert stored < 0.9 * files


def test_unpacking_all_or_some(pack: Path, tmp_path: Path) -> None:
    summary = unpacked_to(pack, tmp_path / "all")
    assert (summary.done, summary.failed) == (7, [])
    found = ["a.png", "b.png", "drawing.png", "sub/c.bmp.png", "sub/c.png.png", "sub/old.png", "sub/ü.png"]
    assert files_of(tmp_path / "all") == found
    expected = api.open_pack(pack).read("sub/ü.png", refine="none")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "all" / "sub" / "ü.png")), expected)
    unpacked_to(pack, tmp_path / "some", "sub/ü.png", files=True)
    assert files_of(tmp_path / "some") == ["sub/ü.vqz"]
    np.testing.assert_array_equal(api.decode(tmp_path / "some" / "sub" / "ü.vqz", refine="none"), expected)
    again = unpacked_to(pack, tmp_path / "some", "sub/ü.png", files=True)
    assert [(outcome.source, outcome.exit_code) for outcome in again.failed] == [("sub/ü.png", 5)]
    with pytest.raises(InputError, match="no picture 'x' in the pack"):
        unpacked_to(pack, tmp_path / "none", "x")


def test_appending(pack: Path, pictures: Path, tmp_path: Path) -> None:
    output, more = tmp_path / "more.vqzs", tmp_path / "more"
    output.write_bytes(pack.read_bytes())
    more.mkdir()
    for number, name in enumerate(("aa.png", "zz.png")):
        Image.fromarray(smooth_picture(16, 16, seed=number)).save(more / name)
    before = output.read_bytes()
    with pytest.raises(OutputError, match=r"has a picture 'a\.png' already"):
        packed_to(pictures, output, append=True)
    assert output.read_bytes() == before
    assert packed_to(more, output, append=True).bytes_out < 1000
    found = api.open_pack(output)
    assert found.names == sorted([*NAMES, "aa.png", "zz.png"], key=lambda name: name.encode())
    for name in found.names:
        assert found[name].shape[:2] in ((32, 40), (32, 32), (24, 24), (16, 16))
    assert output.read_bytes().startswith(before[:200])
    with pytest.raises(OutputError, match="exists already"):
        packed_to(more, output)
    with pytest.raises(InputError, match="cannot read"):
        packed_to(more, tmp_path / "new.vqzs", append=True)


def test_a_cut_pack_loses_only_what_was_cut(pack: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.vqzs"
    place = opened(pack.read_bytes()).find("sub/c.bmp")
    assert place is not None
    cut.write_bytes(pack.read_bytes()[: place.offset + place.entry.size])
    with pytest.raises(TruncatedError, match="its end is missing"):
        unpacked_to(cut, tmp_path / "out")
    summary = unpacked_to(cut, tmp_path / "out", allow_partial=True)
    assert files_of(tmp_path / "out") == ["a.png", "b.png", "drawing.png", "sub/c.bmp.png"]
    assert [outcome.source for outcome in summary.failed] == NAMES[4:]
    assert api.open_pack(cut, allow_partial=True).names == NAMES


def test_a_damaged_picture_is_named(pack: Path, tmp_path: Path) -> None:
    damaged, place = bytearray(pack.read_bytes()), opened(pack.read_bytes()).find("b.png")
    assert place is not None
    damaged[place.offset + 3] ^= 4
    (tmp_path / "damaged.vqzs").write_bytes(damaged)
    summary = unpacked_to(tmp_path / "damaged.vqzs", tmp_path / "out")
    assert [(outcome.source, outcome.exit_code) for outcome in summary.failed] == [("b.png", 3)]
    assert summary.done == 6
    found = api.open_pack(tmp_path / "damaged.vqzs")
    with pytest.raises(CorruptError, match=r"damaged\.vqzs: corrupt pack: the checksum of the picture is wrong"):
        found["b.png"]


def test_names_that_are_no_utf_8_are_failures(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(smooth_picture(8, 8)).save(folder / "a.png")
    try:
        (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    summary = packed_to(folder, tmp_path / "out.vqzs")
    assert (summary.done, [outcome.exit_code for outcome in summary.failed]) == (0, [3])
    assert not (tmp_path / "out.vqzs").exists()


def test_a_pack_carries_its_model(pictures: Path, tmp_path: Path) -> None:
    tensors = dict(LITE.tensors)
    tensors["book.bits"] = tensors["book.bits"] + np.uint16(1)
    save_model(tmp_path / "own", replace(LITE, name="own", tensors=tensors, summary={"name": "own"}))
    for name, embed in (("with", True), ("without", False)):
        packing = Packing(
            options=EncodeOptions(quality=40, threads=1), model=str(tmp_path / "own" / "."), strip=True, embed_model=embed
        )
        arguments = {"jobs": 1, "overwrite": False, "append": False, "started": lambda _: None, "progress": lambda _: None}
        summary = pack_folder(packing, pictures / "sub", tmp_path / f"{name}.vqzs", **arguments)  # type: ignore[arg-type]
        notes = [note for source, note in summary.notes if source.endswith(".vqzs")]
        assert {note.split(" takes ")[0] for note in notes} == ({"model own", "model photo-lite"} if embed else set())
    (tmp_path / "own").rename(tmp_path / "gone")
    registry._load.cache_clear()
    with pytest.raises(ModelError, match="is not installed"):
        api.open_pack(tmp_path / "without.vqzs")["c.png"]
    found = api.open_pack(tmp_path / "with.vqzs")
    expected = found["c.png"]
    assert expected.shape == (32, 40, 3)
    np.testing.assert_array_equal(found.file("c.png").read(), expected)
    assert verify_pack(tmp_path / "with.vqzs", model=None, max_pixels=MAX_PIXELS) == (4, [])
    facts = facts_of(tmp_path / "with.vqzs", allow_partial=False, max_pixels=MAX_PIXELS)
    assert {model["name"] for model in facts.models} == {"own", "photo-lite"}
    assert unpacked_to(tmp_path / "with.vqzs", tmp_path / "out").done == 4
    data = bytearray((tmp_path / "with.vqzs").read_bytes())
    models = [record for record in opened(bytes(data)).records if record.type == MODEL]
    assert len(models) == 2
    for model in models:
        data[model.offset + model.length // 2] ^= 1
    with pytest.raises(ModelError, match="is not installed"):
        api.open_pack(bytes(data))["c.png"]


def test_hostile_models_in_packs_are_not_used() -> None:
    rng, text = np.random.default_rng(0), b'{"name": "x"}'
    tensors = folder.packed(LITE)
    for number in range(40):
        other = bytearray(tensors[: len(tensors) if number % 2 else int(rng.integers(len(tensors)))])
        for position in rng.integers(0, min(len(other), 3000), 3).tolist() if other else []:
            other[position] = int(rng.integers(256))
        for summary in (text, b"[]", b"[" * 100_000, b"\xff"):
            with suppress(ModelError):
                file_model_of(folder.weights_of(bytes(other), summary))
    stored = StoredModel(b"123456", write_embedded(LITE))  # the id of another model
    record = write_model(stored)
    data = HEAD + record + write_index([Record(MODEL, len(HEAD), len(record))], [], len(HEAD) + len(record))
    assert next(opened(data).models()) == stored
    assert PackReader(io.BytesIO(data)).embedded == []


def test_a_pipe_is_no_pack() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb"), open(reading, "rb") as stream, pytest.raises(InputError, match="a pipe cannot be"):
        PackReader(stream)
