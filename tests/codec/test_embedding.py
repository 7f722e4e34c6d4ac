"""Files that carry their model."""

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run
from helpers.networks import neural_model, random_network
from helpers.packs import pack_of
from helpers.pictures import smooth_picture
from vqcodec import api
from vqcodec.errors import CorruptError, FormatError, ModelError
from vqcodec.format import container
from vqcodec.format.blobs import write_blob
from vqcodec.format.header import Section
from vqcodec.weights import registry
from vqcodec.weights.embedded import read_embedded, write_embedded
from vqcodec.weights.folder import packed, save_model

LITE = registry.find("photo-lite")
OWN = neural_model(random_network(8, 1, 0.1))
"""A model that is not installed."""
PICTURE = smooth_picture(40, 56)


def with_section(data: bytes, content: bytes) -> bytes:
    """A file with other bytes in place of its model."""
    header, sections = container.read_file(data)
    kept = [section for section in sections if section.type != container.MODEL]
    return container.write_file(header, [*kept, Section(container.MODEL, content)])


def test_a_file_with_its_model_decodes_without_it() -> None:
    alone, whole = (api.encode(PICTURE, model=OWN, embed_model=embed) for embed in (False, True))
    wanted = api.decode(alone, model=OWN)
    with pytest.raises(ModelError, match="not installed"):
        api.decode(alone)
    np.testing.assert_array_equal(api.decode(whole), wanted)
    np.testing.assert_array_equal(api.decode(whole, model=OWN), wanted)
    with api.open_vqz(whole) as opened:
        assert opened.read(scale=2).shape == (20, 28, 3)
    assert (api.info(alone)["model"], api.info(whole)["model"]) == (None, OWN.name)
    assert "model" in [section["type"] for section in api.info(whole)["sections"]]
    api.verify(whole)
    assert len(api.indices(whole)["index"]) > 0


def test_a_file_with_its_model_decodes_from_a_pack_too() -> None:
    whole = api.encode(PICTURE, model=OWN, embed_model=True)
    with api.open_pack(pack_of([{"a": whole}])) as pack:
        np.testing.assert_array_equal(pack["a"], api.decode(whole))
        with pack.file("a") as opened:
            assert opened.read(scale=2).shape == (20, 28, 3)


def test_files_without_a_model_are_as_they_were() -> None:
    assert api.encode(PICTURE, lossless=True, embed_model=True) == api.encode(PICTURE, lossless=True)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\xff", FormatError),
        (write_embedded(OWN)[:-1], FormatError),
        (write_embedded(OWN) + b"\0", CorruptError),
        (write_blob(b"{}") + write_blob(b"no tensors"), ModelError),
        (write_blob(b"[]") + write_blob(packed(OWN)), ModelError),
        (write_embedded(LITE), ModelError),  # another model than the file names
    ],
)
def test_another_model_or_damage_is_refused(content: bytes, error: type[Exception]) -> None:
    whole = api.encode(PICTURE, model=OWN, embed_model=True)
    with pytest.raises(error):
        api.decode(with_section(whole, content))
    with pytest.raises(error):
        read_embedded(content, OWN.file_id)
    np.testing.assert_array_equal(api.decode(with_section(whole, content), model=OWN), api.decode(whole))


def test_a_large_model_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqcodec.weights.embedded._MOST_BYTES", 1000)
    with pytest.raises(CorruptError, match="bytes"):
        read_embedded(write_embedded(LITE), LITE.file_id)


def test_the_command_says_what_the_model_costs(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "own", OWN)
    file, back = tmp_path / "a.vqz", tmp_path / "a.ppm"
    code, _, err = run(capsys, "encode", photo, file, "-m", tmp_path / "own", "--embed-model")
    stored = len(container.read_file(file.read_bytes())[1][-1].data)
    assert code == 0
    assert "model own takes" in err
    cost = int(err.split(" takes ")[1].split(" bytes")[0].replace(",", ""))
    assert 0 < cost - stored < 20
    assert run(capsys, "decode", file, back, "--quiet")[0] == 0
    assert run(capsys, "verify", file)[:2] == (0, f"{file}: ok\n")
    code, out, _ = run(capsys, "info", file, "--json")
    assert json.loads(out)["model"] == "own"
