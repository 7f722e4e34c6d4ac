"""Files appear complete or not at all, whatever happens while they are written."""

import errno
import io
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.marks import fast_first
from helpers.processes import program_environment
from vqcodec.errors import InputError, LimitError, MissingExtraError, OutputError, printable
from vqcodec.io.files import (
    STREAM,
    Attributes,
    attributes_of,
    check_output,
    make_mirror,
    make_parent,
    naming,
    new_folder,
    read_head,
    read_input,
    write_atomic,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_new_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_existing_file_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already; -f"):
        write_atomic(tmp_path / "a", b"new", overwrite=False)
    with pytest.raises(OutputError, match="exists already; -f"):
        check_output(tmp_path / "a", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_overwriting_keeps_the_permissions(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o600)
    check_output(tmp_path / "a", overwrite=True)
    write_atomic(tmp_path / "a", b"new", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_new_file_has_the_permissions_that_others_have(tmp_path: Path) -> None:
    for mask, mode in ((0o027, 0o640), (0, 0o666)):
        before = os.umask(mask)
        try:
            write_atomic(tmp_path / f"{mask}", b"one", overwrite=False)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{mask}").stat().st_mode) == mode


def test_permissions_and_times_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"")
    (tmp_path / "source").chmod(0o4604)
    os.utime(tmp_path / "source", ns=(3 * 10**9, 5 * 10**9))
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "link").symlink_to("source")
    for name in ("source", "link"):
        assert attributes_of(tmp_path / name, keep_times=True) == Attributes(0o604, (3 * 10**9, 5 * 10**9))
    assert attributes_of(tmp_path / "source", keep_times=False) == Attributes(0o604)
    for path in (STREAM, tmp_path / "pipe", Path("/dev/null"), tmp_path / "none"):
        assert attributes_of(path, keep_times=True) == Attributes()
    for name, before, after in (("new", None, 0o604), ("private", 0o600, 0o600), ("open", 0o666, 0o604), ("other", 0o640, 0o600)):
        if before is not None:
            (tmp_path / name).write_bytes(b"old")
            (tmp_path / name).chmod(before)
        write_atomic(tmp_path / name, b"new", overwrite=True, attributes=Attributes(0o604, (3 * 10**9, 5 * 10**9)))
        found = (tmp_path / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_atime_ns, found.st_mtime_ns) == (after, 3 * 10**9, 5 * 10**9)


def test_a_mirror_is_made_from_its_top(tmp_path: Path) -> None:
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    (tmp_path / "in" / "a").chmod(0o711)
    for _ in range(2):
        make_mirror(tmp_path / "in" / "a" / "b", tmp_path / "x" / "out" / "a" / "b", 2)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("in", "x", "x/out", "x/out/a", "x/out/a/b")}
    assert modes == {"in": 0o755, "x": 0o755, "x/out": 0o755, "x/out/a": 0o711, "x/out/a/b": 0o755}
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*/file/b: "):
        make_mirror(tmp_path / "in" / "a" / "b", tmp_path / "file" / "b", 1)


def test_the_head_of_a_file_is_read_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_head(tmp_path / "a", 4) == b"0123"
    assert read_head(tmp_path / "a", 99) == b"0123456789"
    os.mkfifo(tmp_path / "pipe")
    assert read_head(tmp_path / "pipe", 4) == b""  # another way of opening would wait for a writer


def test_a_name_taken_while_writing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def slow_sync(descriptor: int) -> None:
        (tmp_path / "a").write_bytes(b"theirs")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_sync)
    with pytest.raises(OutputError, match="exists already"):
        write_atomic(tmp_path / "a", b"ours", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"theirs"
    assert names(tmp_path) == ["a"]


def test_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    write_atomic(tmp_path / "a", b"one", overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        write_atomic(tmp_path / "a", b"two", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_a_link_that_fails_for_another_reason_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OutputError, match="Input/output error"):
        write_atomic(tmp_path / "a", b"one", overwrite=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(errno.EIO, "Input/output error")])
def test_no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(descriptor: int) -> None:
        raise error

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, MemoryError, OutputError)):
        write_atomic(tmp_path / "a", b"new", overwrite=True)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("far/target")
    (tmp_path / "dangling").symlink_to("far/other")
    with pytest.raises(OutputError, match="exists already"):
        write_atomic(tmp_path / "link", b"new", overwrite=False)
    write_atomic(tmp_path / "link", b"new", overwrite=True)
    write_atomic(tmp_path / "dangling", b"other", overwrite=False)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "target").read_bytes() == b"new"
    assert (tmp_path / "far" / "other").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "it is a folder"),
        ("nowhere/a", "folder does not exist|No such file"),
        ("file/a", "folder does not exist|Not a directory"),
        ("loop", "symbolic links"),
        ("x" * 256, "too long"),
    ],
)
def test_unwritable(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=reason):
            write_atomic(tmp_path / name, b"data", overwrite=overwrite)
    assert names(tmp_path) == ["file", "loop"]


