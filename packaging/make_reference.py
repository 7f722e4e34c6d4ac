"""Reference pages in Markdown, generated from the program: all commands with all options, and the Python interface.

Command: `python packaging/make_reference.py FOLDER` writes commands.md and python.md there.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from make_man import ENVIRONMENT, EXIT_CODES, default_of

import vqcodec
from vqcodec import errors
from vqcodec.cli.main import COMMANDS, app_with


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


def code(text: str) -> str:
    """Text as code in a cell of a table."""
    return "`" + text.replace("|", "\\|") + "`"


def parameters_of(command: Any, kind: str) -> Iterator[tuple[str, str, str]]:
    """The visible parameters of a command of a kind, "argument" or "option": the section of the help, name and text."""
    for parameter in command.params:
        if parameter.param_type_name == kind and not getattr(parameter, "hidden", False):
            if kind == "argument":
                name = parameter.metavar or parameter.name.upper()
            else:
                value = "" if parameter.is_flag else f" {parameter.metavar or parameter.type.name}"
                name = ", ".join(parameter.opts) + value
            yield getattr(parameter, "rich_help_panel", None) or "Options", name, (parameter.help or "") + default_of(parameter)


def table(head: str, rows: list[tuple[str, str]]) -> list[str]:
    """Lines of a table with two columns."""
    return [f"| {head} | |", "|---|---|", *(f"| {code(name)} | {cell(text)} |" for name, text in rows), ""]


def command_pages() -> str:
    """The page of all commands."""
    group = typer.main.get_command(app_with(COMMANDS))
    lines = [f"# Commands of vqcodec {vqcodec.__version__}", "", cell(group.help or ""), "", cell(group.epilog or ""), ""]
    lines += table("for all commands", [(name, text) for _, name, text in parameters_of(group, "option")])
    for name, command in group.commands.items():
        arguments = [(argument, text) for _, argument, text in parameters_of(command, "argument")]
        usage = " ".join(["vqcodec", name, "[OPTIONS]", *(argument for argument, _ in arguments)])
        lines += [f"## {name}", "", "```text", usage, "```", ""]
        lines += [cell(part) + "\n" for part in inspect.cleandoc(command.help or "").split("\n\n")]
        if arguments:
            lines += table("argument", arguments)
        sections: dict[str, list[tuple[str, str]]] = {}
        for section, option, text in parameters_of(command, "option"):
            sections.setdefault(section, []).append((option, text))
        for section, rows in sections.items():
            lines += table("option" if section == "Options" else section.lower(), rows)
    lines += ["## Exit codes", "", *table("code", [(str(number), meaning) for number, meaning in EXIT_CODES.items()])]
    lines += ["## Environment", "", *table("variable", list(ENVIRONMENT.items()))]
    return "\n".join(lines)


def signature(name: str, function: Any) -> str:
    """The signature of a function as written in its source, one parameter a line."""
    lines, named_only = [f"{name}("], False
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not named_only:
            lines.append("    *,")
            named_only = True
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        lines.append(f"    {stars}{parameter.name}{written(': ', parameter.annotation)}{default},")
    return "\n".join([*lines, ")" + written(" -> ", inspect.signature(function).return_annotation)])


def written(sign: str, annotation: Any) -> str:
    """An annotation behind its sign; empty if there is none."""
    return "" if annotation is inspect.Signature.empty else f"{sign}{annotation}"


def entry(name: str, value: Any) -> list[str]:
    """A function or class of the Python interface with its signature and its docstring, which is Markdown."""
    lines = [f"## {name}", ""]
    if inspect.isfunction(value):
        lines += ["```python", signature(name, value), "```", ""]
    lines += [inspect.getdoc(value) or "", ""]
    for method, function in inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else []:
        if not method.startswith("_") and function.__module__.startswith("vqcodec"):
            lines += [f"### {name}.{method}", "", "```python", signature(method, function), "```", ""]
            lines += [inspect.getdoc(function) or "", ""]
    return lines


def python_page() -> str:
    """The page of the Python interface: the functions of `vqcodec`, and the errors."""
    lines = ["# Python interface", ""]
    for name in sorted(name for name in dir(vqcodec) if not name.startswith("_")):
        value = getattr(vqcodec, name)
        if callable(value) and value.__module__.startswith("vqcodec"):
            lines += entry(name, value)
    lines += ["## Errors", "", "```text", *inspect.cleandoc(errors.__doc__ or "").splitlines(), "```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "commands.md").write_text(command_pages(), encoding="utf-8")
    (folder / "python.md").write_text(python_page(), encoding="utf-8")
