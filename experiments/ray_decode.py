"""Decode a folder of .vqz files on a Ray cluster: python experiments/ray_decode.py FOLDER OUTPUT [--decoders N] [--gpu]

One decoder lives on each GPU (or, without --gpu, on each of N cores) and keeps its model; folders are on a file system that all
machines share. Prints what was skipped and what failed, and ends with 1 if anything failed. Needs vqcodec[ray], with --gpu
vqcodec[neural], too.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import ray

from vqcodec.io.batch import convert
from vqcodec.io.convert import DecodeOptions
from vqcodec.io.jobs import Job, find_jobs, why_not_decoded


class Decoder:
    """An actor: models that it has read stay in memory."""

    def __init__(self, options: DecodeOptions) -> None:
        self.options = options

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        rows = zip(batch["source"], batch["output"], batch["depth"], strict=True)
        jobs = [Job(Path(source), Path(output), depth=int(depth)) for source, output, depth in rows]
        found = [convert(job, self.options, overwrite=False) for job in jobs]
        return {"source": [outcome.source for outcome in found], "error": [outcome.error for outcome in found]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--decoders", type=int, default=1)
    parser.add_argument("--gpu", action="store_true")
    given = parser.parse_args()
    tree = find_jobs(given.folder.absolute(), given.output.absolute(), ".png", why_not_decoded)
    items = [{"source": os.fspath(job.source), "output": os.fspath(job.output), "depth": job.depth} for job in tree.jobs]
    outcomes = ray.data.from_items(items).map_batches(
        Decoder,
        fn_constructor_args=(DecodeOptions(device="cuda" if given.gpu else "cpu", threads=1),),
        batch_size=8,
        concurrency=given.decoders,
        num_gpus=1 if given.gpu else 0,
    )
    for skipped in tree.skipped:
        print(f"skipped: {skipped.source}: {skipped.reason}", file=sys.stderr)
    failed = [row for row in outcomes.iter_rows() if row["error"]]
    for row in failed:
        print(f"{row['source']}: {row['error']}", file=sys.stderr)
    print(f"{len(tree.jobs) - len(failed)} decoded, {len(failed)} failed")
    sys.exit(bool(failed))
