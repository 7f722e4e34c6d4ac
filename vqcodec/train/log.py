"""Logs of a training: JSON lines, TensorBoard curves, and PNG sheets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vqcodec.arrays import UInt8
from vqcodec.errors import MissingExtraError
from vqcodec.io.files import output_errors
from vqcodec.io.image_writer import write_image


class TrainingLog:
    """Writes to the file `lines` (appended to), the TensorBoard folder `board` and the PNG folder `sheets`, each unless None."""

    def __init__(self, lines: Path | None, board: Path | None, sheets: Path | None = None) -> None:
        """Raises MissingExtraError if TensorBoard is needed and not installed, OutputError if a path cannot be written."""
        self._lines, self._sheets = lines, sheets
        self._writer: Any = None
        if lines is not None:
            with output_errors(lines):
                lines.open("ab").close()
        for folder in (sheets, board):
            if folder is not None:
                with output_errors(folder):
                    folder.mkdir(parents=True, exist_ok=True)
        if board is not None:
            try:
                from torch.utils.tensorboard.writer import SummaryWriter
            except ImportError as error:
                raise MissingExtraError("--tensorboard needs it: pip install 'vqcodec[train]'") from error
            self._writer = SummaryWriter(str(board))

    def facts(self, part: str, facts: Mapping[str, float]) -> None:
        """Log the figures of a part after facts["step"] steps."""
        self._write({"part": part, **facts})
        if self._writer is not None:
            for name, value in facts.items():
                if name != "step":
                    self._writer.add_scalar(f"{part}/{name}", value, int(facts["step"]))

    def entry(self, part: str, facts: Mapping[str, Any]) -> None:
        """Log other facts of a part, such as the plan, as a JSON line."""
        self._write({"part": part, **facts})

    def codebooks(self, report: Sequence[Mapping[str, Any]]) -> None:
        """Log the codewords in use and the perplexity (2 to the entropy) of every codebook."""
        for number, book in enumerate(report):
            found = {"used": book["used"], "perplexity": round(2 ** book["entropy_bits"], 3)}
            self._write({"part": "codebooks", "set": book["set"], "dim": book["dim"], "class": book["class"], **found})
            if self._writer is not None:
                for name, value in found.items():
                    self._writer.add_scalar(f"codebooks/{name}", value, number)

    def picture(self, name: str, number: int, pixels: UInt8) -> None:
        """Log a picture uint8 [H, W, 3] after `number` steps of the optimiser."""
        if self._writer is not None:
            self._writer.add_image(name, pixels, number, dataformats="HWC")
        if self._sheets is not None:
            path = self._sheets / f"{number:06d}.png"
            with output_errors(path), path.open("wb") as file:
                write_image(pixels, file, format="PNG")

    def close(self) -> None:
        """Flush everything to disk."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._lines is not None:
            with output_errors(self._lines), self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
