"""The command that takes noise out of pictures."""

from typing import Annotated

import typer

from vqcodec.cli.options import Force, Input, Json, MaxPixels, Output, Quiet, Threads, sigma_of
from vqcodec.cli.printing import progress_line
from vqcodec.cli.single import check_json, check_picture, tell_of_one
from vqcodec.format.header import MAX_PIXELS
from vqcodec.runtime.blas import begin_with_one_thread


def denoise(
    source: Input,
    output: Output,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="M", help="Use this denoiser, a name or a folder. [default: photo-denoise]", show_default=False
        ),
    ] = None,
    sigma: Annotated[
        str, typer.Option("--sigma", metavar="S|auto", help="Take the noise to have this standard deviation, in grey levels.")
    ] = "auto",
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take white Gaussian noise out of a picture.

    The picture has 8 bits a sample and is in any format that encode reads; the output is in one that decode writes.
    """
    check_json(as_json, output)
    check_picture("denoise", output)
    begin_with_one_thread()
    level = sigma_of(sigma)
    from vqcodec.io.convert import denoise_file

    with progress_line(quiet=quiet):
        done = denoise_file(source, output, model, level, threads=threads, max_pixels=max_pixels, overwrite=force)
    tell_of_one(source, output, done, {"denoise_s": done.seconds}, as_json=as_json, quiet=quiet)
