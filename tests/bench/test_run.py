"""Tests of bench/run.py and bench/results.py with fake codecs and a fake clock: exact statistics, failures, files, settings."""

import json
import math
import platform
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from vqcodec.arrays import UInt8
from vqcodec.bench.codecs import BenchUsageError, open_codec
from vqcodec.bench.metrics import Distance
from vqcodec.bench.report import print_results
from vqcodec.bench.results import BenchResults
from vqcodec.bench.run import BenchSettings, find_images, parse_qualities, run_bench
from vqcodec.errors import CorruptError, InputError, MissingExtraError, OutputError
from vqcodec.runtime.progress import share_done, watched


class FakeClock:
    """A clock that only moves when `now_s` is changed."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class FakeCodec:
    """Files of 2 x quality bytes, an error of 100 - quality in every sample; 0.5 s to encode and 0.25 s to decode."""

    version = "1.0"
    description = "for tests"
    qualities: tuple[float, ...] = (90, 98)
    has_grey, lossless = True, False

    def __init__(self, name: str = "fake", clock: FakeClock | None = None) -> None:
        self.name = name
        self.clock = clock or FakeClock()
        self.files: dict[bytes, UInt8] = {}

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        self.clock.now_s += 0.5
        data = len(self.files).to_bytes(4, "little").ljust(int(2 * quality), b"\0")
        self.files[data] = pixels + np.uint8(100 - quality)
        return data

    def decode(self, data: bytes) -> UInt8:
        self.clock.now_s += 0.25
        return self.files[data].copy()


def save(path: Path, *shape: int) -> Path:
    """Save a PNG of values up to 200, so that a fake codec's error cannot wrap."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 200, size=shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two colour pictures, 10x20 and 20x20, and a grey one, 8x5."""
    save(tmp_path / "set" / "a.png", 10, 20, 3)
    save(tmp_path / "set" / "b.png", 20, 20, 3)
    save(tmp_path / "set" / "deeper" / "c.png", 8, 5)
    return tmp_path / "set"


def run(
    folder: Path,
    *codecs: FakeCodec,
    console: Console | None = None,
    clock=None,
    metrics=None,
    tell=lambda line: None,
    **options,
) -> BenchResults:
    """Run the bench on fake codecs; codecs of other names are the real ones."""
    fakes = {codec.name: codec for codec in codecs}
    names = tuple(options.pop("codecs", fakes))
    settings = BenchSettings(paths=(folder,), codecs=names, **{"psnr_only": True, **options})
    opener = lambda spec, threads: fakes.get(spec) or open_codec(spec, threads=threads)  # noqa: E731  # one line says it
    results = run_bench(settings, clock=clock or FakeClock(), opener=opener, metrics=metrics, tell=tell)
    if console is not None:
        print_results(results, console)
    return results


def strict_json(text: str) -> dict:
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_statistics_to_the_last_digit(folder):
    clock = FakeClock()
    results = run(folder, FakeCodec(clock=clock), clock=clock)
    coarse, fine = results.points("fake")
    assert (coarse.quality, fine.quality) == (90, 98)
    pixels = [200, 400, 40]
    assert coarse.bpp == pytest.approx(sum(8 * 180 / n for n in pixels) / 3)  # mean of bpp, not bits over pixels
    assert fine.bpp == pytest.approx(sum(8 * 196 / n for n in pixels) / 3)
    assert coarse.psnr_rgb == coarse.psnr_y == pytest.approx(20 * math.log10(255 / 10))
    assert fine.psnr_rgb == pytest.approx(20 * math.log10(255 / 2))
    assert (coarse.encode_s, coarse.decode_s) == (0.5, 0.25)  # the second decode, which verifies, is not counted
    assert coarse.encode_mps == pytest.approx(640e-6 / 1.5)
    assert coarse.decode_mps == pytest.approx(640e-6 / 0.75)


