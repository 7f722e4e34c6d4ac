"""The bench: images x codecs x qualities, every decode verified, results on disk after every image."""

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
from vqcodec.bench.codecs import BenchUsageError, Codec, decoder_of, grey_of, open_codec
from vqcodec.bench.metrics import Perceptual, measure, open_lpips
from vqcodec.bench.report import to_markdown
from vqcodec.bench.results import BenchResults, CodecInfo, Failure, ImageInfo, Row
from vqcodec.errors import CorruptError, InputError, MissingExtraError, OutputError, VqcodecError, printable
from vqcodec.io.files import STREAM, check_output, write_atomic
from vqcodec.io.images import not_encoded, read_opaque
from vqcodec.io.kinds import is_picture_name
from vqcodec.runtime import progress
from vqcodec.runtime.processes import processes

Clock = Callable[[], float]  # seconds, from any origin
CodecOpener = Callable[[str, int | None], Codec]  # (spec, threads) -> codec; raises VqcodecError

DEFAULT_CODECS = ("vqz", "jpeg", "webp", "avif")
DEFAULT_ANCHOR = "jpeg"
REPORT_JSON, REPORT_MARKDOWN, REPORT_PAGE = "results.json", "results.md", "results.html"
REPORT_PLOT, REPORT_VECTORS, REPORT_CROPS = "rate_psnr.png", "rate_psnr.svg", "crops.png"
_REPORT_FILES = (REPORT_MARKDOWN, REPORT_PAGE, REPORT_PLOT, REPORT_VECTORS, REPORT_CROPS)


@dataclass(frozen=True)
class BenchSettings:
    """What to bench, and where the results go.

    `qualities` maps a codec spec or kind (`vqz:my-model`, `jpeg`) to its sweep; "" stands for every codec not named;
    codecs without an entry run their default sweep. `json_path` may be `-` for standard output.
    """

    paths: tuple[Path, ...]
    codecs: tuple[str, ...] = DEFAULT_CODECS
    qualities: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    anchor: str | None = None  # None: jpeg if it is benched, else the first codec
    json_path: Path | None = None
    report_dir: Path | None = None
    psnr_only: bool = False
    perceptual: Path | None = None  # the folder of LPIPS's weights
    threads: int | None = 1  # None: all cores
    jobs: int = 1  # images at once, each in a process of its own: speeds suffer from each other
    limit: int | None = None  # at most so many images
    overwrite: bool = False
    command: str = ""  # as typed; goes into the report


