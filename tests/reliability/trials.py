"""The trials of docs/reliability.md that take too long for every run: python tests/reliability/trials.py [TRIAL...] [--data DIR]

Each prints a line, what was found and what is demanded, and the program ends with 1 if any demand is missed. Without names all
run, in about half an hour. `make test-slow` writes their lines to out/reliability.txt.
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy is imported, here and in programs

import numpy as np
from PIL import Image

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = map(str, (TESTS, TESTS.parent / "experiments"))

from figures.programs import peak_of_program  # noqa: E402 (the path comes first)
from interrupts import interrupts  # noqa: E402 (the path comes first)

from helpers.pictures import smooth_picture  # noqa: E402 (the path comes first)
from helpers.processes import program_command, program_environment  # noqa: E402 (the path comes first)
from helpers.vqz_fields import resealed as with_right_checksums  # noqa: E402 (the path comes first)
from helpers.vqz_fields import take_apart  # noqa: E402 (the path comes first)
from vqcodec import api  # noqa: E402 (the path comes first)
from vqcodec.errors import FormatError, VqcodecError  # noqa: E402 (the path comes first)
from vqcodec.io.image_reader import read_image  # noqa: E402 (the path comes first)
from vqcodec.weights import registry  # noqa: E402 (the path comes first)

GOLDEN = [path for kind in ("decode", "token", "lossless") for path in sorted((TESTS / "golden" / kind).glob("*.vqz"))]
Verdict = tuple[bool | None, str]
"""Whether a demand is met, None where a package that the trial needs is missing; and what was found."""
VERDICTS = {True: "met", False: "MISSED", None: "SKIPPED"}


def flips(data: Path, folder: Path) -> Verdict:
    """100,000 single-bit flips of golden files: none silently wrong."""
    files = [path.read_bytes() for path in GOLDEN]
    rng = random.Random(2)
    accepted = 0
    for _ in range(100_000):
        damaged = bytearray(rng.choice(files))
        place = rng.randrange(8 * len(damaged))
        damaged[place // 8] ^= 1 << place % 8
        try:
            api.decode(bytes(damaged), refine="none", threads=1)
            accepted += 1
        except VqcodecError:
            pass
    return accepted == 0, f"{accepted} of 100000 flips were decoded"


def resealed(data: Path, folder: Path) -> Verdict:
    """5,000 flips with checksums made right: documented errors, or a picture of the right shape; at most 1 s each."""
    good = [path.read_bytes() for path in GOLDEN]
    bodies = [len(take_apart(data)["body"]) for data in good]
    shapes = [api.decode(data, refine="none").shape for data in good]
    rng, slowest, pictures = random.Random(3), 0.0, 0
    for _ in range(5_000):
        number = rng.randrange(len(good))
        damaged = bytearray(good[number])
        place = rng.randrange(8 * bodies[number])
        damaged[len(damaged) - bodies[number] + place // 8] ^= 1 << place % 8
        start = time.perf_counter()
        try:
            found = api.decode(with_right_checksums(bytes(damaged)), refine="none", threads=1)
            if found.shape != shapes[number]:
                return False, f"a picture of the wrong shape {found.shape}"
            pictures += 1
        except FormatError:
            pass
        slowest = max(slowest, time.perf_counter() - start)
    return slowest < 1, f"5000 flips: {pictures} pictures of the right shape, else FormatError; the slowest took {slowest:.2f} s"


def fuzz(data: Path, folder: Path) -> Verdict:
    """Coverage-guided fuzzing (atheris) of the parser for 10 minutes: no other exception, no hang over 2 s, at most 512 MB."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for path in [*GOLDEN, *sorted((TESTS / "golden" / "errors").glob("*.vqz"))]:
        shutil.copy(path, corpus / f"{path.parent.name}-{path.name}")
    command = [sys.executable, str(TESTS / "reliability" / "fuzz_parser.py"), str(corpus)]
    command += ["-max_total_time=600", "-timeout=2", "-rss_limit_mb=512", "-max_len=4096", f"-artifact_prefix={folder}/"]
    done = subprocess.run(command, capture_output=True, text=True, env=program_environment(), check=False)
    if "No module named 'atheris'" in done.stderr:
        return None, "atheris is not installed"
    last = [line for line in done.stderr.splitlines() if line.startswith("Done")] or done.stderr.splitlines()[-3:]
    return done.returncode == 0, " ".join(last)


