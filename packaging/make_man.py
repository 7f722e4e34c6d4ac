"""Generates the man page from the program's commands and options.

Command: `python packaging/make_man.py > vqcodec.1`
"""

import sys
from typing import Any

import typer.main

from vqcodec import __version__
from vqcodec.cli.main import COMMANDS, app_with

EXIT_CODES = {
    0: "done",
    1: "internal error, or a process died",
    2: "usage, or a package is missing",
    3: "corrupt, unsupported or unreadable input",
    4: "model missing, damaged or mismatched",
    5: "output refused or unwritable",
    6: "limit or memory exceeded",
    130: "interrupted by SIGINT (143: by SIGTERM, 129: by SIGHUP)",
    141: "ended by SIGPIPE: the reader of standard output closed it",
}
ENVIRONMENT = {
    "VQCODEC_MODELS": "Folders of models, separated by colons, that are searched first.",
    "XDG_DATA_HOME": "Base of the folder vqcodec/models, which is searched next; default ~/.local/share.",
}


def escaped(text: str) -> str:
    """Escape text for roff: backslashes, hyphens, and request characters at the start of a line."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def default_of(parameter: Any) -> str:
    """Default value in the format of --help; empty if it is not shown."""
    shown = parameter.show_default and parameter.default not in (None, False)
    return f" [default: {parameter.default}]" if shown else ""


def options_of(command: Any) -> list[str]:
    """Lines of roff for all visible options of a command."""
    lines: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False):
            names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in parameter.opts)
            value = "" if parameter.is_flag else f" \\fI{escaped(parameter.metavar or parameter.type.name)}\\fR"
            lines += [".TP", names + value, escaped((parameter.help or "") + default_of(parameter))]
    return lines


def man_page() -> str:
    """The whole man page as roff."""
    group = typer.main.get_command(app_with(COMMANDS))
    lines = [f'.TH VQCODEC 1 "" "vqcodec {__version__}"', ".SH NAME", escaped(f"vqcodec - {group.help}")]
    lines += [".SH SYNOPSIS", r"\fBvqcodec\fR \fICOMMAND\fR [\fIOPTIONS\fR] ..."]
    lines += [".SH DESCRIPTION", escaped(group.epilog or ""), *options_of(group)]
    for name, command in group.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        places = " ".join(f"\\fI{escaped(p.metavar or p.name.upper())}\\fR" for p in arguments)
        lines += [".SH " + name.upper(), f"\\fBvqcodec {name}\\fR [\\fIOPTIONS\\fR] {places}", ".PP", escaped(command.help or "")]
        for argument in arguments:
            lines += [".TP", f"\\fI{escaped(argument.metavar or argument.name.upper())}\\fR", escaped(argument.help or "")]
        lines += options_of(command)
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", f"\\fB{code}\\fR", meaning]
    lines += [".SH ENVIRONMENT"]
    for name, meaning in ENVIRONMENT.items():
        lines += [".TP", f"\\fB{name}\\fR", escaped(meaning)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(man_page())
