"""Rules for the documentation: short experiment entries, narrow tables, links that lead somewhere, plain docstrings."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.paths import REPOSITORY

FOLDERS = ("docs", "experiments", "models", "packaging", "samples", "tests", "vqcodec")
ENTRIES = REPOSITORY / "docs" / "experiments"
MOST_ENTRY_LINES, MOST_LINE, MOST_TABLE_LINE = 12, 132, 400  # lines; characters
MOST_README_LINES, README_WIDTH = 5, 120
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """All Markdown files of the repository."""
    return sorted([*REPOSITORY.glob("*.md"), *(page for folder in FOLDERS for page in (REPOSITORY / folder).rglob("*.md"))])


def entries() -> list[Path]:
    return sorted(ENTRIES.glob("2*.md"))


def prose(text: str) -> Iterator[str]:
    """The lines outside fenced code blocks."""
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield line


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def test_there_are_pages() -> None:
    assert {"README.md", "CHANGELOG.md", "docs/results.md"} <= {name_of(page) for page in pages()}
    assert len(entries()) > 5


@pytest.mark.parametrize("entry", entries(), ids=lambda path: path.stem)
def test_experiment_entries_are_short(entry: Path) -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\d-[a-z0-9-]+\.md", entry.name)
    lines = entry.read_text().splitlines()
    assert len(lines) <= MOST_ENTRY_LINES
    assert [line for line in lines if len(line) > MOST_LINE] == []
    assert lines[0].startswith("# ")
    for part in ("Question", "Expected", "Measured", "Decision"):
        assert part in "\n".join(lines[1:]), part


def test_the_index_has_every_entry() -> None:
    assert set(LINK.findall((ENTRIES / "README.md").read_text())) == {entry.name for entry in entries()}


def test_table_lines_are_narrow() -> None:
    wide = [
        f"{name_of(page)}:{number}"
        for page in pages()
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if line.lstrip().startswith("|") and len(line) > MOST_TABLE_LINE
    ]
    assert wide == []


def test_relative_links_exist() -> None:
    dangling = [
        f"{name_of(page)}: {target}"
        for page in pages()
        for line in prose(page.read_text())
        for target in LINK.findall(line)
        if not re.match(r"[a-z]+:|#", target) and not (page.parent / target.split("#")[0]).exists()
    ]
    assert dangling == []


PATH = re.compile(r"`([\w.-]+/[\w./-]+\.(?:py|md|toml))`")


def test_paths_exist() -> None:
    """Paths in backticks are relative to the repository, vqcodec, tests or docs. CHANGELOG.md has old ones; KIND stands for any."""
    roots = [REPOSITORY, *(REPOSITORY / name for name in ("vqcodec", "tests", "docs"))]
    missing = [
        f"{name_of(page)}: {path}"
        for page in pages()
        if page.name != "CHANGELOG.md"
        for path in PATH.findall(page.read_text())
        if "KIND" not in path and not any((root / path).exists() for root in [*roots, page.parent])
    ]
    assert missing == []


def test_architecture_has_the_layers_of_the_import_contract() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = (REPOSITORY / "docs" / "architecture.md").read_text().splitlines()
    shown = [lines.index(line) for layer in contracts[0]["layers"] for line in lines if line.startswith(f" {layer} ")]
    assert len(shown) == len(contracts[0]["layers"])
    assert shown == sorted(shown)


def paragraphs(text: str) -> Iterator[list[str]]:
    """Runs of lines outside code blocks, tables and headings; a list item is a paragraph of its own."""
    found: list[str] = []
    for line in [*prose(text), ""]:
        starts_item = re.match(r"(-|\d+\.) ", line)
        if found and (starts_item or not line.strip() or line.startswith(("#", "|"))):
            yield found
            found = []
        if line.strip() and not line.startswith(("#", "|")):
            found.append(line)


def test_readme_paragraphs_are_short() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert [lines[0] for lines in paragraphs(text) if len(lines) > MOST_README_LINES] == []
    assert [line for lines in paragraphs(text) for line in lines if len(line) > README_WIDTH] == []


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(tree: ast.AST) -> Iterator[str]:
    """Docstrings of modules, classes and functions, and those under constants and fields."""
    for node in ast.walk(tree):
        for statement in node.body if isinstance(node, DOCUMENTED) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    riddles = [
        f"{name_of(module)}: {text.splitlines()[0]}"
        for folder in ("vqcodec", "experiments", "samples", "tests", "packaging")
        for module in sorted((REPOSITORY / folder).rglob("*.py"))
        for text in docstrings(ast.parse(module.read_text()))
        if text.startswith(("As ", "By ", "How ", "Of ", "So many ", "Such ", "The same ", "What ", "Where "))
    ]
    assert riddles == []


def test_the_rules_of_this_test() -> None:
    assert list(prose("a\n```sh\nb\n```\nc")) == ["a", "c"]
    assert list(paragraphs("# t\na\nb\n\n- c\n  d\n- e\n| f |\ng")) == [["a", "b"], ["- c", "  d"], ["- e"], ["g"]]
