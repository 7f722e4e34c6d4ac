"""The trial `interrupts`: signals at random moments of every command of the program."""

import io
import json
import os
import random
import signal
import subprocess
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from safetensors.numpy import load as load_tensors

from helpers.pictures import smooth_picture
from helpers.processes import program_command, program_environment, restore_default_signals

SIGNALS = 300
LIMIT_S = 2.0
"""Most seconds from the signal to the end of the program and its processes."""
_PATIENCE_S = 60.0
"""Seconds after which processes that have not ended are killed."""
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TRAINING_S = 12.0
"""Seconds of training within which signals come; a whole training takes minutes."""
_OLD = b"an old output"


@dataclass(frozen=True)
class _Command:
    """A command of the program, run in an empty folder. `old` are earlier outputs, which it overwrites. With a `span_s`, signals
    come within that many seconds and the command is never run to its end."""

    name: str
    words: Sequence[object]
    old: Mapping[str, bytes] = field(default_factory=dict)
    span_s: float | None = None

    def begin(self, folder: Path) -> "subprocess.Popen[bytes]":
        """Start it in out/ of a new folder, in its own session, with output to the files stdout and stderr."""
        for name in ("out", "tmp"):
            (folder / name).mkdir(parents=True)
        for name, content in self.old.items():
            (folder / "out" / name).write_bytes(content)
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            return subprocess.Popen(
                program_command(*self.words),
                cwd=folder / "out",
                env=program_environment() | {"TMPDIR": str(folder / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=restore_default_signals,
            )


def _commands(folder: Path) -> list[_Command]:
    """All commands, on small pictures that are made in `folder`."""
    photos, files = folder / "photos", folder / "files"
    photos.mkdir()
    for seed in range(5):
        Image.fromarray(smooth_picture(160, 200, seed=seed)).save(photos / f"{seed}.png")
    small, large, mask = photos / "0.png", folder / "large.png", folder / "mask.png"
    Image.fromarray(smooth_picture(800, 800)).save(large)
    Image.fromarray(smooth_picture(28, 28, 1)).save(folder / "digit.png")
    Image.fromarray((smooth_picture(28, 28, 1) > 128).astype("uint8") * 255).save(mask)
    tiled: list[object] = ["--tile", 128, "--threads", 3, "--effort", 1]
    for words in (["encode", photos, files, "--effort", 1], ["encode", large, folder / "large.vqz", *tiled]):
        subprocess.run(program_command(*words), env=program_environment(), capture_output=True, check=True)
    vqz, a_vqz, a_png = files / "0.vqz", {"a.vqz": _OLD}, {"a.png": _OLD}
    return [
        _Command("encode", ["encode", small, "a.vqz", "-f"], a_vqz),
        _Command("encode tiles", ["encode", large, "a.vqz", "-f", *tiled], a_vqz),
        _Command("encode folder", ["encode", photos, "a", "-j", 2, "--manifest", "a.jsonl", "-m", "photo-lite"]),
        _Command("train lite", ["train", photos, "-o", "model", "--kind", "lite", "--keep"], span_s=_TRAINING_S),
        _Command("decode", ["decode", vqz, "a.png", "-f"], a_png),
        _Command("decode tiles", ["decode", folder / "large.vqz", "a.png", "-f", "--threads", 3], a_png),
        _Command("decode gan", ["decode", vqz, "a.png", "-f", "--refine", "gan"], a_png),
        _Command("decode folder", ["decode", files, "a", "-j", 2]),
        _Command("train neural", ["train", photos, "-o", "model", "--kind", "neural", "--steps", 50, "--keep"], span_s=_TRAINING_S),
        _Command("info", ["info", vqz, "--indices", "a.npz", "-f"], {"a.npz": _OLD}),
        _Command("verify", ["verify", vqz, folder / "large.vqz"]),
        _Command("models", ["models", "--json"]),
        _Command("denoise", ["denoise", large, "a.png", "-f"], a_png),
        _Command("train denoiser", ["train", photos, "-o", "model", "--kind", "denoiser", "--steps", 50], span_s=_TRAINING_S),
        _Command("generate", ["generate", "-m", "mnist-prior", "-n", 4, "-o", "a"]),
        _Command("repair", ["repair", folder / "digit.png", "a.png", "-f", "--mask", mask, "-m", "mnist-prior"], a_png),
        _Command("compare", ["compare", small, vqz, "-o", "a.png", "-f"], a_png),
        _Command("bench", ["bench", photos, "-j", 2, "--codecs", "vqz:photo-lite:1,jpeg", "--qualities", 50, "-o", "a"]),
    ]


@dataclass
class _Found:
    """Counts of the ways in which programs ended."""

    slowest_s: float = 0.0
    died: int = 0
    finished: int = 0
    before_the_first_line: int = 0
    """Ended by SIGINT with a traceback and an exit code of Python's own, before the program's first line could set it right."""
    misses: list[str] = field(default_factory=list)


def interrupts(data: Path, folder: Path) -> tuple[bool, str]:
    """300 signals to the program or to its group, at random moments of every command: all ends within 2 s, by the signal, without a
    traceback or a file that is not complete."""
    commands = _commands(folder)
    whole: dict[str, dict[str, bytes]] = {}
    spans: dict[str, float] = {}
    for command in commands:
        if command.span_s is None:
            start = time.perf_counter()
            assert command.begin(folder / command.name).wait() == 0, (command.name, (folder / command.name / "stderr").read_text())
            spans[command.name] = 1.05 * (time.perf_counter() - start)
            whole[command.name] = _files(folder / command.name / "out")
        else:
            spans[command.name], whole[command.name] = command.span_s, {}
    rng, found = random.Random(25), _Found()
    for number in range(SIGNALS):
        command = commands[number % len(commands)]
        send, sent = rng.choice([os.kill, os.killpg]), rng.choice(_NUMBERS)
        moment_s = rng.uniform(0, spans[command.name])
        place = folder / str(number)
        process = command.begin(place)
        time.sleep(moment_s)
        send(process.pid, sent)
        misses = _watch_the_end(process, sent, (place / "stderr"), found)
        misses += _not_whole(_files(place / "out"), whole[command.name], command.old)
        misses += [f"{name} is left" for name in _files(place / "tmp")]
        found.misses += [f"{command.name}, {sent.name} by {send.__name__} after {moment_s:.2f} s: {miss}" for miss in misses]
    text = f"{SIGNALS} signals: {found.died} ended by it, {found.finished} had ended, {found.before_the_first_line} came before the"
    text += f" program's first line; all within {found.slowest_s:.2f} s; otherwise: {found.misses or 'none'}"
    return not found.misses, text


def _watch_the_end(process: "subprocess.Popen[bytes]", sent: signal.Signals, errors: Path, found: _Found) -> list[str]:
    """Faults in the way in which a program ended after a signal."""
    start = time.perf_counter()
    ended_s = 0.0
    while process.poll() is None or (left := _session(process.pid)):
        ended_s = time.perf_counter() - start
        if ended_s > _PATIENCE_S:
            break
        time.sleep(0.002)
    misses = []
    found.slowest_s = max(found.slowest_s, ended_s)
    if ended_s > LIMIT_S:
        misses.append(f"ended after {ended_s:.1f} s")
    if ended_s > _PATIENCE_S:
        left = _session(process.pid)
        misses.append(f"processes {left} did not end")
        for number in left:
            os.kill(number, signal.SIGKILL)
    code, error = process.wait(), errors.read_text()
    if "Traceback" in error and sent == signal.SIGINT and ", in main\n" not in error:
        found.before_the_first_line += 1
        return misses
    if "Traceback" in error or "KeyboardInterrupt" in error:
        misses.append(error)
    if code not in (0, -sent):
        misses.append(f"exit code {code}")
    found.died += code == -sent
    found.finished += code == 0
    return misses


def _session(leader: int) -> list[int]:
    """Processes of a session that still run."""
    numbers = []
    for name in os.listdir("/proc"):
        try:
            state, _, _, session = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):  # no process, or one that has ended since
            continue
        if int(session) == leader and state not in "ZX":
            numbers.append(int(name))
    return numbers


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _not_whole(files: Mapping[str, bytes], whole: Mapping[str, bytes], old: Mapping[str, bytes]) -> list[str]:
    """Faults in the outputs of an interrupted command: each must be the old one, the new one or, where it has times in it
    or is replaced again and again, one that can be read."""
    wrong = [f"{name} is lost" for name in old if name not in files]
    for name, content in files.items():
        if content not in (whole.get(name), old.get(name)) and not _can_be_read(name, content):
            wrong.append(f"{name} is left ({len(content)} bytes)")
    return wrong


def _can_be_read(name: str, content: bytes) -> bool:
    try:
        if name.endswith(".json"):
            json.loads(content)
        elif name.endswith(".jsonl"):
            for line in content.splitlines():
                json.loads(line)
        elif name.endswith(".safetensors"):
            load_tensors(content)
        else:
            return name.endswith((".md", ".html", ".svg")) or (
                name.endswith(".checkpoint") and zipfile.is_zipfile(io.BytesIO(content))
            )
    except Exception:
        return False
    return True
