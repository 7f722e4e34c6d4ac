"""Documentation as plain HTML: all pages of the repository and the generated reference, in a folder named like the version.

Command: `python packaging/make_docs.py out/docs` (`make docs`). Needs the dependency group docs. Folders of other versions
stay, and index.html lists them. The pages load nothing from elsewhere and work from file://, search included.
"""

import html
import re
import shutil
import sys
import tempfile
from pathlib import Path

from make_reference import command_pages, python_page
from packaging.version import Version
from sphinx.application import Sphinx

from vqcodec import __version__

REPOSITORY = Path(__file__).resolve().parents[1]
CONTENTS = {
    "Use": [
        "docs/usage",
        "docs/api",
        "docs/integrations",
        "reference/commands",
        "reference/python",
        "models/README",
        "docs/cluster",
        "docs/reliability",
    ],
    "Results": ["docs/results", "docs/blind", "docs/previews", "docs/tokens", "docs/mnist"],
    "Understand": ["docs/architecture", "docs/background", "docs/training", "docs/experiments/README"],
    "Project": ["CHANGELOG", "CONTRIBUTING", "SECURITY", "experiments/README", "packaging/README"],
}
"""Pages in the order of the menu. Pages that are not named here follow as "More"."""
_LINK = re.compile(r"\]\(([^)#\s]+)")


def pages() -> list[Path]:
    """All pages, relative to the repository."""
    found = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    found += [REPOSITORY / name / "README.md" for name in ("models", "experiments", "packaging")]
    return [page.relative_to(REPOSITORY) for page in found]


def copy_with_targets(page: Path, folder: Path) -> None:
    """Copy a page and the files that it shows or links to, at their places."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    targets = [(REPOSITORY / page.parent / target).resolve() for target in _LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    for source in [REPOSITORY / page, *targets]:
        if source.is_file() and source.is_relative_to(REPOSITORY):
            target = folder / source.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def menu(names: list[str]) -> str:
    """The tables of contents for the end of the first page, which does not show them."""
    listed = [name for part in CONTENTS.values() for name in part]
    entries = [name for name in names if name.startswith("docs/experiments/2")]
    more = [name for name in names if name not in listed and name not in entries and name != "README"]
    parts = {caption: [name for name in part if name in names] for caption, part in CONTENTS.items()} | {"More": more}
    return "\n\n" + "\n\n".join(contents(part, caption) for caption, part in parts.items() if part) + "\n"


def contents(names: list[str], caption: str) -> str:
    """A table of contents that only the menu shows."""
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"])


def build(output: Path) -> None:
    """Build the pages of this version. Exits with 1 after a warning, as for a link that leads nowhere."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        for page in pages():
            copy_with_targets(page, source)
        (source / "reference").mkdir()
        (source / "reference" / "commands.md").write_text(command_pages(), encoding="utf-8")
        (source / "reference" / "python.md").write_text(python_page(), encoding="utf-8")
        names = sorted(page.relative_to(source).with_suffix("").as_posix() for page in source.rglob("*.md"))
        with (source / "README.md").open("a", encoding="utf-8") as first:
            first.write(menu(names))
        index = source / "docs" / "experiments" / "README.md"
        entries = [name.rpartition("/")[2] for name in names if name.startswith("docs/experiments/2")]
        with index.open("a", encoding="utf-8") as text:
            text.write("\n\n" + contents(entries, "Experiments") + "\n")
        settings = {
            "project": "vqcodec",
            "release": __version__,
            "version": __version__,
            "root_doc": "README",
            "extensions": ["myst_parser"],
            "myst_heading_anchors": 3,
            "html_theme": "furo",
            "html_title": f"vqcodec {__version__}",
            "smartquotes": False,
            "html_copy_source": False,
            "html_show_sphinx": False,
        }
        folder = output / __version__
        trees = Path(temporary) / "trees"
        sphinx = Sphinx(
            source, None, folder, trees, "html", confoverrides=settings, status=None, freshenv=True, warningiserror=True
        )
        sphinx.build()
        if sphinx.statuscode:
            sys.exit(sphinx.statuscode)
        shutil.copyfile(folder / "README.html", folder / "index.html")
    (output / "index.html").write_text(version_list(output), encoding="utf-8")


def version_list(output: Path) -> str:
    """The page that lists the versions in the folder, the newest first."""
    versions = sorted((page.parent.name for page in output.glob("*/README.html")), key=Version, reverse=True)
    links = "".join(f"<li><a href='{html.escape(name)}/index.html'>{html.escape(name)}</a></li>" for name in versions)
    return f"<!doctype html><html lang='en'><meta charset='utf-8'><title>vqcodec</title><h1>vqcodec</h1><ul>{links}</ul></html>\n"


if __name__ == "__main__":
    build(Path(sys.argv[1]))
