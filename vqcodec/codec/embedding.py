"""Files that carry their model, so that they decode where it is not installed."""

from __future__ import annotations

from vqcodec.format import container
from vqcodec.format.header import Section
from vqcodec.weights.builtin import BuiltIn
from vqcodec.weights.embedded import write_embedded
from vqcodec.weights.kinds import AnyModel


def with_model(data: bytes, model: AnyModel, max_pixels: int) -> bytes:
    """The .vqz file `data`, made with `model`, with this model in it; unchanged if it names none, or another one."""
    header, sections = container.read_file(data, max_pixels)
    if isinstance(model, BuiltIn) or not model.decodes(header.model_id):
        return data
    return container.write_file(header, [*sections, Section(container.MODEL, write_embedded(model))])
