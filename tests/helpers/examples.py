"""Examples of a Markdown page that run: ```pycon blocks, as doctests.

All blocks of a page share their names and their folder. Numbers count as equal, as they change with models, except in shapes. A
block below a line `<!-- needs: MODULE -->` is left out if the module is not installed.
"""

import doctest
import re
from importlib.util import find_spec

_BLOCK = re.compile(r"(?:<!-- needs: ([\w, ]+) -->\n+)?^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\[(\w.])(?<!, )-?\d[\d,.]*\b(?![\])])")


def examples_of(page: str) -> list[doctest.Example]:
    """The examples of all blocks that can run here."""
    parser, found = doctest.DocTestParser(), []
    for modules, block in _BLOCK.findall(page):
        if all(find_spec(name) for name in re.findall(r"\w+", modules)):
            found += parser.get_examples(block)
    return found


def alike(line: str) -> str:
    """The text with all numbers alike that are not in brackets."""
    return _NUMBER.sub("0", line)


class _Checker(doctest.OutputChecker):
    """Compares output with numbers alike."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(alike(want), alike(got), optionflags)


def run_examples(page: str, name: str) -> doctest.TestResults:
    """Run the examples of a page in the current folder, printing those that fail."""
    test = doctest.DocTest(examples_of(page), {}, name, name, 0, None)
    runner = doctest.DocTestRunner(_Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    return runner.run(test)
