"""The command that compares codecs."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vqcodec.errors import InputError
from vqcodec.files import STREAM
from vqcodec.options import Force, path_argument, path_option
from vqcodec.printing import console


def bench(
    paths: Annotated[list[Path], path_argument(metavar="PATH...", help="Pictures, or folders of them.")],
    codecs: Annotated[
        str, typer.Option("--codecs", metavar="A,B", help="Which to compare; vqz:MODEL:EFFORT:TUNE is vqz with these.")
    ] = "vqz,jpeg,webp,avif",
    qualities: Annotated[
        str | None, typer.Option("--qualities", metavar="LIST", help="10,50,90, or per codec: jpeg=10,50;vqz=20,60.")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="CODEC", help="What BD-rates compare with; jpeg if it is there.")
    ] = None,
    json_path: Annotated[
        Path | None, path_option("--json", metavar="FILE", help="Write the results; - for standard output.")
    ] = None,
    report_dir: Annotated[
        Path | None, path_option("-o", "--output", metavar="DIR", help="Write results, tables and a plot.")
    ] = None,
    psnr_only: Annotated[bool, typer.Option("--psnr-only", help="Skip SSIM and MS-SSIM.")] = False,
    refine: Annotated[
        str | None,
        typer.Option("--refine", metavar="A,B", help="none,best,gan: every vqz with each of these decoders.", show_default=False),
    ] = None,
    perceptual: Annotated[
        Path | None,
        path_option("--perceptual", metavar="DIR", help="LPIPS, too, with the weights there."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Threads for each codec.")] = 1,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, metavar="N", help="Pictures at once; speeds are those of a busy machine then.")
    ] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N pictures.")] = None,
    force: Force = False,
) -> None:
    """Compare rate, distortion and speed with other codecs on the same pictures."""
    from vqcodec.bench.codecs import with_decoders
    from vqcodec.bench.run import BenchSettings, parse_qualities, run_bench

    settings = BenchSettings(
        paths=tuple(paths),
        codecs=tuple(with_decoders(codecs.split(","), refine.split(",")) if refine else codecs.split(",")),
        qualities=parse_qualities(qualities) if qualities else {},
        anchor=anchor,
        json_path=json_path,
        report_dir=report_dir,
        psnr_only=psnr_only,
        perceptual=perceptual,
        threads=threads,
        jobs=jobs,
        limit=limit,
        overwrite=force,
        command=shlex.join(["vqcodec", *sys.argv[1:]]),
    )
    results = run_bench(settings, console(stderr=json_path == STREAM))
    raise typer.Exit(0 if results.rows else InputError.exit_code)
