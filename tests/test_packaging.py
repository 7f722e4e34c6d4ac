"""The files in packaging/ agree with the program."""

import json
import re
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image
from typer.main import get_command

import vqcodec
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import program_environment
from vqcodec.cli.main import COMMANDS, app_with
from vqcodec.format import container
from vqcodec.weights import registry

PACKAGING = REPOSITORY / "packaging"


@pytest.fixture(scope="module")
def man_page() -> str:
    return subprocess.run(
        [sys.executable, PACKAGING / "make_man.py"], capture_output=True, text=True, check=True, env=program_environment()
    ).stdout


def sections(page: str) -> dict[str, str]:
    """The sections of a man page: text by title."""
    return dict(section.split("\n", 1) for section in page.split("\n.SH ")[1:])


def test_the_man_page_has_every_command_argument_and_option(man_page: str) -> None:
    """Every option of every command is listed, so that a new one cannot be forgotten; the description has the common ones."""
    program, found = get_command(app_with(COMMANDS)), sections(man_page)
    assert {"encode", "decode", "info", "train"} < set(program.commands)
    commands = {"DESCRIPTION": program} | {name.upper(): command for name, command in program.commands.items()}
    assert set(found) == {"NAME", "SYNOPSIS", *commands, "EXIT STATUS", "ENVIRONMENT"}
    for title, command in commands.items():
        entries = [entry.split("\n") for entry in found[title].split("\n.TP\n")[1:]]
        reported = {line.split(" \\fI")[0]: text for line, text, *_ in entries}
        for parameter in command.params:
            if parameter.param_type_name == "option":
                name = ", ".join(f"\\fB{option}\\fR" for option in parameter.opts)
            else:
                name = f"\\fI{parameter.metavar or parameter.name.upper()}\\fR"
            assert parameter.hidden or reported.pop(name.replace("-", "\\-")).strip(), f"{title}: {parameter.name}"
        assert not reported


def test_the_reference_has_every_command_option_and_function(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PACKAGING / "make_reference.py", tmp_path], check=True, env=program_environment())
    commands = dict(part.split("\n", 1) for part in (tmp_path / "commands.md").read_text().split("\n## ")[1:])
    program = get_command(app_with(COMMANDS))
    assert set(commands) == {*program.commands, "Exit codes", "Environment"}
    for name, command in program.commands.items():
        for parameter in command.params:
            shown = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.metavar
            assert parameter.hidden or re.search(rf"^\| `{re.escape(shown)}[ `]", commands[name], re.MULTILINE), f"{name}: {shown}"
    functions = (tmp_path / "python.md").read_text()
    for name in ("encode", "decode", "open_vqz", "VqzFile", "VqzFile.read", "Errors"):
        assert re.search(rf"^##+ {name}$", functions, re.MULTILINE), name
    assert "    quality: " in functions


def test_the_citation_has_the_version() -> None:
    assert f"\nversion: {vqcodec.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()


def test_the_man_page_has_defaults_and_common_options(man_page: str) -> None:
    assert "Encode at this quality. [default: 60]" in man_page
    assert "in grey levels. [default: auto]" in man_page
    for word in ("\\-\\-version", "\\-\\-show\\-completion", "VQCODEC_MODELS"):
        assert f"\\fB{word}\\fR" in man_page


@pytest.mark.parametrize("shape", fast_first([((60, 40),), ((300, 500, 3),), ((200, 100, 4),)]))
def test_thumbnails_are_as_large_as_asked_and_png_by_any_name(shape: tuple[int, ...], tmp_path: Path) -> None:
    picture = smooth_picture(*shape[:2], shape[2] if len(shape) == 3 else 1)
    (tmp_path / "a.vqz").write_bytes(vqcodec.encode(picture, model="photo-lite"))
    output = tmp_path / ".gnome_desktop_thumbnail.AB12CD"
    output.touch()
    subprocess.run(
        [sys.executable, PACKAGING / "vqcodec-thumbnailer", tmp_path / "a.vqz", output, "128"],
        check=True,
        env=program_environment(),
    )
    with Image.open(output) as image:
        assert image.format == "PNG"
        assert max(image.size) == min(128, max(shape[:2]))
        assert image.mode == {2: "L", 3: "RGB", 4: "RGBA"}[shape[2] if len(shape) == 3 else 2]
    entry = (PACKAGING / "vqcodec.thumbnailer").read_text()
    assert "\nExec=vqcodec-thumbnailer %i %o %s\n" in entry


def test_desktop_files_have_the_magic_number_and_type() -> None:
    namespace = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = ElementTree.parse(PACKAGING / "vqcodec.xml").getroot()
    (match,) = kind.iter(f"{namespace}match")
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == container.MAGIC
    pattern = (PACKAGING / "magic").read_text().splitlines()[1].split("\t")[2]
    assert pattern.encode().decode("unicode_escape").encode("latin-1") == container.MAGIC
    for name in ("magic", "vqcodec.thumbnailer"):
        assert kind.get("type") in (PACKAGING / name).read_text()


def test_the_lowest_versions_that_are_tested_are_those_that_are_declared() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    declared = [
        *project["project"]["dependencies"],
        *extras["bench"],
        *extras["jxl"],
        *extras["zarr"],
        *project["dependency-groups"]["test"],
    ]
    lines = (REPOSITORY / "constraints-lowest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    for requirement in map(Requirement, declared):
        (lowest,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
        assert Version(tested[requirement.name]) == Version(lowest), requirement.name


def included(project: Path) -> set[str]:
    """The files and folders of models that a project's wheel holds."""
    build = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    return {Path(source).name for source in build["force-include"]}


def test_every_model_is_in_one_wheel_and_in_the_table_of_models() -> None:
    base, extra = included(REPOSITORY) - {"README.md"}, included(PACKAGING / "models-extra")
    assert sorted([*base, *extra]) == sorted(path.name for path in (REPOSITORY / "models").iterdir() if path.is_dir())
    ids = {name: json.loads((REPOSITORY / "models" / name / "model.json").read_text())["id"] for name in extra}
    assert {name: model_id[: 2 * container.ID_BYTES] for name, model_id in ids.items()} == registry.EXTRA_MODELS
    for text, names in (((REPOSITORY / "models" / "README.md"), base | extra), (PACKAGING / "models-extra" / "README.md", extra)):
        assert [name for name in names if f"`{name}`" not in text.read_text()] == []


def test_the_two_wheels_have_one_version() -> None:
    projects = [tomllib.loads((path / "pyproject.toml").read_text()) for path in (REPOSITORY, PACKAGING / "models-extra")]
    assert [project["project"]["version"] for project in projects] == [vqcodec.__version__] * 2


def test_the_models_of_the_wheel_stay_small() -> None:
    """Compressed they are the wheel but for half a megabyte; its limit is 12 MB."""
    names = included(REPOSITORY) - {"README.md"}
    assert sum(len(zlib.compress((REPOSITORY / "models" / n / "model.safetensors").read_bytes())) for n in names) < 11_400_000


def test_all_is_every_extra() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (every,) = map(Requirement, extras.pop("all"))
    assert (every.name, every.extras) == ("vqcodec", set(extras))


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(vqcodec.__file__).parent / "py.typed").is_file()