def test_psnr_is_the_mean_of_decibels(tmp_path):
    save(tmp_path / "a.png", 10, 20, 3)
    save(tmp_path / "b.png", 10, 20, 3)

    class Uneven(FakeCodec):
        def decode(self, data: bytes) -> UInt8:
            return super().decode(data) + np.uint8(data[0] // 2 % 2)  # every second picture is one worse

    point = run(tmp_path, Uneven()).points("fake")[0]
    assert point.psnr_rgb == pytest.approx(np.mean([20 * math.log10(255 / error) for error in (10, 11)]))


def test_the_none_codec_proves_the_bench(folder, tmp_path):
    output = tmp_path / "none.json"
    results = run(folder, codecs=("none",), json_path=output, psnr_only=False)
    (point,) = results.points("none")
    assert point.psnr_rgb == point.psnr_y == math.inf
    assert point.bpp == pytest.approx(np.mean([24 + 72 / 200, 24 + 72 / 400, 8 + 72 / 40]))
    document = strict_json(output.read_text())
    assert [row["psnr_rgb"] for row in document["rows"]] == [None] * 3
    assert [row["mse_rgb"] for row in document["rows"]] == [0.0] * 3


def test_codecs_of_an_earlier_run_are_shown_too(folder, tmp_path):
    """Those that run again are replaced; the anchor may be one that does not."""
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    run(folder, FakeCodec("old"), FakeCodec("again"), json_path=first)

    class Better(FakeCodec):
        qualities = (94,)

    results = run(folder, FakeCodec("new"), Better("again"), json_path=second, earlier_path=first, anchor="old")
    assert [codec.name for codec in results.codecs] == ["new", "again", "old"]
    assert [[point.quality for point in results.points(name)] for name in ("new", "again", "old")] == [[90, 98], [94], [90, 98]]
    assert results.anchor == "old"
    assert repr(BenchResults.from_json(second.read_text())) == repr(results)  # nan is not equal to itself
    jpeg = run(folder, FakeCodec("jpeg"), json_path=first, overwrite=True)
    assert run(folder, FakeCodec("new"), earlier_path=first).anchor == jpeg.anchor == "jpeg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*: No such file or directory"),
        ("[]", "not a result file of vqcodec bench"),
        ("{", "Expecting property name"),
        ("fewer pictures", "its results are of other pictures"),
    ],
)
def test_earlier_results_that_do_not_fit_are_refused_before_the_work(folder, tmp_path, text, message):
    path = tmp_path / "earlier.json"
    if text == "fewer pictures":
        run(folder, FakeCodec(), limit=2, json_path=path)
    elif text is not None:
        path.write_text(text)
    output, codec = tmp_path / "new.json", FakeCodec()
    with pytest.raises(InputError, match=message):
        run(folder, codec, earlier_path=path, json_path=output)
    assert not output.exists()
    assert not codec.files


@pytest.mark.parametrize("spec", ["jpeg", "webp", "avif"])
def test_real_codecs_run_on_colour_and_grey(folder, spec):
    results = run(folder, codecs=(spec,), qualities={"": (50, 90)}, clock=iter(range(10**6)).__next__)
    assert results.failures == []
    assert len(results.rows) == 6
    assert all(row.bytes > 0 and row.encode_s == row.decode_s == 1 for row in results.rows)


LOSSLESS = ("vqz:lossless", "vqz:lossless:1", "png", "webp:lossless", "none")


def test_lossless_codecs_have_one_exact_point_whatever_the_qualities(folder, tmp_path):
    output, report = tmp_path / "results.json", tmp_path / "report"
    options = {"qualities": {"": (50, 90), "jpeg": (60,), "vqz": (20, 30)}, "json_path": output, "report_dir": report}
    results = run(folder, codecs=("jpeg", *LOSSLESS), psnr_only=False, clock=iter(range(10**6)).__next__, **options)
    assert results.failures == []
    assert len(results.rows) == 3 * (1 + len(LOSSLESS))
    for name in LOSSLESS:
        (point,) = results.points(name)
        assert (point.quality, point.psnr_rgb) == (100, math.inf)
    assert math.isfinite(results.points("jpeg")[0].psnr_rgb)
    document = strict_json(output.read_text())
    assert str(BenchResults.from_json(output.read_text()).points("png")) == str(results.points("png"))
    assert {codec["name"]: codec["results"]["psnr-rgb"] for codec in document["codecs"][1:]} == {name: [None] for name in LOSSLESS}
    markdown = (report / "results.md").read_text()
    assert "| codec | bpp | size vs vqz:lossless | enc MP/s | dec MP/s |" in markdown
    assert "Size of exact files" in (report / "results.html").read_text()


