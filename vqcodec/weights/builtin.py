"""The codec's own means: what files without a model are made with. It takes the place of a model where one is asked for."""

from __future__ import annotations

from typing import Final, NamedTuple


class BuiltIn(NamedTuple):
    """No model: files without layers need none."""

    name: str = "none"
    file_id: bytes = b""


BUILT_IN: Final = BuiltIn()
