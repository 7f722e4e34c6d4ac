"""The command that removes noise from pictures."""

from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import Force, Input, Json, MaxPixels, Output, Quiet, Threads, sigma_of
from vqcodec.cli.printing import progress_line
from vqcodec.cli.single import check_json, check_picture_name, report_file
from vqcodec.runtime.blas import begin_with_one_thread


def denoise(
    source: Input,
    output: Output,
    model: Annotated[
        str | None,
        typer.Option(
            "-m",
            "--model",
            metavar="M",
            help="Use this denoiser, by name or folder. [default: photo-denoise]",
            show_default=False,
        ),
    ] = None,
    sigma: Annotated[
        str,
        typer.Option("--sigma", metavar="S|auto", help="Estimate the noise, or assume this standard deviation in grey levels."),
    ] = "auto",
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove white Gaussian noise from a picture.

    Reads pictures of 8 bits per sample in the formats of encode, and writes those of decode.
    """
    check_json(as_json, output)
    check_picture_name("denoise", output)
    begin_with_one_thread()
    level = sigma_of(sigma)
    from vqcodec.io.restore import Denoising

    with progress_line(quiet=quiet):
        denoising = Denoising(model=model, sigma=level, threads=threads, max_pixels=max_pixels)
        done = denoising.convert(source, output, overwrite=force)
    report_file(source, output, done, {"denoise_s": done.seconds}, as_json=as_json, quiet=quiet)
