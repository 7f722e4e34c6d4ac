"""A pool of worker processes.

The pool is our own and uses only pipes: each process has one call in hand, and this process needs no thread and no semaphore. So a
signal never finds anything half done, arguments may have any size, and if a process dies, its call is known.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, NamedTuple, NoReturn, TypeVar

from vqcodec.errors import LimitError
from vqcodec.runtime.blas import VARIABLES
from vqcodec.runtime.interrupts import end_with_the_parent, interrupts_wait, termination_raises
from vqcodec.runtime.workers import usable_cores

Result = TypeVar("Result")
Arguments = tuple[Any, ...]
DIED: Final = "died, perhaps of too little memory"
_GRACE_S: Final = 1.5
"""Seconds that a terminated process gets to end: it may be removing a half-written file."""
_LONGEST_WAIT_S: Final = 86_400.0
"""Longest single wait; the system takes no more than 24 days."""
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; from vqcodec.runtime import processes; processes.work_for(*sys.argv[1:3])"
)


class ProcessDiedError(LimitError):
    """A process ended while it was working."""


class _Answer(NamedTuple):
    """The result of a call, or the error that it raised."""

    result: Any
    error: Exception | None


class _Answered(NamedTuple):
    """A call that has ended: its number, arguments and answer."""

    number: int
    arguments: Arguments
    answer: _Answer


@contextmanager
def processes(jobs: int | None = None) -> Iterator[Pool]:
    """A pool of `jobs` fresh processes, by default one for each core. BLAS has one thread in each: with all cores for each, they
    would wait for each other.

    They are fresh because a fork would copy locks held by threads that it does not have. The end of the block, an error or a signal
    ends them, whatever they do. SIGINT from a terminal reaches this process only.
    """
    with termination_raises():
        pool = Pool(jobs or usable_cores())
        try:
            yield pool
        finally:
            with interrupts_wait():
                pool.end()


class Pool:
    """Up to `jobs` processes, started as they are needed. Made by `processes`, which ends them."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._all: list[_Process] = []
        self._idle: list[_Process] = []

    def map(self, function: Callable[..., Result], *iterables: Iterable[Any], timeout_s: float | None = None) -> Iterator[Result]:
        """function(*arguments) for each group of arguments, in order; all must be importable or picklable.

        Raises the first error by order; ProcessDiedError, a LimitError, if a process has died; TimeoutError if one is still working
        after `timeout_s` seconds.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        early: dict[int, _Answer] = {}
        done = 0
        for number, _, answer in self._answered(function, zip(*iterables, strict=False), deadline):
            early[number] = answer
            while done in early:
                result, error = early.pop(done)
                if error is not None:
                    raise error
                yield result
                done += 1

    def as_they_come(
        self, function: Callable[..., Result], calls: Iterable[Arguments]
    ) -> Iterator[tuple[Arguments, Result | None]]:
        """Arguments and result of each call, in the order in which they end; None if the process has died. Raises the first
        error."""
        for _, arguments, (result, error) in self._answered(function, calls):
            if error is not None and not isinstance(error, ProcessDiedError):
                raise error
            yield arguments, result

    def _answered(
        self, function: Callable[..., Any], calls: Iterable[Arguments], deadline: float | None = None
    ) -> Iterator[_Answered]:
        """Calls in the order in which they end. A call is taken when a process is free for it.

        Raises TimeoutError if one lasts beyond the deadline, in seconds of time.monotonic().
        """
        if sys.platform == "win32":
            yield from _answered_here(function, calls)
            return
        numbered = enumerate(calls)
        ended: list[_Answered] = []
        with selectors.DefaultSelector() as busy:
            while True:
                while len(busy.get_map()) < self._jobs and (call := next(numbered, None)) is not None:
                    process = self._idle.pop() if self._idle else self._start()
                    process.ask(function, call[1])
                    busy.register(process.answers, selectors.EVENT_READ, (process, *call))
                yield from ended  # after the processes have new work
                if not busy.get_map():
                    return
                ended.clear()
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                events = busy.select(left if left is None else min(left, _LONGEST_WAIT_S))
                if not events and left is not None and left <= _LONGEST_WAIT_S:
                    raise TimeoutError
                for key, _ in events:
                    process, number, arguments = key.data
                    busy.unregister(process.answers)
                    ended.append(_Answered(number, arguments, self._answer(process)))

    def _answer(self, process: _Process) -> _Answer:
        """The answer of a process that has sent one, or has died."""
        try:
            answer = process.answer()
        except (EOFError, pickle.UnpicklingError):
            _end([process])
            self._all.remove(process)
            return _Answer(None, ProcessDiedError(f"a process at work {DIED}"))
        self._idle.append(process)
        return answer

    def _start(self) -> _Process:
        with interrupts_wait():  # every process that is started must be in the list, to be ended
            self._all.append(_Process())
        return self._all[-1]

    def end(self) -> None:
        """End all processes, whatever they do."""
        _end(self._all)
        self._all.clear()


def _answered_here(function: Callable[..., Any], calls: Iterable[Arguments]) -> Iterator[_Answered]:
    """Calls in this process, one after the other: Windows can neither wait for several pipes nor pass them on by number."""
    for number, arguments in enumerate(calls):
        try:
            answer = _Answer(function(*arguments), None)
        except Exception as error:
            answer = _Answer(None, error)
        yield _Answered(number, arguments, answer)


class _Process:
    """A process that answers one call after the other. Raises LimitError if the system cannot start it."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.answers: BinaryIO = os.fdopen(reader, "rb")
        command = [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), str(writer), *map(str, sys.path)]
        environment = os.environ | {name: os.environ.get(name) or "1" for name in VARIABLES}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by the process from its first moment on
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[writer], env=environment)
        except OSError as error:
            self.answers.close()
            raise LimitError(f"cannot start a process: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(writer)
        assert self._process.stdin is not None
        self._calls = self._process.stdin
        self._function: object = None

    def ask(self, function: Callable[..., Any], arguments: Arguments) -> None:
        """Start a call. The function, which may hold a model, is sent only if it differs from the last one."""
        given = None if function is self._function else function
        self._function = function
        with suppress(BrokenPipeError):  # the process has died, and reading its answer will tell
            pickle.dump((given, arguments), self._calls, pickle.HIGHEST_PROTOCOL)
            self._calls.flush()

    def answer(self) -> _Answer:
        """Read the answer to the call. Raises EOFError or UnpicklingError if the process has died."""
        return _Answer(*pickle.load(self.answers))

    def terminate(self) -> None:
        """Tell the process to end."""
        self._process.terminate()

    def wait(self, grace_s: float) -> None:
        """Wait for a terminated process to end, and kill it if that takes longer than `grace_s`."""
        with suppress(BrokenPipeError):  # for a call that it has not read
            self._calls.close()
        self.answers.close()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end(given: Sequence[_Process]) -> None:
    """End processes, which together have _GRACE_S seconds for their cleanup."""
    for process in given:
        process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for process in given:
        process.wait(max(0.0, deadline - time.monotonic()))


def work_for(parent: str, answers: str) -> NoReturn:
    """Main program of a process of a pool. Reads calls from standard input and writes answers to the descriptor `answers`, until
    the process `parent` ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the parent's handler is
    end_with_the_parent(int(parent))
    calls, stream = os.fdopen(os.dup(0), "rb"), os.fdopen(int(answers), "wb")
    function: Any = None
    with suppress(BrokenPipeError):
        while calls.peek(1):
            try:
                given, arguments = pickle.load(calls)
                function = function if given is None else given
                answer = pickle.dumps((function(*arguments), None), pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                error.add_note("".join(traceback.format_exception(error)))  # a traceback cannot be pickled
                answer = pickle.dumps((None, error), pickle.HIGHEST_PROTOCOL)
            stream.write(answer)
            stream.flush()
    os._exit(0)
