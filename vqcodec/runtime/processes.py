"""Several processes at once.

The pool is our own and has pipes alone: each process has one call in hand, and this process has no thread and no semaphore for it.
So a signal finds nothing half done, arguments may have any size, and it is known which call a process had that died.
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
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

from vqcodec.errors import LimitError
from vqcodec.runtime.blas import VARIABLES
from vqcodec.runtime.interrupts import end_with_the_parent, interrupts_wait, termination_raises
from vqcodec.runtime.workers import usable_cores

Result = TypeVar("Result")
Answer = tuple[Any, Exception | None]
"""The result of a call, or the error that it has raised."""
DIED: Final = "died, perhaps of too little memory"
_PATIENCE_S: Final = 1.5
"""For a process that was told to end: it may be removing a file that is half written."""
_LONGEST_WAIT_S: Final = 86_400.0
"""At a time: the system takes no more than 24 days."""
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[3:]; from vqcodec.runtime import processes; processes.work_for(*sys.argv[1:3])"
)


class ProcessDiedError(LimitError):
    """A process ended while it was at work."""


@contextmanager
def processes(jobs: int | None = None) -> Iterator[Pool]:
    """A pool of `jobs` fresh processes, by default one for each core. Their BLAS has one thread each: where every one takes all
    cores, they wait for each other.

    They are fresh because a fork would copy locks of threads that it does not have. The end of the block, an error or a signal ends
    them, whatever they do. SIGINT from a terminal reaches this process alone.
    """
    with termination_raises():
        pool = Pool(jobs or usable_cores())
        try:
            yield pool
        finally:
            with interrupts_wait():
                pool.end()


class Pool:
    """Up to `jobs` processes, begun as they are needed. `processes` makes one, and ends it."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._all: list[_Process] = []
        self._idle: list[_Process] = []

    def map(self, function: Callable[..., Result], *iterables: Iterable[Any], timeout_s: float | None = None) -> Iterator[Result]:
        """function(*arguments) for each group of arguments, in order; all must be importable or picklable.

        Raises the first error of them in order; ProcessDiedError, a LimitError, if a process has died; TimeoutError if one is still
        at work after `timeout_s` seconds.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        early: dict[int, Answer] = {}
        done = 0
        for number, _, answer in self._answers(function, zip(*iterables, strict=False), deadline):
            early[number] = answer
            while done in early:
                result, error = early.pop(done)
                if error is not None:
                    raise error
                yield result
                done += 1

    def as_they_come(
        self, function: Callable[..., Result], calls: Iterable[tuple[Any, ...]]
    ) -> Iterator[tuple[tuple[Any, ...], Result | None]]:
        """Arguments and result of each call, whichever ends first; None where the process has died. Raises the first error."""
        for _, arguments, (result, error) in self._answers(function, calls):
            if error is not None and not isinstance(error, ProcessDiedError):
                raise error
            yield arguments, result

    def _answers(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], deadline: float | None = None
    ) -> Iterator[tuple[int, tuple[Any, ...], Answer]]:
        """Number and arguments of each call, and its answer, as they come; a call is taken when there is a process for it.

        Raises TimeoutError when one is awaited beyond the deadline, in seconds of time.monotonic().
        """
        numbered = enumerate(calls)
        found: list[tuple[int, tuple[Any, ...], Answer]] = []
        with selectors.DefaultSelector() as busy:
            while True:
                while len(busy.get_map()) < self._jobs and (call := next(numbered, None)) is not None:
                    process = self._idle.pop() if self._idle else self._begin()
                    process.ask(function, call[1])
                    busy.register(process.answers, selectors.EVENT_READ, (process, *call))
                yield from found  # while the processes have work again
                if not busy.get_map():
                    return
                found.clear()
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                events = busy.select(left if left is None else min(left, _LONGEST_WAIT_S))
                if not events and left is not None and left <= _LONGEST_WAIT_S:
                    raise TimeoutError
                for key, _ in events:
                    process, number, arguments = key.data
                    busy.unregister(process.answers)
                    found.append((number, arguments, self._answer(process)))

    def _answer(self, process: _Process) -> Answer:
        try:
            answer = process.answer()
        except (EOFError, pickle.UnpicklingError):
            _end([process])
            self._all.remove(process)
            return None, ProcessDiedError(f"a process at work {DIED}")
        self._idle.append(process)
        return answer

    def _begin(self) -> _Process:
        with interrupts_wait():  # a process that was begun is one that will be ended
            self._all.append(_Process())
        return self._all[-1]

    def end(self) -> None:
        """End all processes, whatever they do."""
        _end(self._all)
        self._all.clear()


class _Process:
    """A process that answers one call after the other. Raises LimitError if the system cannot begin it."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self.answers: BinaryIO = os.fdopen(reader, "rb")
        command = [sys.executable, "-P", "-c", _PROGRAM, str(os.getpid()), str(writer), *map(str, sys.path)]
        environment = os.environ | {name: os.environ.get(name) or "1" for name in VARIABLES}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which a process inherits, from its first moment on
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[writer], env=environment)
        except OSError as error:
            self.answers.close()
            raise LimitError(f"no process can be begun: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(writer)
        assert self._process.stdin is not None
        self._calls = self._process.stdin
        self._function: object = None

    def ask(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Begin a call. The function is sent where it is another than before: it may hold a model."""
        given = None if function is self._function else function
        self._function = function
        with suppress(BrokenPipeError):  # it has died, as its answer will say
            pickle.dump((given, arguments), self._calls, pickle.HIGHEST_PROTOCOL)
            self._calls.flush()

    def answer(self) -> Answer:
        """The answer to the call, when there is one to be read; EOFError or UnpicklingError if the process has died."""
        return pickle.load(self.answers)

    def tell_to_end(self) -> None:
        self._process.terminate()

    def end(self, patience_s: float) -> None:
        """Wait for the end of a process that was told to, and make it end when that takes longer."""
        with suppress(BrokenPipeError):  # of what it has not read
            self._calls.close()
        self.answers.close()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _end(given: Sequence[_Process]) -> None:
    """End processes, which have _PATIENCE_S together for what they have to clean up."""
    for process in given:
        process.tell_to_end()
    deadline = time.monotonic() + _PATIENCE_S
    for process in given:
        process.end(max(0.0, deadline - time.monotonic()))


def work_for(parent: str, answers: str) -> NoReturn:
    """The program of a process of a pool: calls from standard input, answers to a descriptor, until its parent ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the parent does with it
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
                error.add_note("".join(traceback.format_exception(error)))  # a traceback does not pass through a pipe
                answer = pickle.dumps((None, error), pickle.HIGHEST_PROTOCOL)
            stream.write(answer)
            stream.flush()
    os._exit(0)