@pytest.mark.parametrize("name", ["x" * 255, "ünïcödé ✓", "new\nline", "-dash", "\udcff", "a'b\"c"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, b"data", overwrite=False)
    assert read_input(tmp_path / name, limit_bytes=4) == b"data"
    assert names(tmp_path) == [name]


def test_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    check_output(tmp_path / "pipe", overwrite=False)
    write_atomic(tmp_path / "pipe", b"data" * 50_000, overwrite=False)
    reader.join(10)
    assert got == [b"data" * 50_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_full_device() -> None:
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(Path("/dev/full"), b"data", overwrite=False)


def test_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="File too large"):
            write_atomic(tmp_path / "a", bytes(5000), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_input_as_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"data")
    os.link(tmp_path / "a", tmp_path / "same")
    (tmp_path / "link").symlink_to("a")
    for other in ("a", "same", "link"):
        with pytest.raises(OutputError, match="input and output at once"):
            check_output(tmp_path / other, overwrite=True, source=tmp_path / "a")
    check_output(tmp_path / "b", overwrite=False, source=tmp_path / "a")
    check_output(STREAM, overwrite=False, source=STREAM)


def test_reading(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    assert read_input(tmp_path / "a", limit_bytes=10) == bytes(10)
    with pytest.raises(LimitError, match="over 9 bytes"):
        read_input(tmp_path / "a", limit_bytes=9)
    with pytest.raises(InputError, match="No such file"):
        read_input(tmp_path / "b", limit_bytes=9)
    with pytest.raises(InputError, match="directory"):
        read_input(tmp_path, limit_bytes=9)
    with pytest.raises(LimitError):
        read_input(Path("/dev/zero"), limit_bytes=100_000)


def test_a_high_limit_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert len(read_input(tmp_path / "a", limit_bytes=1 << 60)) == 3_000_000
    with pytest.raises(LimitError, match="over 2999999 bytes"):
        read_input(tmp_path / "a", limit_bytes=2_999_999)


def test_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"in")))
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    write_atomic(STREAM, read_input(STREAM, limit_bytes=2), overwrite=False)
    assert out.buffer.getvalue() == b"in"  # type: ignore[attr-defined]  # the fake has a buffer


@given(st.text())
def test_printable_is_one_harmless_line(text: str) -> None:
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


WRITER = """
import signal, sys, time
from pathlib import Path
from vqcodec.io.files import write_atomic
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, or in the background
signal.signal(signal.SIGINT, signal.default_int_handler)
data = bytes(4_000_000)
print("ready", flush=True)
while True:
    write_atomic(Path(sys.argv[1]), data, overwrite=True)
"""


@pytest.mark.parametrize("number", fast_first([signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
def test_killed_while_writing(tmp_path: Path, number: signal.Signals) -> None:
    """At any moment the file is absent or complete; only SIGKILL may leave a temporary file behind."""
    target = tmp_path / "a"
    for attempt in range(6):
        target.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=program_environment(),
        )
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"
        time.sleep(0.0023 * attempt)
        process.send_signal(number)
        process.wait(10)
        assert not target.exists() or target.stat().st_size == 4_000_000
        if number != signal.SIGKILL:
            assert set(names(tmp_path)) <= {"a"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_an_old_folder_is_restored_if_the_new_one_cannot_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    rename = Path.rename

    def refuse_the_new(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp":
            raise error
        return rename(path, target)

    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "marker").write_bytes(b"old")
    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with (
        pytest.raises((KeyboardInterrupt, OutputError)),
        new_folder(tmp_path / "made", overwrite=True, marker="marker", known=[]) as folder,
    ):
        (folder / "marker").write_bytes(b"new")
    assert names(tmp_path) == ["made"]
    assert (tmp_path / "made" / "marker").read_bytes() == b"old"


def test_a_link_to_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "marker").touch()
    (tmp_path / "link").symlink_to("far")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        with (
            pytest.raises(OutputError, match="is not replaced"),
            new_folder(tmp_path / name, overwrite=True, marker="marker", known=[]),
        ):
            raise AssertionError("the work was begun")
        assert (tmp_path / name).is_symlink()


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (InputError("has no pixels"), "a: has no pixels"),
        (InputError("a has no pixels"), "a has no pixels"),
        (InputError("a: no pixels"), "a: no pixels"),
        (InputError("cannot read a: it is gone"), "cannot read a: it is gone"),
        (InputError("cannot read an index"), "a: cannot read an index"),
        (LimitError("not a size"), "a: not a size"),
        (MissingExtraError("install a"), "install a"),
        (MemoryError(), "a: not enough memory"),
    ],
)
def test_errors_name_their_file_once(error: Exception, reported: str) -> None:
    expected = LimitError if isinstance(error, MemoryError) else type(error)
    with pytest.raises(expected) as caught, naming(Path("a")):
        raise error
    assert (str(caught.value), type(caught.value)) == (reported, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="root, whom tests may run as, makes files everywhere but in /proc")
def test_a_folder_in_which_no_file_can_be_made_is_found_early(tmp_path: Path) -> None:
    make_parent(tmp_path / "new" / "a")
    assert names(tmp_path / "new") == []
    with pytest.raises(OutputError, match="cannot write /proc/a: "):
        make_parent(Path("/proc/a"))


def test_a_folder_whose_making_is_terminated_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from vqcodec.io.files import new_folder\n"
        "with new_folder(Path(sys.argv[1]), overwrite=False, marker='marker', known=[]) as folder:\n"
        "    (folder / 'marker').write_bytes(b'half')\n"
        "    print(len(list(folder.parent.iterdir())), flush=True)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "made")]
    done = subprocess.run(command, env=program_environment(), capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert done.stdout == b"1\n"
    assert names(tmp_path) == []
