"""Reading and writing whole files: `-` for streams, atomic writes, system errors as VqcodecErrors."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from vqcodec.errors import InputError, LimitError, MissingExtraError, OutputError, VqcodecError, printable
from vqcodec.runtime.interrupts import termination_raises

_PIECE_BYTES: Final = 1 << 20
STREAM: Final = Path("-")
"""Standard input or standard output."""
STDOUT: Final = (STREAM, Path("/dev/stdout"))
"""Names of standard output. Opening the device would truncate a file to which the shell appends with >>."""
_NO_LINKS: Final = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
"""Errors of os.link on file systems without hard links (FAT, some network mounts)."""
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
"""Flags of os.open that only POSIX or only Windows has."""


def name_of(path: Path, stream: str = "standard input") -> str:
    """Name of a file for messages; `stream` is the name of `-`."""
    return stream if path == STREAM else printable(path)


@contextmanager
def naming(path: Path, stream: str = "standard input") -> Iterator[None]:
    """Make VqcodecErrors in the block name the file `path`: at the start of the message, or after "cannot read" or "cannot write".
    A MemoryError becomes a LimitError."""
    name = name_of(path, stream)
    try:
        yield
    except MissingExtraError:  # about the installation
        raise
    except VqcodecError as error:
        if re.match(rf"(cannot (read|write) )?{re.escape(name)}(?!\w)", str(error)):
            raise
        raise type(error)(f"{name}: {error}") from error
    except MemoryError as error:
        raise LimitError(f"{name}: not enough memory") from error


# ------------------------------------------------------------------------------------------------ reading


def stream_limit(max_pixels: int) -> int:
    """Limit in bytes for a file or stream that is read whole: 4 per pixel, and 64 MiB for everything else."""
    return 4 * max_pixels + 2**26


class _Input(io.RawIOBase):
    """A stream for reading whose system errors are InputErrors."""

    def __init__(self, stream: BinaryIO, name: str, *, seekable: bool) -> None:
        self._stream, self._name, self._seekable = stream, name, seekable

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable and self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int | None:
        try:
            return self._stream.readinto(buffer)  # type: ignore[attr-defined]  # all streams have it
        except OSError as error:
            raise _unreadable(self._name, error) from error


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; for `-` standard input, from its current position and not seekable.

    Raises InputError for system errors while opening and reading; other errors of the block pass unchanged.
    """
    if path == STREAM:
        yield io.BufferedReader(_Input(sys.stdin.buffer, "standard input", seekable=False))
        return
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed below: errors of the block are not those of opening)
    except OSError as error:
        raise _unreadable(printable(path), error) from error
    with file:
        yield io.BufferedReader(_Input(file, printable(path), seekable=True))


def _unreadable(name: str, error: OSError) -> InputError:
    return InputError(f"cannot read {name}: {_reason(error)}")


def read_stream(stream: BinaryIO, limit_bytes: int) -> bytes:
    """All bytes of `stream`. Raises LimitError if there are more than `limit_bytes`."""
    data, left = io.BytesIO(), limit_bytes + 1
    while left and (piece := stream.read(min(left, _PIECE_BYTES))):  # in pieces: a single read would allocate the limit first
        data.write(piece)
        left -= len(piece)
    if not left:
        raise LimitError(f"the input is over {limit_bytes} bytes; --max-pixels raises the limit")
    return data.getvalue()


def seekable(stream: BinaryIO, max_pixels: int) -> BinaryIO:
    """The stream, or if it cannot seek, its remaining bytes in memory: at most those of a picture of `max_pixels`."""
    if hasattr(stream, "seekable") and stream.seekable():
        return stream
    return io.BytesIO(read_stream(stream, stream_limit(max_pixels)))


def read_input(path: Path, *, limit_bytes: int) -> bytes:
    """All bytes of a file, or of standard input for `-`. Raises InputError, LimitError."""
    with open_input(path) as stream:
        return read_stream(stream, limit_bytes)