def coverage(data: Path, folder: Path) -> Verdict:
    """Branch coverage of the parser by its tests: at least 95 %."""
    command = [sys.executable, "-m", "coverage", "run", "--branch", "--include=vqcodec/format/*", f"--data-file={folder / 'data'}"]
    command += ["-m", "pytest", "-q", "tests/format", "tests/codec/test_pipeline.py", "tests/codec/test_reader.py"]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    if "No module named coverage" in done.stderr:
        return None, "coverage is not installed"
    report = [sys.executable, "-m", "coverage", "json", f"--data-file={folder / 'data'}", "-o", str(folder / "found.json"), "-q"]
    subprocess.run(report, cwd=TESTS.parent, check=True)
    found = json.loads((folder / "found.json").read_text())["totals"]
    share = 100 * found["covered_branches"] / found["num_branches"]
    return share >= 95, f"{share:.1f} % of {found['num_branches']} branches, with lines {found['percent_covered']:.1f} % (95)"


def kills(data: Path, folder: Path) -> Verdict:
    """kill -9 at 200 random moments of encode: no partial file at the final name."""
    Image.fromarray(smooth_picture(300, 300)).save(folder / "a.png")
    command = program_command("encode", folder / "a.png", folder / "a.vqz", "-f", "-m", "photo-lite")
    start = time.perf_counter()
    subprocess.run(command, env=program_environment(), check=True, capture_output=True)
    whole_s, good = time.perf_counter() - start, (folder / "a.vqz").read_bytes()
    (folder / "a.vqz").unlink()
    rng, complete, partial = random.Random(12), 0, 0
    for _ in range(200):
        process = subprocess.Popen(command, env=program_environment(), stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 1.2 * whole_s))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (folder / "a.vqz").exists():
            complete += (folder / "a.vqz").read_bytes() == good
            partial += (folder / "a.vqz").read_bytes() != good
            (folder / "a.vqz").unlink()
    return partial == 0, f"200 kills: {complete} files complete, {partial} partial, the others not there"


