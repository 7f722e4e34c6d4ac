"""The command that compares two pictures."""

from pathlib import Path
from typing import Annotated

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import Force, Json, MaxPixels, ModelOfFiles, Quiet, UsageError, path_argument, path_option
from vqcodec.cli.printing import print_json, progress_line, tell
from vqcodec.cli.single import check_not_stdout
from vqcodec.errors import InputError
from vqcodec.io.files import STREAM, Attributes, attributes_of, check_output, name_of, write_atomic


def compare(
    first: Annotated[Path, path_argument(metavar="A", help="Read this picture or .vqz file; - is standard input.")],
    second: Annotated[Path, path_argument(metavar="B", help="Read this picture of the same size, too.")],
    output: Annotated[
        Path | None,
        path_option(
            "-o", "--output", metavar="FILE", help="Write the difference as a picture, amplified 8 times around middle grey."
        ),
    ] = None,
    model: ModelOfFiles = None,
    force: Force = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two pictures by PSNR, SSIM and MS-SSIM.

    Needs vqcodec[bench]. Pictures with transparency are compared on black and on white, and the larger difference counts; the PSNR
    of the alpha planes is shown, too. Grey and colour pictures are compared as colour, 8 and 16 bits as 16. The PSNR of equal
    pictures is infinite: "identical", and null in JSON.
    """
    import io
    import math

    from vqcodec.bench.compare import compare as compared
    from vqcodec.bench.compare import read_any, undefined
    from vqcodec.io.image_writer import format_of, write_image

    if first == second == STREAM:
        raise UsageError("standard input holds one picture: name a file for the other")
    picture_format = "" if output is None else format_of(output)
    if output is not None:
        check_not_stdout(output)
        for source in (first, second):
            check_output(output, overwrite=force, source=source)
    with progress_line(quiet=quiet):
        pictures = [read_any(path, max_pixels, model) for path in (first, second)]
        (height, width), (rows, columns) = (pixels.shape[:2] for pixels in pictures)
        if (height, width) != (rows, columns):
            sizes = f"{name_of(first)} has {width} x {height} pixels and {name_of(second)} {columns} x {rows}"
            raise InputError(f"{sizes}: only pictures of equal size can be compared")
        facts, difference = compared(*pictures)
    if output is not None:
        stream = io.BytesIO()
        write_image(difference, stream, format=picture_format)
        first_mode, second_mode = (attributes_of(source, keep_times=False).mode for source in (first, second))
        write_atomic(output, stream.getvalue(), overwrite=force, attributes=Attributes(first_mode & second_mode))
    if as_json:
        print_json(
            **{name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()}
        )
    else:
        for name, value in facts.items():
            if isinstance(value, str):
                print(f"{name:<20} {value}")
            elif not math.isnan(value):
                shown = "identical" if math.isinf(value) else format(value, "d" if isinstance(value, int) else ".6g")
                print(f"{name.replace('_', ' '):<20} {shown}")
    if not quiet:
        for note in undefined(difference.shape):
            tell(f"note: {note}")
