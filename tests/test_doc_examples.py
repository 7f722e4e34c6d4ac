"""The Python examples of the documentation run and print what the pages show."""

from pathlib import Path

import pytest
from PIL import Image

from helpers.examples import alike, examples_of, run_examples
from helpers.paths import REPOSITORY
from helpers.plugins import register_plugins

PAGES = ("docs/api.md", "docs/integrations.md")


@pytest.fixture
def folder(tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photo.png."""
    with Image.open(samples / "still_life.png") as photo:
        photo.crop((200, 100, 360, 228)).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    register_plugins()
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("page", PAGES)
def test_examples(page: str, folder: Path) -> None:
    results = run_examples((REPOSITORY / page).read_text(), page)
    assert results.failed == 0


def test_the_rules_of_this_test(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = "```pycon\n>>> 1 + 1\n2\n```\n<!-- needs: no_such_module -->\n```pycon\n>>> 1 / 0\n```\n```python\n>>> 2\n```\n"
    assert [example.want for example in examples_of(block)] == ["2\n"]
    assert run_examples(block, "page").failed == 0
    assert alike("a 3361 bytes (256, 320) [3] -1.5 %") == "a 0 bytes (256, 320) [3] 0 %"
    assert run_examples(block.replace("\n2\n", "\n(1, 3)\n"), "page").failed == 1