def test_a_lossless_codec_has_no_qualities(folder):
    with pytest.raises(BenchUsageError, match="qualities are given for 'png', which is lossless"):
        run(folder, codecs=("png",), qualities={"png": (50,)})


def test_a_lossless_codec_that_loses_something_fails(folder):
    codec = FakeCodec("liar")
    codec.lossless = True
    results = run(folder, codec, codecs=("liar", "none"))
    assert {failure.message for failure in results.failures} == {"decoded to other pixels, and the codec is lossless"}
    assert results.points("liar") == []


@pytest.mark.slow
def test_vqz_itself_runs_on_colour_and_grey(tmp_path):
    for name, channels in (("colour", 3), ("grey", 1)):
        Image.fromarray(smooth_picture(48, 64, channels)).save(tmp_path / f"{name}.png")
    results = run(tmp_path, codecs=("vqz",), qualities={"": (30, 80)})
    assert [codec.missing for codec in results.codecs] == [""]
    assert results.failures == []
    coarse, fine = results.points("vqz")
    assert (coarse.quality, fine.quality) == (30, 80)
    assert coarse.psnr_rgb < fine.psnr_rgb


def test_rows_carry_ssim_unless_switched_off(tmp_path):
    save(tmp_path / "big.png", 161, 170, 3)
    row = run(tmp_path, FakeCodec(), psnr_only=False).rows[0]
    assert 0 < row.ms_ssim <= 1
    assert 0 < row.ssim <= 1
    assert math.isnan(run(tmp_path, FakeCodec()).rows[0].ssim)


def test_each_figure_is_in_its_own_column(folder, tmp_path):
    distance = Distance(1, 2, ssim=0.3, ms_ssim=0.4, high_band=0.5, lpips=0.6, ssimulacra2=70)
    results = run(folder, FakeCodec(), json_path=tmp_path / "results.json", metrics=lambda original, decoded: distance)
    point = results.points("fake")[0]
    assert (point.ssim, point.ms_ssim) == pytest.approx((0.3, 0.4))
    assert (point.high_band, point.lpips, point.ssimulacra2) == pytest.approx((0.5, 0.6, 70))
    columns = strict_json((tmp_path / "results.json").read_text())["codecs"][0]["results"]
    names = ("ssim-rgb", "ms-ssim-rgb", "high-band", "lpips", "ssimulacra2", "encoding_time", "decoding_time", "quality")
    assert [columns[name][0] for name in names] == pytest.approx([0.3, 0.4, 0.5, 0.6, 70, point.encode_s, point.decode_s, 90])


def test_a_run_reports_its_progress(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"rubbish")
    reported: list[str] = []
    shares = []

    class Watched(FakeCodec):
        def encode(self, pixels: UInt8, quality: float) -> bytes:
            if stages and stages[-1].name.endswith(f"{self.name} {quality:g}"):
                shares.append(share_done(stages)[0])  # type: ignore[index]  # stages know their share here
            return super().encode(pixels, quality)

    with watched() as stages:
        run(folder, Watched(), tell=reported.append)
    assert shares == [0, 1 / 8, 2 / 8, 3 / 8, 6 / 8, 7 / 8]  # the bad image counts as two trials
    assert reported == [
        f"{n} of 4 images: set/{name}" for n, name in enumerate(["a.png", "b.png", "bad.png, 1 failed", "deeper/c.png"], 1)
    ]


