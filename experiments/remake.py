"""Trains a model of this repository anew, by the recipe in its folder.

Command: `python experiments/remake.py models/photo/recipe.toml ../shared/data/photos out/remake`

The steps of the recipe run in the folder out/remake, one after the other; `photos` in their commands is the folder of pictures. If
it stops, the same command goes on with the first step that is not done. `--share 0.01` rehearses all steps in a hundredth of their
minutes.
"""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

_DONE: Final = "done.txt"
"""Commands of the steps that are done, one a line, in the folder of the models."""


def read_commands(recipe: Path) -> list[str]:
    """Commands of the recipe's steps, in order."""
    return [step["command"] for step in tomllib.loads(recipe.read_text())["step"]]


def shortened(command: str, share: float) -> str:
    """The command with a share of its minutes."""
    return re.sub(r"(?<=--minutes )\S+", lambda minutes: f"{share * float(minutes[0]):g}", command)


def remake(recipe: Path, pictures: Path, folder: Path, share: float = 1.0) -> None:
    """Run the steps that are not done yet. Raises SystemExit if one fails."""
    folder.mkdir(parents=True, exist_ok=True)
    link, done = folder / "photos", folder / _DONE
    if not link.is_symlink():
        link.symlink_to(pictures.resolve())
    commands = [shortened(command, share) for command in read_commands(recipe)]
    finished = done.read_text().splitlines() if done.exists() else []
    for number, command in enumerate(commands, 1):
        print(f"step {number} of {len(commands)}: {command}", "(done)" if number <= len(finished) else "", flush=True)
        if number <= len(finished):
            if finished[number - 1] != command:
                raise SystemExit(f"{folder}: step {number} was another, {finished[number - 1]!r}; start in an empty folder")
            continue
        program, *arguments = shlex.split(command)
        if subprocess.run([sys.executable, "-m", program, *arguments], cwd=folder, check=False).returncode:
            raise SystemExit(f"step {number} failed; the same command goes on from there")
        with done.open("a") as stream:
            stream.write(f"{command}\n")


def main() -> None:
    """Train the models of a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("photos", type=Path, help="folder of pictures or archives of pictures")
    parser.add_argument("folder", type=Path, help="folder of the models, made if it is missing")
    parser.add_argument("--share", type=float, default=1.0, help="factor on the minutes of every step")
    arguments = parser.parse_args()
    remake(arguments.recipe, arguments.photos, arguments.folder, arguments.share)


if __name__ == "__main__":
    main()
