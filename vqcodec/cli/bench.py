"""The command `bench`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vqcodec.cli.options import Force, Quiet, not_a_picture, path_argument, path_option
from vqcodec.cli.printing import console, progress_line, tell
from vqcodec.errors import InputError
from vqcodec.io.files import STREAM


def bench(
    paths: Annotated[list[Path], path_argument(metavar="PATH...", help="Pictures, or folders of them.")],
    codecs: Annotated[
        str,
        typer.Option(
            "--codecs",
            metavar="A,B",
            help="Compare these codecs: vqz, jpeg, webp, avif, jxl. vqz:MODEL:EFFORT:TUNE is vqz with other settings,"
            " avif:SPEED:444:psnr is AVIF with another speed (6), full chroma and libaom's tune=psnr (each part may be left out),"
            " jxl:EFFORT is JPEG XL with another effort (7). vqz:lossless:EFFORT, png, webp:lossless and jxl:lossless are"
            " lossless.",
        ),
    ] = "vqz,jpeg,webp,avif",
    qualities: Annotated[
        str | None,
        typer.Option(
            "--qualities",
            metavar="LIST",
            help="Qualities: 10,50,90 for all codecs, or jpeg=10,50;vqz=20,60 for some. [default: each codec's own sweep]",
            show_default=False,
        ),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor",
            metavar="CODEC",
            help="Compute BD-rates against this codec. [default: jpeg, or the first codec if jpeg is not compared]",
            show_default=False,
        ),
    ] = None,
    json_path: Annotated[
        Path | None,
        path_option(
            "--json", callback=not_a_picture, metavar="FILE", help="Write the results as one JSON object; - is standard output."
        ),
    ] = None,
    report_dir: Annotated[
        Path | None,
        path_option(
            "-o", "--output", callback=not_a_picture, metavar="DIR", help="Write a report: JSON, tables, a plot, a page with crops."
        ),
    ] = None,
    earlier: Annotated[
        Path | None,
        path_option(
            "--with",
            metavar="FILE",
            help="Also show the codecs in FILE, the JSON of an earlier run on the same pictures, that do not run again.",
        ),
    ] = None,
    psnr_only: Annotated[bool, typer.Option("--psnr-only", help="Measure PSNR only.")] = False,
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            metavar="A,B",
            help="Run every vqz with each of these decoders: none, best, gan. [default: the model's best]",
            show_default=False,
        ),
    ] = None,
    perceptual: Annotated[
        Path | None,
        path_option("--perceptual", metavar="DIR", help="Also measure LPIPS, with the weights in this folder."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Number of threads of each codec.")] = 1,
    jobs: Annotated[
        int,
        typer.Option("-j", "--jobs", min=1, metavar="N", help="Process N pictures in parallel, which slows each one down."),
    ] = 1,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Use only the first N pictures. [default: all]", show_default=False),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compare rate, distortion and speed of codecs on the same pictures.

    Needs vqcodec[bench]. Tables are printed on standard output, or on standard error if the JSON is written to standard output.
    """
    from vqcodec.bench.codecs import with_decoders
    from vqcodec.bench.report import print_results
    from vqcodec.bench.run import BenchSettings, parse_qualities, run_bench
    from vqcodec.codec import ssimulacra2

    settings = BenchSettings(
        paths=tuple(paths),
        codecs=tuple(with_decoders(codecs.split(","), refine.split(",")) if refine else codecs.split(",")),
        qualities=parse_qualities(qualities) if qualities else {},
        anchor=anchor,
        json_path=json_path,
        report_dir=report_dir,
        earlier_path=earlier,
        psnr_only=psnr_only,
        lpips_weights=perceptual,
        threads=threads,
        jobs=jobs,
        limit=limit,
        overwrite=force,
        command=shlex.join(["vqcodec", *sys.argv[1:]]),
    )
    json_on_stdout = json_path == STREAM
    with progress_line(quiet=quiet) as clear:

        def tell_line(line: str) -> None:
            if not quiet:
                clear()
                tell(line)

        results = run_bench(settings, tell=tell_line)
    if not (psnr_only or quiet or ssimulacra2.is_installed()):
        tell("note: SSIMULACRA2 is left out: pip install 'vqcodec[metrics]'")
    print_results(results, console(stderr=json_on_stdout, quiet=json_on_stdout and quiet))
    raise typer.Exit(0 if results.rows else InputError.exit_code)
