"""The bench run: every codec at every quality on every image.

Every decode is verified, and the results are written after every image. Read from `run_bench`.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL

import vqcodec
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import BenchUsageError, Codec, open_codec, split_decoder, to_grey
from vqcodec.bench.metrics import Distance, LpipsFunction, measure, measure_errors, open_lpips
from vqcodec.bench.report import to_markdown
from vqcodec.bench.results import BenchResults, CodecInfo, Failure, ImageFile, ImageInfo, Row
from vqcodec.errors import CorruptError, InputError, MissingExtraError, OutputError, VqcodecError, printable
from vqcodec.io.files import STREAM, check_output, write_atomic
from vqcodec.io.image_reader import read_opaque
from vqcodec.io.jobs import why_not_encoded
from vqcodec.io.kinds import is_picture_name
from vqcodec.runtime import progress
from vqcodec.runtime.processes import processes

Clock = Callable[[], float]
"""Time in seconds from any origin."""
CodecOpener = Callable[[str, int | None], Codec]
"""Opens the codec of (spec, threads); raises VqcodecError."""
Metrics = Callable[[UInt8, UInt8], Distance]
"""Distance of a decoded picture from its original, called as (original, decoded)."""

DEFAULT_CODECS = ("vqz", "jpeg", "webp", "avif")
DEFAULT_ANCHOR = "jpeg"
REPORT_JSON, REPORT_MARKDOWN, REPORT_PAGE = "results.json", "results.md", "results.html"
REPORT_PLOT, REPORT_VECTORS, REPORT_CROPS = "rate_distortion.png", "rate_distortion.svg", "crops.png"
_REPORT_FILES = (REPORT_MARKDOWN, REPORT_PAGE, REPORT_PLOT, REPORT_VECTORS, REPORT_CROPS)


@dataclass(frozen=True)
class BenchSettings:
    """Images, codecs and metrics of a run, and the outputs.

    `qualities` maps a codec spec or kind (`vqz:my-model`, `jpeg`) to its sweep; "" stands for every codec that is not named.
    Codecs without an entry run their default sweep. `json_path` may be `-` for standard output.
    """

    paths: tuple[Path, ...]
    codecs: tuple[str, ...] = DEFAULT_CODECS
    qualities: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    anchor: str | None = None  # None: jpeg if it is benched, else the first codec
    json_path: Path | None = None
    report_dir: Path | None = None
    earlier_path: Path | None = None  # JSON of an earlier run on the same images; its codecs that do not run again are shown too
    psnr_only: bool = False
    lpips_weights: Path | None = None  # folder of LPIPS's weights; None: LPIPS is not measured
    threads: int | None = 1  # None: all cores
    jobs: int = 1  # images at once, each in its own process; parallel jobs slow each other down
    limit: int | None = None  # maximum number of images
    overwrite: bool = False
    command: str = ""  # command line, for the report


def parse_qualities(text: str) -> dict[str, tuple[float, ...]]:
    """Parse `10,50,90` (every codec) or `jpeg=10,50;vqz=20,60` (some codecs) to the `qualities` of BenchSettings.

    Raises BenchUsageError for any other text.
    """
    qualities = {}
    for part in text.split(";"):
        codec, _, numbers = part.rpartition("=")
        try:
            sweep = sorted({float(number) for number in numbers.split(",")})
            if not all(map(math.isfinite, sweep)):
                raise ValueError(numbers)
        except ValueError:
            raise BenchUsageError(f"qualities {part!r}: write 10,50,90 or jpeg=10,50;vqz=20,60") from None
        qualities[codec.strip()] = tuple(sweep)
    return qualities


def run_bench(
    settings: BenchSettings,
    *,
    clock: Clock = time.perf_counter,
    opener: CodecOpener | None = None,
    metrics: Metrics | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> BenchResults:
    """Run the bench, write the outputs of the settings, and return the results.

    Each image, codec and quality is a step of a progress stage; `tell` is called with one line for each finished image. `metrics`
    replaces the metrics of the settings (with one job only).
    A codec that is not installed, an image that cannot be read and a codec that fails on an image are recorded in the
    results (`codecs[].missing`, `failures`) and do not stop the run.
    Raises BenchUsageError, InputError (no images), OutputError (a file is in the way), MissingExtraError (matplotlib).
    """
    images = find_images(settings.paths, settings.limit, tell)
    outputs = _json_outputs(settings)
    _check_outputs(settings, outputs, [image.path for image in images])
    metrics = metrics or _metrics(settings)  # reports missing weights or packages before the work starts
    earlier = _earlier(settings.earlier_path, images)
    anchor = _anchor(settings, earlier)
    codecs = _open_codecs(settings, opener or _open_codec)
    kept = [info for info in earlier.codecs if info.name not in {own.name for own in codecs.infos}] if earlier else []
    results = BenchResults(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=settings.command,
        machine=_machine(),
        versions=_versions(),
        threads=settings.threads,
        anchor=codecs.infos[settings.codecs.index(anchor)].name if anchor in settings.codecs else anchor,
        codecs=[*codecs.infos, *kept],
    )
    if earlier:
        results.rows.extend(row for row in earlier.rows if row.codec in {info.name for info in kept})
    _write_json(results, outputs, overwrite=settings.overwrite)  # claims the names before the work starts
    trials = sum(len(info.qualities) for info in codecs.infos)
    if settings.jobs == 1:
        all_results = (_bench_image(image, codecs.opened, metrics, clock) for image in images)
    else:
        all_results = _image_results_in_processes(images, settings, trials)
    with progress.stage("", len(images) * trials), closing(all_results):
        for number, (image, found) in enumerate(zip(images, all_results, strict=True), start=1):
            results.images.extend(found.images)
            results.rows.extend(found.rows)
            results.failures.extend(found.failures)
            _write_json(results, outputs, overwrite=True)
            failed = f", {len(found.failures)} failed" if found.failures else ""
            tell(f"{number} of {len(images)} images: {printable(image.name)}{failed}")
    _write_report(results, settings, images, codecs.opened)
    return results


def find_images(
    paths: Sequence[Path], limit: int | None = None, tell: Callable[[str], None] = lambda line: None
) -> list[ImageFile]:
    """List every image file among `paths` or below a folder among them, in a fixed order, each file once.

    A file given by name may have any suffix. An image's name is its path below the folder, with that folder's name in front.
    `tell` is called with a line for each unreadable folder, and for each file below a folder that has a picture's suffix and is
    skipped. Raises InputError when a path does not exist or there are no images.
    """
    found: dict[Path, str] = {}

    def cannot_read(error: OSError) -> None:
        tell(f"skipped: {printable(error.filename)}: cannot read the folder: {error.strerror}")

    for root in paths:
        if os.path.isdir(root):
            below = (Path(place, name) for place, _, names in os.walk(root, onerror=cannot_read) for name in names)
            for path in sorted(path for path in below if is_picture_name(path.name)):
                if reason := why_not_encoded(path):
                    tell(f"skipped: {printable(path)}: {reason}")
                else:
                    found.setdefault(path.resolve(), (root.resolve().name / path.relative_to(root)).as_posix())
        elif os.path.lexists(root):
            found.setdefault(root.resolve(), root.name)
        else:
            raise InputError(f"cannot read {printable(root)}: no such file or folder")
    if not found:
        raise InputError(f"no images in {', '.join(printable(path) for path in paths)}")
    return _with_distinct_names(found)[:limit]


def _with_distinct_names(names: Mapping[Path, str]) -> list[ImageFile]:
    """Image files with a number behind every repeated name, since rows are identified by name."""
    counts: dict[str, int] = {}
    images = []
    for path, name in names.items():
        counts[name] = counts.get(name, 0) + 1
        images.append(ImageFile(name if counts[name] == 1 else f"{name} ({counts[name]})", path))
    return images


# ---------------------------------------------------------------------------------------------- one image


@dataclass
class _ImageResult:
    """Results of one image. `images` is empty if it could not be read."""

    images: list[ImageInfo] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def _image_results_in_processes(
    images: Sequence[ImageFile], settings: BenchSettings, trials: int
) -> Generator[_ImageResult, None, None]:
    """Yield the results of every image in order, with `settings.jobs` worker processes and `trials` progress steps per image."""
    with processes(settings.jobs) as pool:
        for found in pool.map(partial(_bench_in_worker, settings), images):
            progress.advance(trials)
            yield found


def _bench_in_worker(settings: BenchSettings, image: ImageFile) -> _ImageResult:
    """`_bench_image` in a worker process, which keeps its codecs and metrics between images."""
    codecs = _codecs_of_worker(settings.codecs, settings.threads, tuple(settings.qualities.items()))
    return _bench_image(image, codecs, _metrics(settings), time.perf_counter)


@lru_cache(maxsize=1)
def _codecs_of_worker(
    specs: tuple[str, ...], threads: int | None, qualities: tuple[tuple[str, tuple[float, ...]], ...]
) -> list[Codec]:
    """Open codecs of a worker process. The arguments are hashable parts of BenchSettings."""
    settings = BenchSettings(paths=(), codecs=specs, qualities=dict(qualities), threads=threads)
    return _open_codecs(settings, _open_codec).opened


def _bench_image(image: ImageFile, codecs: Sequence[Codec], metrics: Metrics, clock: Clock) -> _ImageResult:
    """Run every codec at every quality on one image."""
    found = _ImageResult()
    try:
        pixels = read_opaque(image.path)
    except Exception as error:  # one bad image must not end the run
        found.failures.append(Failure(image.name, "", None, _one_line(error)))
        progress.advance(sum(len(codec.qualities) for codec in codecs))
        return found
    for codec in codecs:
        for quality in codec.qualities:
            try:
                with progress.stage(f"{printable(image.name)}, {codec.name} {quality:g}"):
                    found.rows.append(_trial(codec, quality, image.name, pixels, metrics, clock))
            except Exception as error:  # a codec's failure on one image must not end the run
                found.failures.append(Failure(image.name, codec.name, quality, _one_line(error)))
            progress.advance()
    height, width = pixels.shape[:2]
    found.images.append(ImageInfo(image.name, width, height, 1 if pixels.ndim == 2 else pixels.shape[2]))
    return found


def _trial(codec: Codec, quality: float, name: str, pixels: UInt8, metrics: Metrics, clock: Clock) -> Row:
    """Encode, decode, verify and measure once. Only the two codec calls are timed."""
    start = clock()
    data = codec.encode(pixels, quality)
    encode_s = clock() - start
    start = clock()
    decoded = codec.decode(data)
    decode_s = clock() - start
    distance = metrics(pixels, _verified(codec, data, decoded, pixels))
    return Row(
        codec=codec.name,
        quality=quality,
        image=name,
        pixels=pixels.shape[0] * pixels.shape[1],
        bytes=len(data),
        mse_rgb=distance.mse_rgb,
        mse_y=distance.mse_y,
        ssim=distance.ssim,
        ms_ssim=distance.ms_ssim,
        high_band=distance.high_band,
        lpips=distance.lpips,
        ssimulacra2=distance.ssimulacra2,
        encode_s=encode_s,
        decode_s=decode_s,
    )


def _metrics(settings: BenchSettings) -> Metrics:
    """The metrics that the settings ask for."""
    if settings.lpips_weights is not None:
        _lpips(settings.lpips_weights)  # also with psnr_only: missing weights are an error
    if settings.psnr_only:
        return measure_errors
    return partial(measure, lpips=None if settings.lpips_weights is None else _lpips(settings.lpips_weights))


@lru_cache(maxsize=1)
def _lpips(folder: Path) -> LpipsFunction:
    """LPIPS, loaded once per process."""
    return open_lpips(folder)


def _verified(codec: Codec, data: bytes, decoded: UInt8, original: UInt8) -> UInt8:
    """`decoded` in the layout of `original`.

    Raises CorruptError if the layouts differ, a second decode gives other pixels, or a lossless codec has lost something.
    """
    if not np.array_equal(codec.decode(data), decoded):
        raise CorruptError("two decodes of the same file differ")
    if original.ndim == 2 and decoded.ndim == 3 and not codec.has_grey:
        decoded = to_grey(decoded)
    if decoded.dtype != np.uint8 or decoded.shape != original.shape:
        raise CorruptError(f"decoded to {decoded.dtype} {decoded.shape}, not uint8 {original.shape}")
    if codec.lossless and not np.array_equal(decoded, original):
        raise CorruptError("decoded to other pixels, and the codec is lossless")
    return decoded


def _one_line(error: BaseException) -> str:
    """An exception as one printable line; its type is named unless it is a VqcodecError."""
    text = printable(" ".join(str(error).split()))
    return text if isinstance(error, VqcodecError) and text else f"{type(error).__name__}: {text}"


# ---------------------------------------------------------------------------------------------- before and after


def _open_codec(spec: str, threads: int | None) -> Codec:
    return open_codec(spec, threads=threads)


@dataclass(frozen=True)
class _Codecs:
    opened: list[Codec]  # codecs that can run, warmed up
    infos: list[CodecInfo]  # every requested codec, in order


def _open_codecs(settings: BenchSettings, opener: CodecOpener) -> _Codecs:
    """Open and warm up the codecs. Raises BenchUsageError for a bad spec, a bad quality, or two codecs of one name."""
    opened: list[Codec] = []
    infos: list[CodecInfo] = []
    for spec in progress.steps(settings.codecs, "preparing the codecs"):
        try:
            codec = opener(spec, settings.threads)
            sweep = _sweep(settings.qualities, spec)
            if codec.lossless and spec in settings.qualities:
                raise BenchUsageError(f"qualities are given for {spec!r}, which is lossless")
            if sweep is not None and not codec.lossless:
                codec.qualities = sweep
            _warm_up(codec)
        except BenchUsageError:
            raise
        except Exception as error:  # a codec that cannot start is recorded and does not end the run
            infos.append(CodecInfo(spec, "", "", (), missing=_one_line(error)))
        else:
            opened.append(codec)
            infos.append(CodecInfo(codec.name, codec.version, codec.description, tuple(codec.qualities)))
    names = [info.name for info in infos]
    for key in settings.qualities:
        if not any(key in _quality_keys(spec) for spec in settings.codecs):
            raise BenchUsageError(f"qualities are given for {key!r}, which is not among the codecs")
    if len(set(names)) < len(names):
        raise BenchUsageError(f"two codecs have the same name among {', '.join(names)}")
    return _Codecs(opened, infos)


def _sweep(qualities: Mapping[str, tuple[float, ...]], spec: str) -> tuple[float, ...] | None:
    """Sweep of a codec by its spec, else by its model, else by its kind, else by ""; None for the default sweep."""
    return next((qualities[key] for key in _quality_keys(spec) if key in qualities), None)


def _quality_keys(spec: str) -> tuple[str, ...]:
    """Keys of `qualities` that apply to a codec, the most specific first."""
    name, _ = split_decoder(spec)
    return spec, name, name.split(":")[0], ""


def _warm_up(codec: Codec) -> None:
    """Encode and decode a tiny picture at every quality: loads models before timing starts, and finds bad qualities early."""
    ramp = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[None, :, None], 16, axis=0).repeat(3, axis=2)
    for quality in codec.qualities:
        codec.decode(codec.encode(ramp, quality))


def _earlier(path: Path | None, images: Sequence[ImageFile]) -> BenchResults | None:
    """The results in the JSON file of an earlier run on the same images. Raises InputError."""
    if path is None:
        return None
    try:
        earlier = BenchResults.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {printable(path)}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{printable(path)}: {error}") from error
    if {image.name for image in earlier.images} != {image.name for image in images}:
        raise InputError(f"{printable(path)}: its results are of other pictures")
    return earlier


def _anchor(settings: BenchSettings, earlier: BenchResults | None) -> str:
    """Spec of the anchor, or its name in the earlier results. Raises BenchUsageError if it is not among the codecs."""
    if not settings.codecs:
        raise BenchUsageError("no codecs to bench")
    known = (*settings.codecs, *(info.name for info in earlier.codecs)) if earlier else settings.codecs
    if settings.anchor is None:
        return DEFAULT_ANCHOR if DEFAULT_ANCHOR in known else settings.codecs[0]
    if settings.anchor not in known:
        raise BenchUsageError(f"the anchor {settings.anchor!r} is not among the codecs {', '.join(known)}")
    return settings.anchor


def _json_outputs(settings: BenchSettings) -> list[Path]:
    """JSON files to rewrite after every image; excludes standard output."""
    outputs = [] if settings.json_path in (None, STREAM) else [settings.json_path]
    if settings.report_dir is not None:
        outputs.append(settings.report_dir / REPORT_JSON)
    return [path for path in outputs if path is not None]


def _check_outputs(settings: BenchSettings, outputs: Sequence[Path], sources: Sequence[Path]) -> None:
    """Check before the run that the outputs can be written. Raises OutputError and MissingExtraError."""
    planned = list(outputs)
    if settings.report_dir is not None:
        if find_spec("matplotlib") is None:
            raise MissingExtraError("the plot needs matplotlib: pip install 'vqcodec[bench]'")
        try:
            settings.report_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {printable(settings.report_dir)}: {error.strerror}") from error
        planned += [settings.report_dir / name for name in _REPORT_FILES]
    for path in planned:
        check_output(path, overwrite=settings.overwrite)
        if path.resolve() in {source.resolve() for source in sources}:
            raise OutputError(f"{printable(path)} is input and output at once")


def _write_json(results: BenchResults, outputs: Sequence[Path], *, overwrite: bool) -> None:
    for path in outputs:
        write_atomic(path, results.to_json().encode(), overwrite=overwrite)


def _write_report(results: BenchResults, settings: BenchSettings, images: Sequence[ImageFile], codecs: Sequence[Codec]) -> None:
    """Write the other files of the report folder, and the JSON on standard output."""
    if settings.report_dir is not None:
        from vqcodec.bench.page import crop_sheet, make_crops, to_html
        from vqcodec.bench.plot import plot

        compared = set(results.compared_images())
        with progress.stage("drawing the plots"):
            svg, png = (plot(results, kind) for kind in ("svg", "png"))
        crops = make_crops([image for image in images if image.name in compared], codecs)
        files = {
            REPORT_MARKDOWN: to_markdown(results, plot=REPORT_PLOT).encode(errors="backslashreplace"),
            REPORT_PLOT: png,
            REPORT_VECTORS: svg,
            REPORT_PAGE: to_html(results, svg.decode(), crops).encode(errors="backslashreplace"),
            REPORT_CROPS: crop_sheet(crops),
        }
        for name, data in files.items():
            write_atomic(settings.report_dir / name, data, overwrite=settings.overwrite)
    if settings.json_path == STREAM:
        write_atomic(STREAM, results.to_json().encode(), overwrite=True)


def _machine() -> dict[str, str | int]:
    """Processor model, number of cores and operating system; nothing that identifies this machine."""
    return {"cpu": _cpu_model(), "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"}


def _cpu_model() -> str:
    """Processor model from /proc/cpuinfo, else from Python; "unknown" if neither has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or "unknown"


def _versions() -> dict[str, str]:
    return {
        "vqcodec": vqcodec.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