def parse_qualities(text: str) -> dict[str, tuple[float, ...]]:
    """`10,50,90` for every codec, `jpeg=10,50;vqz=20,60` for some: the `qualities` of BenchSettings.

    Raises BenchUsageError when it is neither.
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
    tell: Callable[[str], None] = lambda line: None,
) -> BenchResults:
    """Run the bench, write what the settings ask for, and return the results.

    Each image, codec and quality is a step of a stage (progress.py); `tell` is told a line when an image is done.

    A codec that is not installed, an image that cannot be read and a codec that fails on an image are recorded in the
    results (`codecs[].missing`, `failures`) and do not stop the rest.
    Raises BenchUsageError, InputError (no images), OutputError (a file is in the way), MissingExtraError (matplotlib).
    """
    images = find_images(settings.paths, settings.limit, tell)
    outputs = _json_outputs(settings)
    _check_outputs(settings, outputs, [path for _, path in images])
    if settings.perceptual is not None:
        _perceptual(settings.perceptual)  # finds what is missing before the work starts
    anchor = _anchor(settings)
    opened, codecs = _open_codecs(settings, opener or _open_codec)
    results = BenchResults(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=settings.command,
        machine=_machine(),
        versions=_versions(),
        threads=settings.threads,
        anchor=codecs[settings.codecs.index(anchor)].name,
        codecs=codecs,
    )
    _write_json(results, outputs, overwrite=settings.overwrite)  # claims the names before the work starts
    trials = sum(len(codec.qualities) for codec in codecs)
    with (
        progress.stage("", len(images) * trials),
        closing(_image_results(images, settings, opened, clock)) as all_found,
    ):
        for number, ((name, _), found) in enumerate(zip(images, all_found, strict=True), start=1):
            results.images.extend(found.images)
            results.rows.extend(found.rows)
            results.failures.extend(found.failures)
            _write_json(results, outputs, overwrite=True)
            failed = f", {len(found.failures)} failed" if found.failures else ""
            tell(f"{number} of {len(images)} images: {printable(name)}{failed}")
    _finish(results, settings, images, opened)
    return results


def find_images(
    paths: Sequence[Path], limit: int | None = None, tell: Callable[[str], None] = lambda line: None
) -> list[tuple[str, Path]]:
    """(name, path) of every image file given or below a folder given, in a fixed order, each file once.

    A file given by name may have any suffix. The name is the path below the folder with that folder's name in front. `tell` is told
    a line of each folder that cannot be read, and of each file below a folder that has a picture's name and is left out. Raises
    InputError when there is none.
    """
    found: dict[Path, str] = {}

    def cannot_read(error: OSError) -> None:
        tell(f"skipped: {printable(error.filename)}: cannot read the folder: {error.strerror}")

    for root in paths:
        if os.path.isdir(root):
            below = (Path(place, name) for place, _, names in os.walk(root, onerror=cannot_read) for name in names)
            for path in sorted(path for path in below if is_picture_name(path.name)):
                if reason := not_encoded(path):
                    tell(f"skipped: {printable(path)}: {reason}")
                else:
                    found.setdefault(path.resolve(), (root.resolve().name / path.relative_to(root)).as_posix())
        elif os.path.lexists(root):
            found.setdefault(root.resolve(), root.name)
        else:
            raise InputError(f"cannot read {printable(root)}: no such file or folder")
    if not found:
        raise InputError(f"no images in {', '.join(printable(path) for path in paths)}")
    return [(name, path) for path, name in _distinct(found).items()][:limit]


def _distinct(names: Mapping[Path, str]) -> dict[Path, str]:
    """The same with a number behind every name that was seen before: rows are told apart by their names."""
    counts: dict[str, int] = {}
    distinct = {}
    for path, name in names.items():
        counts[name] = counts.get(name, 0) + 1
        distinct[path] = name if counts[name] == 1 else f"{name} ({counts[name]})"
    return distinct


# ---------------------------------------------------------------------------------------------- one image


@dataclass
class _ImageResult:
    """Of one image, which is not among `images` if it could not be read."""

    images: list[ImageInfo] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def _image_results(
    images: Sequence[tuple[str, Path]], settings: BenchSettings, codecs: Sequence[Codec], clock: Clock
) -> Generator[_ImageResult, None, None]:
    """The results of every image, in order."""
    if settings.jobs == 1:
        for name, path in images:
            yield _bench_image(name, path, codecs, settings, clock)
        return
    trials = sum(len(codec.qualities) for codec in codecs)
    with processes(settings.jobs) as pool:
        for found in pool.map(partial(_bench_in_process, settings), images):
            progress.advance(trials)
            yield found


def _bench_in_process(settings: BenchSettings, image: tuple[str, Path]) -> _ImageResult:
    codecs = _codecs_of_process(settings.codecs, settings.threads, tuple(settings.qualities.items()))
    return _bench_image(*image, codecs, settings, time.perf_counter)


@lru_cache(maxsize=1)
def _codecs_of_process(
    specs: tuple[str, ...], threads: int | None, qualities: tuple[tuple[str, tuple[float, ...]], ...]
) -> list[Codec]:
    settings = BenchSettings((), specs, dict(qualities), threads=threads)
    return _open_codecs(settings, _open_codec)[0]


def _bench_image(name: str, path: Path, codecs: Sequence[Codec], settings: BenchSettings, clock: Clock) -> _ImageResult:
    """Every codec at every quality on one image."""
    found = _ImageResult()
    try:
        pixels = read_opaque(path)
    except Exception as error:  # one bad image must not end the run
        found.failures.append(Failure(name, "", None, _one_line(error)))
        progress.advance(sum(len(codec.qualities) for codec in codecs))
        return found
    for codec in codecs:
        for quality in codec.qualities:
            try:
                with progress.stage(f"{printable(name)}, {codec.name} {quality:g}"):
                    found.rows.append(_trial(codec, quality, name, pixels, settings, clock))
            except Exception as error:  # whatever a codec throws at one image must not end the run
                found.failures.append(Failure(name, codec.name, quality, _one_line(error)))
            progress.advance()
    height, width = pixels.shape[:2]
    found.images.append(ImageInfo(name, width, height, 1 if pixels.ndim == 2 else pixels.shape[2]))
    return found


def _trial(codec: Codec, quality: float, name: str, pixels: UInt8, settings: BenchSettings, clock: Clock) -> Row:
    """Encode, decode, verify and measure once; only the two codec calls are on the clock."""
    start = clock()
    data = codec.encode(pixels, quality)
    encode_s = clock() - start
    start = clock()
    decoded = codec.decode(data)
    decode_s = clock() - start
    perceptual = None if settings.perceptual is None else _perceptual(settings.perceptual)
    verified = _verified(codec, data, decoded, pixels)
    distance = measure(pixels, verified, psnr_only=settings.psnr_only, perceptual=perceptual)
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


@lru_cache(maxsize=1)
def _perceptual(folder: Path) -> Perceptual:
    return open_lpips(folder)


def _verified(codec: Codec, data: bytes, decoded: UInt8, original: UInt8) -> UInt8:
    """`decoded` in the layout of `original`; CorruptError unless it fits it and a second decode gives the same."""
    if not np.array_equal(codec.decode(data), decoded):
        raise CorruptError("two decodes of the same file differ")
    if original.ndim == 2 and decoded.ndim == 3 and not codec.has_grey:
        decoded = grey_of(decoded)
    if decoded.dtype != np.uint8 or decoded.shape != original.shape:
        raise CorruptError(f"decoded to {decoded.dtype} {decoded.shape}, not uint8 {original.shape}")
    return decoded


def _one_line(error: BaseException) -> str:
    text = printable(" ".join(str(error).split()))
    return text if isinstance(error, VqcodecError) and text else f"{type(error).__name__}: {text}"


# ---------------------------------------------------------------------------------------------- before and after


def _open_codec(spec: str, threads: int | None) -> Codec:
    return open_codec(spec, threads=threads)


def _open_codecs(settings: BenchSettings, opener: CodecOpener) -> tuple[list[Codec], list[CodecInfo]]:
    """The codecs that run, warmed up, and what is to be said of all that were asked for."""
    opened: list[Codec] = []
    infos: list[CodecInfo] = []
    for spec in progress.steps(settings.codecs, "preparing the codecs"):
        try:
            codec = opener(spec, settings.threads)
            sweep = _sweep(settings.qualities, spec)
            if sweep is not None:
                codec.qualities = sweep
            _warm_up(codec)
        except BenchUsageError:
            raise
        except Exception as error:  # a codec that cannot start, for whatever reason, is a row and not the end
            infos.append(CodecInfo(spec, "", "", (), missing=_one_line(error)))
        else:
            opened.append(codec)
            infos.append(CodecInfo(codec.name, codec.version, codec.description, tuple(codec.qualities)))
    names = [info.name for info in infos]
    for key in settings.qualities:
        if not any(key in _keys(spec) for spec in settings.codecs):
            raise BenchUsageError(f"qualities are given for {key!r}, which is not among the codecs")
    if len(set(names)) < len(names):
        raise BenchUsageError(f"two codecs go by the same name among {', '.join(names)}")
    return opened, infos


def _sweep(qualities: Mapping[str, tuple[float, ...]], spec: str) -> tuple[float, ...] | None:
    """The sweep asked for: of the spec itself, else of its model or kind, else of every codec; None for the default."""
    return next((qualities[key] for key in _keys(spec) if key in qualities), None)


def _keys(spec: str) -> tuple[str, ...]:
    """What may stand for a codec among qualities, the nearest first."""
    name, _ = decoder_of(spec)
    return spec, name, name.split(":")[0], ""


def _warm_up(codec: Codec) -> None:
    """A tiny picture at every quality: loads what is loaded once, off the clock, and finds bad qualities early."""
    ramp = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[None, :, None], 16, axis=0).repeat(3, axis=2)
    for quality in codec.qualities:
        codec.decode(codec.encode(ramp, quality))


def _anchor(settings: BenchSettings) -> str:
    if not settings.codecs:
        raise BenchUsageError("no codecs to bench")
    if settings.anchor is None:
        return DEFAULT_ANCHOR if DEFAULT_ANCHOR in settings.codecs else settings.codecs[0]
    if settings.anchor not in settings.codecs:
        raise BenchUsageError(f"the anchor {settings.anchor!r} is not among the codecs {', '.join(settings.codecs)}")
    return settings.anchor


def _json_outputs(settings: BenchSettings) -> list[Path]:
    """The JSON files to keep up to date, without standard output."""
    outputs = [] if settings.json_path in (None, STREAM) else [settings.json_path]
    if settings.report_dir is not None:
        outputs.append(settings.report_dir / REPORT_JSON)
    return [path for path in outputs if path is not None]


def _check_outputs(settings: BenchSettings, outputs: Sequence[Path], sources: Sequence[Path]) -> None:
    """Refuse before the work what would fail after it."""
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


def _finish(
    results: BenchResults,
    settings: BenchSettings,
    images: Sequence[tuple[str, Path]],
    codecs: Sequence[Codec],
) -> None:
    """The report folder's other files, and standard output."""
    if settings.report_dir is not None:
        from vqcodec.bench.page import crops_at, sheet_of, to_html
        from vqcodec.bench.plot import plot

        compared = set(results.compared_images())
        with progress.stage("drawing the plots"):
            svg, png = (plot(results, kind) for kind in ("svg", "png"))
        crops = crops_at([entry for entry in images if entry[0] in compared], codecs)
        found = {
            REPORT_MARKDOWN: to_markdown(results, plot=REPORT_PLOT).encode(errors="backslashreplace"),
            REPORT_PLOT: png,
            REPORT_VECTORS: svg,
            REPORT_PAGE: to_html(results, svg.decode(), crops).encode(errors="backslashreplace"),
            REPORT_CROPS: sheet_of(crops),
        }
        for name, data in found.items():
            write_atomic(settings.report_dir / name, data, overwrite=settings.overwrite)
    if settings.json_path == STREAM:
        write_atomic(STREAM, results.to_json().encode(), overwrite=True)


def _machine() -> dict[str, str | int]:
    """The processor's model, its cores, and the operating system; nothing that names this very machine."""
    return {"cpu": _cpu_model(), "cores": os.cpu_count() or 1, "system": f"{platform.system()} {platform.machine()}"}


def _cpu_model() -> str:
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
