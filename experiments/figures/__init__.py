"""Figures of docs/results.md that `vqcodec bench` does not print, one function per figure, run by ../measure.py.

- `size`: bytes and quality of files
- `kinds`: pictures that are not photographs, at default settings: the samples by several codecs, screens, scans
- `lossless`: size and speed of lossless files
- `bounds`: files larger than PNG, "best" decodes below the plain one
- `control`: rate targets, efforts, `--tune`
- `speed`: time and memory
- `training`: training and adaptation of models
- `decoders`: synthesis, refiner, denoiser
- `common`, `coded`, `programs`: pictures, curves, timing; files by several codecs; vqcodec in its own process

A new figure is a function in the module of its subject, and a name in FIGURES of ../measure.py. It takes the data folder and
prints lines; the first line of its docstring is its title in docs/results.md.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported: speeds in this process are those of one thread