# ---------------------------------------------------------------------------------------------- failures


def test_an_unreadable_image_is_recorded_and_the_run_continues(folder):
    (folder / "ab.png").write_bytes(b"not a picture")
    results = run(folder, FakeCodec())
    assert [image.name for image in results.images] == ["set/a.png", "set/b.png", "set/deeper/c.png"]
    (failure,) = results.failures
    assert (failure.image, failure.codec, failure.quality) == ("set/ab.png", "", None)
    assert "\n" not in failure.message
    assert len(results.points("fake")) == 2


class Fragile(FakeCodec):
    """Raises `error` for pictures of one width at quality 98."""

    def __init__(self, error: BaseException, width: int, name: str = "fragile") -> None:
        super().__init__(name)
        self.error = error
        self.width = width

    def encode(self, pixels: UInt8, quality: float) -> bytes:
        if pixels.shape[1] == self.width and quality == 98:
            raise self.error
        return super().encode(pixels, quality)


@pytest.mark.parametrize("error", [CorruptError("damaged"), MemoryError(), ValueError("two\nlines"), OSError(28, "full")])
def test_an_image_on_which_a_codec_fails_is_left_out_of_all_means(folder, error):
    results = run(folder, FakeCodec(), Fragile(error, width=5))
    (failure,) = results.failures
    assert (failure.image, failure.codec, failure.quality) == ("set/deeper/c.png", "fragile", 98)
    assert "\n" not in failure.message
    assert results.compared_images() == ["set/a.png", "set/b.png"]
    for codec in ("fake", "fragile"):  # both over the same two images
        assert results.points(codec)[0].bpp == pytest.approx((8 * 180 / 200 + 8 * 180 / 400) / 2)


def test_a_codec_that_completes_no_image_does_not_empty_the_others(tmp_path):
    save(tmp_path / "a.png", 10, 20, 3)
    results = run(tmp_path, FakeCodec(), Fragile(ValueError("always"), width=20))
    assert len(results.points("fake")) == 2
    assert [point.quality for point in results.points("fragile")] == [90]


class Wrong(FakeCodec):
    """Changes its decoded pixels by a function."""

    def __init__(self, change) -> None:
        super().__init__("wrong")
        self.change = change

    def decode(self, data: bytes) -> UInt8:
        return self.change(super().decode(data))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda p: p[:-1], "decoded to"),
        (lambda p: p.astype(np.int32), "decoded to"),
        (lambda p: np.stack([p] * 3, 2) if p.ndim == 2 else p[..., 0], "decoded to"),
        (lambda p: p + np.random.default_rng().integers(0, 9, p.shape, dtype=np.uint8), "differ"),
    ],
)
def test_every_decode_is_verified(folder, change, complaint):
    results = run(folder, Wrong(change))
    assert results.rows == []
    assert len(results.failures) == 6
    assert all(complaint in failure.message for failure in results.failures)


def test_only_a_codec_without_grey_may_decode_grey_to_rgb(folder):
    codec = Wrong(lambda p: np.stack([p] * 3, 2) if p.ndim == 2 else p)
    codec.has_grey = False
    assert run(folder, codec).failures == []


def test_a_missing_codec_is_recorded_with_what_to_install(folder):
    class Absent(FakeCodec):
        def encode(self, pixels: UInt8, quality: float) -> bytes:
            raise MissingExtraError("it is missing: pip install it")

    output = StringIO()
    results = run(folder, FakeCodec(), Absent("absent"), console=Console(file=output, width=200))
    assert [(codec.name, codec.missing) for codec in results.codecs] == [
        ("fake", ""),
        ("absent", "it is missing: pip install it"),
    ]
    assert "missing absent: it is missing: pip install it" in output.getvalue()
    assert len(results.points("fake")) == 2


# ---------------------------------------------------------------------------------------------- files