def large_picture(path: Path, side: int) -> None:
    """A square picture of photos' statistics, uncompressed, made row by row."""
    tile = smooth_picture(500, 500)
    noise = np.random.default_rng(0).integers(-9, 10, (side, 500, 3))
    with open(path, "wb") as file:
        file.write(f"P6 {side} {side} 255\n".encode())
        for row in range(side):
            line = np.clip(tile[row % 500].astype(int) + noise[row], 0, 255).astype(np.uint8)
            file.write(np.tile(line, (-(-side // 500), 1))[:side].tobytes())


def memory(data: Path, folder: Path) -> Verdict:
    """Peak memory at 1, 24 and 100 megapixels: at most 150 MB + 12 bytes a pixel; 1 % of 100 megapixels in a twentieth of the time,
    from a tenth of the bytes, with one thread and with two."""
    good, found = True, []
    for side in (1000, 4900, 10_000):
        source, file, back = folder / "a.ppm", folder / "a.vqz", folder / "b.ppm"
        large_picture(source, side)
        limit = 150 + 12 * side * side / 1e6
        encode = peak_of_program("encode", source, file, "-m", "photo-lite", "-f")
        source.unlink()
        decode = peak_of_program("decode", file, back, "-f", "--refine", "none")
        good &= max(encode, decode) <= limit
        found.append(f"{side * side / 1e6:.0f} MP: encode {encode:.0f}, decode {decode:.0f} of {limit:.0f} MB")
    for threads in (2, 1):
        with get_context("spawn").Pool(1) as own:  # a process that holds nothing else
            first, usual, share = own.apply(shares_of_region, (file, threads))
        good &= usual < 1 / 20 and share < 0.1
        times = f"{usual:.1%} of the time of the whole ({first:.1%} the first time)"
        found.append(f"region of 1 %, threads {threads}: {times}, {share:.1%} of the bytes")
    return good, "; ".join(found)


def shares_of_region(file: Path, threads: int) -> tuple[float, float, float]:
    """Shares that a region of 1 % takes of the plain decode of 100 megapixels: of the time at first, as the median of nine more
    runs, and of the bytes. The time of the whole is the median of three."""
    shares: list[float] = []

    def read_region() -> None:
        with api.open_vqz(file) as opened:
            opened.read((4500, 4500, 1000, 1000), refine="none", threads=threads)
            shares.append(opened.file.read_bytes / opened.file.size)

    first_s = seconds_of(read_region)  # with the model's loading
    region_s = statistics.median(seconds_of(read_region) for _ in range(9))
    whole_s = statistics.median(seconds_of(lambda: api.decode(file.read_bytes(), refine="none", threads=threads)) for _ in range(3))
    return first_s / whole_s, region_s / whole_s, shares[0]


def seconds_of(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def odd(data: Path, folder: Path) -> Verdict:
    """data/odd through encode and decode: refused with one error where it is, no other exception, the right size where not."""
    accepted, refused, other = 0, 0, []
    with warnings.catch_warnings(action="ignore"):
        for path in sorted(p for p in (data / "odd").rglob("*") if p.is_file()):
            try:
                picture = read_image(path)
                found = api.decode(api.encode(picture.pixels, model="photo-lite", metadata=picture.metadata, effort=1))
                if found.shape != picture.pixels.shape or found.dtype != picture.pixels.dtype:
                    other.append(path.name)
                accepted += 1
            except VqcodecError:
                refused += 1
            except Exception as error:
                other.append(f"{path.name}: {error!r}")
    return not other, f"{accepted} encoded and decoded, {refused} refused; otherwise: {other or 'none'}"


def batch(data: Path, folder: Path) -> Verdict:
    """A folder of 1,000 pictures, 10 % of them corrupt: 900 done, 100 listed, exit code not 0."""
    source = folder / "in"
    source.mkdir()
    stream = io.BytesIO()
    for number in range(1000):
        stream = io.BytesIO()
        Image.fromarray(smooth_picture(24, 32, seed=number)).save(stream, "PNG")
        content = stream.getvalue()
        (source / f"{number:04}.png").write_bytes(content[: len(content) // 2] if number % 10 == 7 else content)
    command = program_command("encode", source, folder / "out", "-j", os.cpu_count(), "-m", "photo-lite", "--effort", 1, "--json")
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=program_environment(), check=False)
    facts = json.loads(done.stdout)
    files = len(list((folder / "out").rglob("*.vqz")))
    found = f"{facts['done']} done, {len(facts['failed'])} listed, exit {done.returncode}, {time.perf_counter() - start:.0f} s"
    return (facts["done"], files, len(facts["failed"])) == (900, 900, 100) and done.returncode != 0, found


TRIALS = (flips, resealed, fuzz, coverage, kills, interrupts, memory, odd, batch)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    names = [trial.__name__ for trial in TRIALS]
    parser.add_argument("trials", nargs="*", choices=[*names, []], metavar="TRIAL")  # Python 3.11 looks for none at all, too
    parser.add_argument("--data", type=Path, default=TESTS.parent.parent / "shared" / "data")
    arguments = parser.parse_args()
    registry.find("photo-lite")
    missed = 0
    for trial in TRIALS:
        if not arguments.trials or trial.__name__ in arguments.trials:
            with tempfile.TemporaryDirectory() as folder:
                good, text = trial(arguments.data, Path(folder))
            missed += good is False
            print(f"{trial.__name__}: {VERDICTS[good]}: {text}", flush=True)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", file=sys.stderr)
    sys.exit(missed > 0)