def read_head(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file, or all if it has fewer. Never waits for the writer of a pipe. Raises OSError."""
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _NONBLOCK)) as file:
        return file.read(count) or b""


def peek(stream: BinaryIO, count: int) -> bytes:
    """The first `count` bytes of a seekable stream, whose position is kept."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read(count)
    stream.seek(position)
    return data


def why_no_file(path: Path) -> str:
    """The reason not to open something that is not a file, which might block or have effects. Empty for a file, and if the error
    will come from reading it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a broken link" if os.path.islink(path) else ""
    except OSError as error:
        return f"a link that cannot be followed: {error.strerror}" if os.path.islink(path) else ""
    if stat.S_ISREG(mode):
        return ""
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


# ------------------------------------------------------------------------------------------------ writing


class Attributes(NamedTuple):
    """Attributes that an output takes from its source: `mode`, an upper bound of its permissions, and `times`, access and
    modification time in nanoseconds, if they are kept."""

    mode: int = 0o7777
    times: tuple[int, int] | None = None


def attributes_of(source: Path, *, keep_times: bool) -> Attributes:
    """Attributes of a file; the defaults for streams, pipes, devices and files that cannot be read."""
    try:
        found = None if source == STREAM else source.stat()
    except OSError:  # the error will come from reading it
        found = None
    if found is None or not stat.S_ISREG(found.st_mode):
        return Attributes()
    return Attributes(found.st_mode & 0o777, (found.st_atime_ns, found.st_mtime_ns) if keep_times else None)


def make_mirror(source: Path, folder: Path, depth: int) -> None:
    """Make `folder`, the mirror of the folder `source`, which is `depth` levels below the top of the mirrored tree, and its missing
    parents.

    Group and others get no more permissions than in the source. Raises OutputError.
    """
    if os.path.isdir(folder):
        return
    with output_errors(folder):
        for above in range(depth, -1, -1):
            original, mirror = ((path, *path.parents)[above] for path in (source, folder))
            mode = original.stat().st_mode & 0o777 | stat.S_IRWXU  # the owner must be able to write files
            mirror.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):  # made by another process, or a file: writing into it will fail
                mirror.mkdir(mode)


def check_output(path: Path, *, overwrite: bool, source: Path | None = None) -> None:
    """Check before the work what `write_atomic` would refuse after it.

    Raises OutputError if `path` is a folder, its folder is missing, it exists and `overwrite` is false, or it is the same file as
    `source`, which would be lost.
    """
    if path in STDOUT:
        return
    name = printable(path)
    try:
        if not os.path.isdir(path.parent):
            raise OutputError(f"cannot write {name}: its folder does not exist")
        if not path.exists():
            return
        if source is not None and source != STREAM and source.exists() and path.samefile(source) and path.is_file():
            raise OutputError(f"{name} is input and output at once")
        _refuse_existing(path, path.stat().st_mode, overwrite)
    except OSError as error:
        raise OutputError(f"cannot write {name}: {_reason(error)}") from error


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn system errors in the block into OutputErrors about `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {printable(path)}: {_reason(error)}") from error


def write_atomic(path: Path, data: bytes | memoryview, *, overwrite: bool, attributes: Attributes | None = None) -> None:
    """Write `data` to `path`, or to standard output for `-`. The file appears complete or not at all.

    A temporary file in the same folder is written, synced and hard-linked to the name (which fails if the name has appeared
    meanwhile) or, to overwrite, renamed to it. It gets the permissions of a new file, or of the one that it replaces, within those
    of `attributes`. Symbolic links are followed; pipes and devices are written to directly. Errors, interrupts and termination
    signals leave nothing behind. Raises OutputError; an old file is then unchanged.
    """
    name = "standard output" if path in STDOUT else printable(path)
    try:
        if path in STDOUT:
            _write_stdout(data)
        else:
            with termination_raises():
                _write_path(path, data, overwrite, attributes or Attributes())
    except OSError as error:
        raise OutputError(f"cannot write {name}: {_reason(error)}") from error


def check_new_folder(path: Path, *, overwrite: bool, marker: str, known: Sequence[str]) -> None:
    """Check before the work what `new_folder` would refuse. Raises OutputError."""
    with output_errors(path):
        if not os.path.lexists(path):
            return
        names = [] if path.is_symlink() or not path.is_dir() else sorted(entry.name for entry in path.iterdir())
        if path.is_symlink() or not path.is_dir() or (names and marker not in names):
            raise OutputError(f"cannot write {printable(path)}: it has no {marker}, and is not replaced")
        for name in names:
            if name != marker and not any(fnmatch(name, pattern) for pattern in known):
                raise OutputError(f"cannot write {printable(path)}: {printable(name)} in it would be lost")
        if not overwrite:
            raise OutputError(_exists(path))


def make_parent(path: Path) -> None:
    """Make the parent folder of `path` if it is missing, and check that files can be made in it. Raises OutputError."""
    from tempfile import TemporaryFile  # 10 ms, which decoding saves

    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=path.parent):
            pass


@contextmanager
def new_folder(path: Path, *, overwrite: bool, marker: str, known: Sequence[str]) -> Iterator[Path]:
    """A temporary folder that becomes `path` if the block succeeds, and is removed otherwise.

    An existing folder is replaced only if it is empty, or holds a file `marker` and otherwise only files that match `known` names
    or patterns. Raises OutputError; the old folder is then unchanged.
    """
    check_new_folder(path, overwrite=overwrite, marker=marker, known=known)
    token = os.urandom(8).hex()
    temporary, old = (path.parent / f".{token}.{kind}" for kind in ("tmp", "old"))
    try:
        with termination_raises():
            try:
                temporary.mkdir(parents=True)
                yield temporary
                _sync(temporary)
                if path.exists():
                    path.rename(old)
                temporary.rename(path)
            finally:
                if old.exists() and not path.exists():
                    old.rename(path)
                shutil.rmtree(temporary, ignore_errors=True)
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {printable(path)}: {_reason(error)}") from error


def _sync(folder: Path) -> None:
    """Write the files of a folder and their names to the disk."""
    windows = sys.platform == "win32"  # it syncs no folders, and files only if they are open for writing
    for path in (*folder.iterdir(), *([] if windows else [folder])):
        descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_stdout(data: bytes | memoryview) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise stdout_error(error) from error


class BrokenPipeOutputError(OutputError):
    """The reader of standard output has closed it."""


def stdout_error(error: OSError) -> OutputError:
    """The OutputError for a failed write to standard output, which is then redirected to the null device: the interpreter flushes
    it at exit and would report the same error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    kind = BrokenPipeOutputError if isinstance(error, BrokenPipeError) else OutputError
    return kind(f"cannot write standard output: {_reason(error)}")


def open_closed_streams() -> None:
    """Reopen standard streams that the caller has closed (`>&-`), so that using them fails. Python has None for them, and the next
    file opened would get their descriptor, and with it the output."""
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_RDWR, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: SIM115 (open to the end)


def _write_path(path: Path, data: bytes | memoryview, overwrite: bool, attributes: Attributes) -> None:
    """The part of `write_atomic` for a path: a regular file through a temporary one, a pipe or a device directly."""
    old_mode: int | None = None
    with suppress(FileNotFoundError):
        old_mode = path.stat().st_mode
    if old_mode is not None:
        _refuse_existing(path, old_mode, overwrite)
        if not stat.S_ISREG(old_mode):
            with open(path, "wb", buffering=0) as stream:
                write_all(stream.fileno(), data)
            return

    target = Path(os.path.realpath(path))  # a symbolic link stays one, and its target is replaced
    temporary = target.parent / f".{os.urandom(8).hex()}.tmp"  # short: the target's own name may have 255 bytes
    try:
        _write_synced(temporary, data, old_mode, attributes)
        if overwrite:
            os.replace(temporary, target)
        else:
            _link_new(temporary, target, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _write_synced(path: Path, data: bytes | memoryview, old_mode: int | None, attributes: Attributes) -> None:
    """Write a new file to the disk. `old_mode` is that of the file that it will replace."""
    highest_mode = attributes.mode
    if sys.platform == "win32":
        highest_mode |= stat.S_IWRITE  # a read-only file cannot get its name
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY, 0o666 & highest_mode)
    try:
        if old_mode is not None:
            os.chmod(path, stat.S_IMODE(old_mode) & highest_mode)  # a private file stays private
        write_all(descriptor, data)
        if attributes.times is not None:
            os.utime(path, ns=attributes.times)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all data. The system may take only a part if a disk is nearly full, and refuse the rest in the next call."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _link_new(temporary: Path, target: Path, path: Path) -> None:
    """Give the finished file its name, unless another writer has taken it meanwhile."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if error.errno == errno.EEXIST or os.path.lexists(target):
            raise OutputError(_exists(path)) from error
        if error.errno not in _NO_LINKS:
            raise
        os.replace(temporary, target)


def _refuse_existing(path: Path, mode: int, overwrite: bool) -> None:
    """Raise OutputError for a folder, and for an existing file unless it may be overwritten."""
    if stat.S_ISDIR(mode):
        raise OutputError(f"cannot write {printable(path)}: it is a folder")
    if stat.S_ISREG(mode) and not overwrite:
        raise OutputError(_exists(path))


def _exists(path: Path) -> str:
    return f"{printable(path)} exists already; -f overwrites it"


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