def test_results_are_on_disk_after_every_image_and_survive_an_interrupt(folder, tmp_path):
    output = tmp_path / "results.json"
    seen = []

    class Watching(FakeCodec):
        def encode(self, pixels: UInt8, quality: float) -> bytes:
            if output.exists():
                seen.append([image["name"] for image in strict_json(output.read_text())["images"]])
            if pixels.shape == (8, 5):
                raise KeyboardInterrupt
            return super().encode(pixels, quality)

    with pytest.raises(KeyboardInterrupt):
        run(folder, Watching(), json_path=output)
    assert seen == [[], [], ["set/a.png"], ["set/a.png"], ["set/a.png", "set/b.png"]]
    document = strict_json(output.read_text())
    assert {row["image"] for row in document["rows"]} == {"set/a.png", "set/b.png"}
    assert len(document["codecs"][0]["results"]["bpp"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "set"]


def test_json_has_the_layout_of_compressai_and_comes_back(folder, tmp_path):
    output = tmp_path / "results.json"
    (folder / "bad.png").write_bytes(b"rubbish")
    results = run(folder, FakeCodec(), codecs=("fake", "none"), json_path=output, command="vqcodec bench set", threads=None)
    text = output.read_text()
    document = strict_json(text)
    codec = document["codecs"][0]
    assert (codec["name"], codec["description"]) == ("fake", "for tests")
    assert {"bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time"} <= codec["results"].keys()
    assert {len(column) for column in codec["results"].values()} == {2}
    assert codec["results"]["psnr-rgb"] == pytest.approx([20 * math.log10(25.5), 20 * math.log10(127.5)])
    assert codec["results"]["ms-ssim-rgb"] == [None, None]
    assert document["command"] == "vqcodec bench set"
    assert document["machine"].keys() == {"cpu", "cores", "system"}
    assert platform.node() not in (*map(str, document["machine"].values()), *document["versions"].values())
    assert len(document["rows"]) == 9
    restored = BenchResults.from_json(text)
    assert restored.to_json() == text
    assert restored.points("none")[0].psnr_rgb == math.inf
    assert restored.failures == results.failures


def test_json_on_standard_output_is_one_object(folder, capfdbinary):
    run(folder, FakeCodec(), json_path=Path("-"))
    assert len(strict_json(capfdbinary.readouterr().out.decode())["rows"]) == 6


@pytest.mark.slow
def test_a_report_folder_is_filled(folder, tmp_path):
    report = tmp_path / "new" / "report"
    run(folder, FakeCodec("one"), FakeCodec("two"), report_dir=report, anchor="one")
    assert sorted(path.name for path in report.iterdir()) == [
        "crops.png", "rate_distortion.png", "rate_distortion.svg", "results.html", "results.json", "results.md",
    ]  # fmt: skip
    page = (report / "results.html").read_text()
    assert not re.search(r"""<link|<script[^>]*\ssrc|src=["']http""", page)  # the page is self-contained
    assert page.count("alt='original'") == 3
    assert "alt='two'" not in page  # its smallest files are far from 0.25 bpp
    assert page.count("two: no file near 0.25 bpp, the nearest has ") == 3
    with Image.open(report / "rate_distortion.png") as plot:
        assert plot.size[0] > 1000
        assert len(np.unique(np.array(plot.convert("L")))) > 50  # something is drawn
    assert "![Rate and distortion of every codec](rate_distortion.png)" in (report / "results.md").read_text()


@pytest.mark.parametrize("name", fast_first(["results.json", "results.md", "rate_distortion.png"]))
def test_no_output_is_overwritten_without_the_option(folder, tmp_path, name):
    report = tmp_path / "report"
    report.mkdir()
    (report / name).write_text("mine")
    codec = FakeCodec()
    with pytest.raises(OutputError, match=name):
        run(folder, codec, report_dir=report)
    assert codec.files == {}  # refused before the work, not after
    assert (report / name).read_text() == "mine"
    run(folder, codec, report_dir=report, overwrite=True)
    assert (report / name).read_bytes() != b"mine"


# ---------------------------------------------------------------------------------------------- settings


def test_images_are_found_in_a_fixed_order_and_once(folder, monkeypatch):
    (folder / "notes.txt").write_text("no picture")
    names = [image.name for image in find_images([folder, folder / "b.png", folder.parent / "set"])]
    assert names == ["set/a.png", "set/b.png", "set/deeper/c.png"]
    assert [image.name for image in find_images([folder / "b.png", folder], limit=2)] == ["b.png", "set/a.png"]
    monkeypatch.chdir(folder)
    assert [image.name for image in find_images([Path()])] == names


def test_skipped_files_with_a_picture_suffix_are_reported(folder):
    (folder / "phone.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (folder / "gone.png").symlink_to(folder / "nowhere")
    (folder / "notes.txt").write_text("no picture")
    reported = []
    assert len(find_images([folder], tell=reported.append)) == 3
    assert reported == [
        f"skipped: {folder}/gone.png: a broken link",
        f"skipped: {folder}/phone.jxl: JPEG XL is not read: convert it to PNG or TIFF first",
    ]


def test_images_of_equal_names_get_distinct_names(folder):
    other = save(folder.parent / "other" / "a.png", 4, 4)
    assert [image.name for image in find_images([folder / "a.png", other])] == ["a.png", "a.png (2)"]


def test_a_run_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no images"):
        find_images([tmp_path])
    with pytest.raises(InputError, match="no such file"):
        find_images([tmp_path / "absent"])


def test_parsing_of_qualities():
    assert parse_qualities("50,10,90.5") == {"": (10, 50, 90.5)}
    assert parse_qualities("jpeg=10,50;vqz:mine=60;7") == {"jpeg": (10, 50), "vqz:mine": (60,), "": (7,)}
    for text in ("", "jpeg", "jpeg=", "a,b", "jpeg=1;;", "nan", "jpeg=10,inf"):
        with pytest.raises(BenchUsageError, match="write 10,50,90"):
            parse_qualities(text)


def test_qualities_apply_to_the_codec_that_they_name(folder):
    results = run(folder, FakeCodec("one"), FakeCodec("two"), qualities={"one": (91,), "": (92, 93)})
    assert [codec.qualities for codec in results.codecs] == [(91,), (92, 93)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"anchor": "webp"}, "anchor"),
        ({"codecs": ("fake", "fake")}, "same name"),
        ({"codecs": ()}, "no codecs"),
        ({"codecs": ("fake", "unheard-of")}, "unknown codec"),
        ({"codecs": ("jpeg",), "qualities": {"jpeg": (50, 101)}}, "whole qualities"),
    ],
)
def test_invalid_settings_are_refused_before_the_run(folder, tmp_path, options, complaint):
    output = tmp_path / "results.json"
    with pytest.raises(BenchUsageError, match=complaint):
        run(folder, FakeCodec(), json_path=output, **options)
    assert not output.exists()


@pytest.mark.parametrize(
    ("codecs", "asked", "anchor"),
    [(("one", "jpeg"), None, "jpeg"), (("one", "two"), None, "one"), (("one", "two"), "two", "two")],
)
def test_the_anchor_is_jpeg_if_there_is_one(folder, codecs, asked, anchor):
    results = run(folder, FakeCodec("one"), FakeCodec("two"), codecs=codecs, anchor=asked)
    assert results.anchor == anchor


@pytest.mark.slow
def test_parallel_jobs_give_the_same_figures(folder: Path) -> None:
    (folder / "bad.png").write_bytes(b"rubbish")
    settings = {"codecs": ("jpeg", "vqz:photo-lite", "none"), "qualities": {"vqz": (50.0,), "jpeg": (50.0,)}}
    alone, together = run(folder, **settings), run(folder, jobs=2, **settings)
    assert together.images == alone.images
    assert together.failures == alone.failures
    assert len(together.failures) == 1
    figures = [[(row.codec, row.quality, row.image, row.bytes, row.mse_rgb) for row in found.rows] for found in (alone, together)]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 9
