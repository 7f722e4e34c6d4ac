"""The command that compares two pictures."""

from pathlib import Path
from typing import Annotated

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import Force, Json, MaxPixels, ModelOfFiles, Quiet, UsageError, not_a_stream, path_argument, path_option
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
    page: Annotated[
        Path | None,
        path_option(
            "--html",
            callback=not_a_stream,
            metavar="FILE",
            help="Write one HTML page with both pictures under a divider, zoom, difference and figures.",
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
    from itertools import product

    from vqcodec.bench.compare import compare as compared
    from vqcodec.bench.compare import read_any, spoken, undefined
    from vqcodec.io.image_writer import format_of, write_image

    if first == second == STREAM:
        raise UsageError("standard input holds one picture: name a file for the other")
    picture_format = "" if output is None else format_of(output)
    if output is not None:
        check_not_stdout(output)
    for target, source in product((output, page), (first, second)):
        if target is not None:
            check_output(target, overwrite=force, source=source)
    with progress_line(quiet=quiet):
        sources = [read_any(path, max_pixels, model) for path in (first, second)]
        (height, width), (rows, columns) = (source.pixels.shape[:2] for source in sources)
        if (height, width) != (rows, columns):
            sizes = f"{name_of(first)} has {width} x {height} pixels and {name_of(second)} {columns} x {rows}"
            raise InputError(f"{sizes}: only pictures of equal size can be compared")
        comparison = compared(*(source.pixels for source in sources))
    written = {}
    if output is not None:
        stream = io.BytesIO()
        write_image(comparison.difference, stream, format=picture_format)
        written[output] = stream.getvalue()
    if page is not None:
        from vqcodec.bench.compare_page import Named, to_html

        named = [Named(name_of(Path(path.name)), source.bytes) for path, source in zip((first, second), sources, strict=True)]
        written[page] = to_html(comparison, *named).encode(errors="backslashreplace")
    first_mode, second_mode = (attributes_of(path, keep_times=False).mode for path in (first, second))
    for target, data in written.items():
        write_atomic(target, data, overwrite=force, attributes=Attributes(first_mode & second_mode))
    facts = comparison.figures
    if as_json:
        print_json(
            **{name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()}
        )
    else:
        for name, shown in spoken(facts):
            print(f"{name:<20} {shown}")
    if not quiet:
        for note in undefined(comparison.difference.shape):
            tell(f"note: {note}")
