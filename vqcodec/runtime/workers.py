"""The parts of one picture on several cores.

Work on a part is thousands of short numpy calls, and a thread must acquire Python's lock again after each: two threads were slower
than one (docs/experiments/2026-11-26-processes.md). So copies of this process share the work, unless other threads run in it; then
threads do.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vqcodec.runtime import progress
from vqcodec.runtime.blas import end_idle_threads
from vqcodec.runtime.interrupts import end_with_the_parent, interrupts_raise_once, interrupts_wait

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST_TURNS: Final = 1024
"""Turns, in which workers take items. Their numbers must fit into the smallest pipe, of 4096 bytes."""
_TURN_BYTES: Final = 4


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """[work(item) for item in items], on up to `workers` cores.

    If several items raise an error, that of the first is raised. Work may be done in a copy of this process: whatever it stores is
    lost, except in arrays of `shared_empty`. Each item is a step of a stage (progress.py). Raises MemoryError if a copy was killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        return [work(item) for item in progress.steps(items)]
    ended = shared_empty((len(items),), np.bool_)  # items done, by any process

    def one(number: int) -> Result:
        result = work(items[number])
        ended[number] = True
        return result

    with progress.stage("", len(items), lambda: int(ended.sum()), workers):
        if _is_alone():
            return _in_copies(one, range(len(items)), workers)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, range(len(items))))


def usable_cores() -> int:
    """Number of cores that this process may run on; fewer than the machine has if it is restricted."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def shared_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array like numpy.empty, in memory that this process shares with its copies. Raises MemoryError."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        return np.ndarray(shape, dtype, mmap.mmap(-1, max(1, size)))
    except (OSError, OverflowError) as error:
        raise MemoryError(f"no {size} bytes") from error


def _is_alone() -> bool:
    """Whether no other thread of any library runs in this process. A copy would have the locks that such a thread holds, but not
    the thread."""
    if sys.platform != "linux":
        return False
    if _threads() > 1:
        end_idle_threads()
    return _threads() == 1


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


class _Done(NamedTuple):
    """Results of the turns that a process took, and the error that ended it, by number of turn."""

    results: dict[int, list[Any]]
    errors: dict[int, Exception]


def _in_copies(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """`side_by_side` by this process and `workers` - 1 copies of it."""
    each = -(-len(items) // _MOST_TURNS)
    turns = [items[first : first + each] for first in range(0, len(items), each)]
    answers: dict[int, BinaryIO] = {}  # pipes from the copies, by process number
    todo: int | None = None
    with interrupts_raise_once():
        try:
            with interrupts_wait():
                todo = _pipe_of_turns(len(turns))
            for _ in range(workers - 1):
                if not _start_copy(work, turns, todo, answers):
                    break
            done = _work_through(work, turns, todo)
            for copy in list(answers):
                own = _collect(copy, answers)
                done.results.update(own.results)
                done.errors.update(own.errors)
        finally:
            if todo is not None:
                os.close(todo)
            for copy, stream in answers.items():  # none, unless there was an error
                stream.close()
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(copy, signal.SIGKILL)
                    os.waitpid(copy, 0)
    if done.errors:
        raise done.errors[min(done.errors)]
    return [result for turn in range(len(turns)) for result in done.results[turn]]


def _start_copy(work: Callable[[Item], Result], turns: Sequence[Sequence[Item]], todo: int, answers: dict[int, BinaryIO]) -> bool:
    """Start a copy that works through turns, and add its pipe to `answers`. Returns False if the system refuses to fork."""
    parent = os.getpid()
    with interrupts_wait():  # every copy that is started must be in `answers`, and no pipe may stay open
        from_copy, to_parent = os.pipe()
        try:
            copy = os.fork()
        except OSError:  # too many processes or too little memory: the copies that exist share the work
            os.close(from_copy)
            os.close(to_parent)
            return False
        if copy == 0:
            os.close(from_copy)
            _live_as_copy(parent, to_parent, lambda: _work_through(work, turns, todo))
        os.close(to_parent)
        answers[copy] = os.fdopen(from_copy, "rb")
    return True


def _collect(copy: int, answers: dict[int, BinaryIO]) -> _Done:
    """Wait for a copy, remove it from `answers` and return what it has done. Raises MemoryError if it was killed."""
    data = answers[copy].read()
    answers[copy].close()
    status = _status_of(copy)
    del answers[copy]
    if os.WIFSIGNALED(status):
        raise MemoryError("a copy of this process was killed")
    if status:
        raise RuntimeError("a copy of this process failed; its traceback is on standard error")
    try:
        return _Done(*pickle.loads(data))
    except (EOFError, pickle.UnpicklingError) as error:
        raise MemoryError("a copy of this process was killed") from error


def _status_of(copy: int) -> int:
    """Exit status of a copy, by waitpid; 0 if it is not available, as in programs that ignore SIGCHLD."""
    try:
        return os.waitpid(copy, 0)[1]
    except ChildProcessError:
        return 0


def _pipe_of_turns(count: int) -> int:
    """A pipe from which each process takes the number of its next turn, and nothing when all are taken."""
    todo, fill = os.pipe()
    os.write(fill, b"".join(turn.to_bytes(_TURN_BYTES, "little") for turn in range(count)))
    os.close(fill)
    return todo


def _turns_left(todo: int) -> Iterator[int]:
    """Take turns from the pipe until none is left."""
    while turn := os.read(todo, _TURN_BYTES):
        yield int.from_bytes(turn, "little")


def _work_through(work: Callable[[Item], Result], turns: Sequence[Sequence[Item]], todo: int) -> _Done:
    """Take turns and do them until none is left.

    After an error all remaining turns are dropped. Turns are taken in order, so the first with an error is always reached.
    """
    results: dict[int, list[Any]] = {}
    for turn in _turns_left(todo):
        try:
            results[turn] = [work(item) for item in turns[turn]]
        except Exception as error:
            for _ in _turns_left(todo):
                pass
            return _Done(results, {turn: error})
    return _Done(results, {})


def _live_as_copy(parent: int, to_parent: int, function: Callable[[], _Done]) -> NoReturn:
    """Main program of a copy: send the parent what `function` returns, and end."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, too, and ends its copies
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        end_with_the_parent(parent)
        done = function()
        for error in done.errors.values():
            error.add_note("".join(traceback.format_exception(error)))  # a traceback cannot be pickled
        with os.fdopen(to_parent, "wb") as stream:
            pickle.dump(tuple(done), stream, pickle.HIGHEST_PROTOCOL)
        status = 0
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # skip the parent's cleanup handlers
