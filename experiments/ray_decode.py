"""Decodes a folder of .vqz files on a Ray cluster, for docs/cluster.md.

Command: `python experiments/ray_decode.py FOLDER OUTPUT --decoders 8 --gpu`

Each decoder is an actor on one GPU (without --gpu, on one core) and keeps its model in memory; all machines share the file system.
Prints skipped and failed files and exits with 1 if any failed. Needs vqcodec[ray]; with --gpu also vqcodec[neural].
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from vqcodec.io.batch import convert
from vqcodec.io.convert import Decoding
from vqcodec.io.jobs import Job, find_jobs, why_not_decoded
from vqcodec.options import DecodeOptions


class Decoder:
    """A Ray actor that decodes batches of files."""

    def __init__(self, conversion: Decoding) -> None:
        self.conversion = conversion

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Decode the files of a batch with columns source, output and depth. Returns each source and its error, "" if none."""
        rows = zip(batch["source"], batch["output"], batch["depth"], strict=True)
        jobs = [Job(Path(source), Path(output), depth=int(depth)) for source, output, depth in rows]
        outcomes = [convert(job, self.conversion, overwrite=False) for job in jobs]
        return {"source": [outcome.source for outcome in outcomes], "error": [outcome.error for outcome in outcomes]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of .vqz files")
    parser.add_argument("output", type=Path, help="folder for the PNG pictures")
    parser.add_argument("--decoders", type=int, default=1, help="number of decoders (default 1)")
    parser.add_argument("--gpu", action="store_true", help="run each decoder on a GPU")
    arguments = parser.parse_args()
    import ray  # after --help, which works without it

    tree = find_jobs(arguments.folder.absolute(), arguments.output.absolute(), ".png", why_not_decoded)
    items = [{"source": os.fspath(job.source), "output": os.fspath(job.output), "depth": job.depth} for job in tree.jobs]
    outcomes = ray.data.from_items(items).map_batches(
        Decoder,
        fn_constructor_args=(Decoding(options=DecodeOptions(device="cuda" if arguments.gpu else "cpu", threads=1)),),
        batch_size=8,
        concurrency=arguments.decoders,
        num_gpus=1 if arguments.gpu else 0,
    )
    for skipped in tree.skipped:
        print(f"skipped: {skipped.source}: {skipped.reason}", file=sys.stderr)
    failed = [row for row in outcomes.iter_rows() if row["error"]]
    for row in failed:
        print(f"{row['source']}: {row['error']}", file=sys.stderr)
    print(f"{len(tree.jobs) - len(failed)} decoded, {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
