"""The parts of one picture on several cores.

What is done to a part is thousands of short numpy calls, for each of which a thread has to get Python's lock again: two threads
were slower than one (docs/experiments). So where nothing else runs in this process, copies of it share the work; else threads do.
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
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vqcodec.runtime import progress
from vqcodec.runtime.blas import end_idle_threads
from vqcodec.runtime.interrupts import end_with_the_parent, interrupts_raise_once, interrupts_wait

Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST_TURNS: Final = 1024
"""Turns, in which workers take items: their numbers must fit into the smallest pipe, of 4096 bytes."""
_TURN_BYTES: Final = 4


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """[work(item) for item in items], on up to `workers` cores.

    If some of the items raise an error, that of the first of them is raised. Work may be done in a copy of this process: what it
    stores anywhere but in arrays of `shared_empty` is lost. Each item is a step of a stage (progress.py). Raises MemoryError if a
    copy was killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        return [work(item) for item in progress.steps(items)]
    ended = shared_empty((len(items),), np.bool_)  # by item, whoever has done it

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
    """Cores that this process may run on: on a shared machine often fewer than it has."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def shared_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """As numpy.empty, in memory that copies of this process share with it. Raises MemoryError."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        return np.ndarray(shape, dtype, mmap.mmap(-1, max(1, size)))
    except (OSError, OverflowError) as error:
        raise MemoryError(f"no {size} bytes") from error


def _is_alone() -> bool:
    """No other thread runs in this process, of whatever library: a copy would have the locks that it holds, but not the thread."""
    if sys.platform != "linux":
        return False
    if _threads() > 1:
        end_idle_threads()
    return _threads() == 1


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _in_copies(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """The work of `side_by_side` by this process and `workers` - 1 copies of it."""
    each = -(-len(items) // _MOST_TURNS)
    turns = [items[first : first + each] for first in range(0, len(items), each)]
    answers: dict[int, BinaryIO] = {}  # of each copy, by its process number
    parent = os.getpid()
    todo: int | None = None
    with interrupts_raise_once():
        try:
            with interrupts_wait():
                todo = _pipe_of_turns(len(turns))
            for _ in range(workers - 1):
                with interrupts_wait():  # a copy that was begun is one that will be ended, and no pipe stays open
                    answer, to_parent = os.pipe()
                    try:
                        copy = os.fork()
                    except OSError:  # no more processes, or no memory for them: those that there are do it
                        os.close(answer)
                        os.close(to_parent)
                        break
                    if copy == 0:
                        os.close(answer)
                        _live_as_copy(parent, to_parent, lambda: _work_through(work, turns, todo))
                    os.close(to_parent)
                    answers[copy] = os.fdopen(answer, "rb")
            found, failed = _work_through(work, turns, todo)
            for copy, stream in list(answers.items()):
                data = stream.read()
                stream.close()
                status = _status_of(copy)
                del answers[copy]
                if os.WIFSIGNALED(status):
                    raise MemoryError("a copy of this process was killed")
                if status:
                    raise RuntimeError("a copy of this process failed, as it has told")
                own, errors = _answer(data)
                found.update(own)
                failed.update(errors)
        finally:
            if todo is not None:
                os.close(todo)
            for copy, stream in answers.items():  # none, if all went well
                stream.close()
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(copy, signal.SIGKILL)
                    os.waitpid(copy, 0)
    if failed:
        raise failed[min(failed)]
    return [result for turn in range(len(turns)) for result in found[turn]]


def _status_of(copy: int) -> int:
    """What waitpid says of a copy when it has ended; 0 where somebody else was told, as in programs that ignore SIGCHLD."""
    try:
        return os.waitpid(copy, 0)[1]
    except ChildProcessError:
        return 0


def _answer(data: bytes) -> tuple[dict[int, list[Any]], dict[int, Exception]]:
    """What a copy has sent. Raises MemoryError if it did not come to its end."""
    try:
        return pickle.loads(data)
    except (EOFError, pickle.UnpicklingError) as error:
        raise MemoryError("a copy of this process was killed") from error


def _pipe_of_turns(count: int) -> int:
    """A pipe to take the numbers of turns from: whichever process reads next gets the next one, and nothing at the end."""
    todo, fill = os.pipe()
    os.write(fill, b"".join(turn.to_bytes(_TURN_BYTES, "little") for turn in range(count)))
    os.close(fill)
    return todo


def _turns_left(todo: int) -> Iterator[int]:
    while turn := os.read(todo, _TURN_BYTES):
        yield int.from_bytes(turn, "little")


def _work_through(
    work: Callable[[Item], Result], turns: Sequence[Sequence[Item]], todo: int
) -> tuple[dict[int, list[Result]], dict[int, Exception]]:
    """The results of the turns that this process got, and the error that ended it, by number of turn.

    After an error no turn is left for anyone. Turns are taken in order, so the first one with an error is always come to.
    """
    found: dict[int, list[Result]] = {}
    for turn in _turns_left(todo):
        try:
            found[turn] = [work(item) for item in turns[turn]]
        except Exception as error:
            for _ in _turns_left(todo):
                pass
            return found, {turn: error}
    return found, {}


def _live_as_copy(parent: int, to_parent: int, function: Callable[[], tuple[object, dict[int, Exception]]]) -> NoReturn:
    """Give what a function returns to the parent, and end."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it, too, and ends its copies
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        end_with_the_parent(parent)
        found, failed = function()
        for error in failed.values():
            error.add_note("".join(traceback.format_exception(error)))  # a traceback does not pass through a pipe
        with os.fdopen(to_parent, "wb") as stream:
            pickle.dump((found, failed), stream, pickle.HIGHEST_PROTOCOL)
        status = 0
    except BrokenPipeError:
        pass  # the parent is gone
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # what the parent has set up is not cleaned up here
