"""Work shared by copies of a process or by threads: results, errors, and no copy left behind.

Only a process without threads is copied, so each test runs a program of its own.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from helpers.marks import fast_first
from helpers.processes import program_environment
from vqcodec.runtime.workers import shared_empty, usable_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies are made on Linux only")
several_cores = pytest.mark.skipif(usable_cores() < 2, reason="BLAS has as many threads as there are cores, at most")
_START = """
    import os, signal, sys, threading, time
    from pathlib import Path
    import numpy as np
    from vqcodec import errors
    from vqcodec.runtime import workers

    def pace(number):
        time.sleep(0.02)
        return number, os.getpid()
"""


def _start(script: str, threads: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(_START) + textwrap.dedent(script)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": threads}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _run(script: str, threads: str = "1") -> str:
    """Run a program. `threads` is the number of BLAS threads."""
    process = _start(script, threads)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_results_come_in_order_from_several_copies() -> None:
    _run("""
        found = workers.side_by_side(pace, range(30), 3)
        assert [number for number, _ in found] == list(range(30))
        assert len({process for _, process in found}) == 3 and os.getpid() in {process for _, process in found}
        assert workers.side_by_side(lambda number: number, range(5000), 2) == list(range(5000))  # more items than turns
    """)


def test_copies_store_into_shared_arrays_only() -> None:
    _run("""
        shared, own = workers.shared_empty((30,), np.int32), np.zeros(30, np.int32)

        def store(number):
            shared[number] = own[number] = pace(number)[1]

        workers.side_by_side(store, range(30), 2)
        assert (shared > 0).all() and (own[shared == os.getpid()] > 0).all() and (own[shared != os.getpid()] == 0).all()
        assert len(set(shared.tolist())) == 2
    """)


def test_a_process_that_cannot_fork_works_alone() -> None:
    _run("""
        def refused():
            raise BlockingIOError("no more processes")

        os.fork = refused
        assert workers.side_by_side(pace, range(10), 4) == [(number, os.getpid()) for number in range(10)]
        assert len(os.listdir("/proc/self/fd")) < 10
    """)


def test_cores_are_those_that_this_process_may_use() -> None:
    _run("""
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        assert workers.usable_cores() == 1
    """)


def test_a_process_with_another_thread_is_not_copied() -> None:
    _run("""
        ended = threading.Event()
        threading.Thread(target=ended.wait).start()
        found = workers.side_by_side(pace, range(10), 2)
        ended.set()
        assert found == [(number, os.getpid()) for number in range(10)]
    """)


@pytest.mark.slow
@several_cores
def test_threads_that_blas_keeps_are_ended_for_copies() -> None:
    """In a program that has imported numpy before vqcodec, on several cores."""
    _run(
        """
        import threadpoolctl
        from vqcodec.runtime import blas

        def threads():
            return [found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas"]

        a = np.ones((2000, 2000), np.float32)
        a @ a
        before = threads()
        with blas.one_thread():
            assert max(threads()) == 1
            with blas.one_thread():
                pass
            assert max(threads()) == 1
            found = workers.side_by_side(pace, range(20), 2)
            assert (a @ a)[0, 0] == 2000
        assert len({process for _, process in found}) == 2
        assert threads() == before
        assert (a @ a)[0, 0] == 2000
        """,
        threads="2",
    )


@several_cores
def test_blas_has_one_thread_inside_the_block() -> None:
    _run(
        """
        import threadpoolctl
        from vqcodec.runtime import blas

        def threads():
            return max(found["num_threads"] for found in threadpoolctl.threadpool_info() if found["user_api"] == "blas")

        before, entered, left = threads(), threading.Event(), threading.Event()

        def other():
            with blas.one_thread():
                entered.set()
                left.wait()

        thread = threading.Thread(target=other)
        with blas.one_thread():
            thread.start()
            entered.wait()
        assert threads() == 1
        left.set()
        thread.join()
        assert threads() == before == 2
        """,
        threads="2",
    )


def test_a_fork_does_not_wait_for_a_thread_that_it_has_not() -> None:
    _run("""
        from vqcodec.runtime import blas

        with blas._LIMIT._lock:  # held by another thread for a moment
            copy = os.fork()
            if copy == 0:
                signal.alarm(10)
                with blas.one_thread():
                    os._exit(0)
        assert os.waitpid(copy, 0)[1] == 0
    """)


def test_the_first_error_is_raised_with_its_traceback() -> None:
    _run("""
        def work(number):
            time.sleep(0.001)
            if number in (40, 41, 60):
                raise errors.CorruptError(f"{number} in {os.getpid()}")
            return number

        notes = []
        for _ in range(20):
            try:
                workers.side_by_side(work, range(100), 4)
                raise AssertionError("no error")
            except errors.CorruptError as error:
                assert str(error).startswith("40 in "), error
                if str(error) != f"40 in {os.getpid()}":
                    notes += error.__notes__
        assert notes and all("in work" in note for note in notes)
    """)


def test_a_killed_copy_is_an_error() -> None:
    _run("""
        parent = os.getpid()

        def work(number):
            if pace(number)[1] != parent:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            workers.side_by_side(work, range(10), 2)
            raise AssertionError("no error")
        except MemoryError:
            pass
        try:
            os.waitpid(-1, 0)
            raise AssertionError("a copy was left")
        except ChildProcessError:
            pass
    """)


@pytest.mark.parametrize("number", fast_first([signal.SIGINT, signal.SIGTERM]))
def test_an_interrupted_process_leaves_no_copy(number: int) -> None:
    process = _start(
        """
        from vqcodec.runtime.interrupts import termination_raises

        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored if a shell runs the tests in the background

        def work(number):
            os.write(1, b"%d\\n" % os.getpid())  # in one piece: both write here
            time.sleep(30)

        with termination_raises():
            workers.side_by_side(work, range(2), 2)
    """,
        "1",
    )
    assert process.stdout is not None
    both = {int(process.stdout.readline()) for _ in range(2)}
    os.kill(process.pid, number)
    process.communicate(timeout=10)
    assert len(both) == 2
    for one in both:
        with pytest.raises(ProcessLookupError):
            os.kill(one, 0)


@pytest.mark.slow
def test_files_and_pictures_do_not_depend_on_copies() -> None:
    _run("""
        import io
        from vqcodec import api

        picture = np.random.default_rng(0).integers(0, 255, (100, 150, 3), np.uint8) // 8 + np.arange(150, dtype=np.uint8)[:, None]
        for model in ("photo-lite", "photo"):
            one, several = (api.encode(picture, quality=30, model=model, tile=64, effort=4, threads=n) for n in (1, 3))
            assert one == several
            for options in ({}, {"refine": "none"}):
                assert np.array_equal(*(api.decode(one, threads=n, **options) for n in (1, 3)))
        assert np.array_equal(*(api.denoise(picture, sigma=20, threads=n) for n in (1, 3)))
        damaged = bytearray(one)
        damaged[-10] ^= 1  # in the last section
        with api.open_vqz(io.BytesIO(bytes(damaged)), allow_partial=True) as opened:
            opened.read(threads=3)
            assert opened.lost
    """)


def test_shared_arrays_are_like_those_of_numpy() -> None:
    found = shared_empty((3, 4), "uint16")
    assert found.shape == (3, 4)
    assert found.dtype == "uint16"
    assert found.flags.carray
    assert shared_empty((0, 4), "uint8").size == 0
    for shape in ((1 << 60,), (1 << 62, 4)):
        with pytest.raises(MemoryError):
            shared_empty(shape, "uint16")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupts_wait_for_the_end_of_a_block_and_end_the_program(number: signal.Signals) -> None:
    process = _start(
        f"""
        from vqcodec.runtime.interrupts import interrupts_wait, termination_raises

        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, or in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # the program's handler
        with termination_raises():
            try:
                with interrupts_wait():
                    os.kill(os.getpid(), {int(number)})
                    time.sleep(0.01)
                    print("waited", flush=True)
                time.sleep(60)
            finally:
                print("cleaned up", flush=True)
        print("not reached")
    """,
        "1",
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines(), err) == (-number, ["waited", "cleaned up"], "")


def test_termination_interrupts_once_and_does_not_disturb_the_cleanup() -> None:
    process = _start(
        """
        from vqcodec.runtime.interrupts import termination_raises

        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup ignores it
        with termination_raises():
            with termination_raises():
                signal.raise_signal(signal.SIGHUP)
            try:
                signal.raise_signal(signal.SIGTERM)
                print("not interrupted")
            finally:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)
                print("cleaned up", flush=True)
    """,
        "1",
    )
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()) == (-signal.SIGTERM, ["cleaned up"])


def test_signals_have_their_old_handlers_after_a_block() -> None:
    _run("""
        from vqcodec.runtime.interrupts import interrupts_wait, termination_raises

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for handlers in ((signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN), (signal.SIG_DFL, print, signal.SIG_DFL)):
            for number, handler in zip(numbers, handlers):
                signal.signal(number, handler)
            for block in (termination_raises, interrupts_wait):
                with block():
                    pass
                assert tuple(map(signal.getsignal, numbers)) == handlers
    """)


def test_an_interrupt_that_was_swallowed_comes_again() -> None:
    """Python swallows exceptions raised in destructors and callbacks."""
    process = _start(
        """
        from vqcodec.runtime.interrupts import termination_raises

        with termination_raises():
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                pass
        print("not reached")
    """,
        "1",
    )
    assert (process.communicate(timeout=60), process.returncode) == (("", ""), -signal.SIGTERM)


def test_an_interrupt_while_a_process_of_a_pool_is_begun_leaves_no_process() -> None:
    _run("""
        import subprocess
        from vqcodec.runtime import processes

        class Interrupted(subprocess.Popen):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                begun.append(self)
                signal.raise_signal(signal.SIGINT)

        begun = []
        processes.subprocess.Popen = Interrupted
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with processes.processes(2) as pool:
                list(pool.map(time.sleep, [300, 300]))
            raise AssertionError("no interrupt")
        except KeyboardInterrupt:
            assert [process.returncode for process in begun] == [-signal.SIGTERM]
    """)


@pytest.mark.parametrize("number", fast_first([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))
def test_a_pool_that_is_interrupted_waits_for_no_work_however_large(number: signal.Signals) -> None:
    """Arguments larger than a pipe would stay in an executor's queue, and the program would wait for it at exit."""
    process = _start(
        f"""
        from vqcodec.runtime.processes import processes

        def calls():
            for count in range(40):
                if count == 9:
                    signal.raise_signal({int(number)})
                yield np.full(500_000, count, np.uint8)

        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with processes(2) as pool:
            for found in pool.map(np.max, calls()):
                print(found, flush=True)
    """,
        "1",
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-number, "")
    assert out.splitlines() == [str(count) for count in range(len(out.splitlines()))]
    assert len(out.splitlines()) <= 9


@pytest.mark.slow
def test_a_pool_ends_busy_processes_and_those_that_ignore_termination() -> None:
    _run("""
        from vqcodec.runtime.processes import processes

        try:
            with processes(2) as pool:
                assert list(pool.map(signal.signal, [signal.SIGTERM], [signal.SIG_IGN])) == [signal.SIG_DFL]
                for _ in pool.map(time.sleep, [0, 300, 300]):
                    raise ValueError
        except ValueError:
            pass
        try:
            os.waitpid(-1, 0)
            raise AssertionError("a process was left")
        except ChildProcessError:
            pass
        assert len(os.listdir("/proc/self/fd")) < 10
    """)


def test_a_pool_gives_results_in_order_or_as_they_come() -> None:
    _run("""
        from vqcodec.runtime.processes import processes

        with processes(2) as pool:
            assert list(pool.map(pow, [2, 3, 4], [5, 6, 7])) == [32, 729, 16384]
            assert list(pool.map(divmod, [7] * 100, range(1, 101))) == [divmod(7, number) for number in range(1, 101)]
            assert sorted(pool.as_they_come(abs, ((-number,) for number in range(9)))) == [((-n,), n) for n in range(8, -1, -1)]
            found = dict(pool.as_they_come(os._exit, [(0,)])) | dict(pool.as_they_come(abs, [(-1,)]))
            assert found == {(0,): None, (-1,): 1}  # one died and was replaced
            assert list(pool.map(abs, [])) == []
            assert len(list(pool.map(bytes, [1 << 22] * 9))) == 9
            for wrong in (lambda: 0, "text"):  # not picklable, not callable
                try:
                    list(pool.map(wrong, [1]))
                    raise AssertionError("no error")
                except Exception as error:
                    assert not isinstance(error, AssertionError)
        with processes(2) as pool:
            try:
                list(pool.map(divmod, [1] * 50, [1] * 30 + [0] + [1] * 19))
                raise AssertionError("no error")
            except ZeroDivisionError as error:
                assert "divmod" in "".join(error.__notes__) or "work_for" in "".join(error.__notes__)
    """)


def test_a_pool_takes_calls_as_it_can_do_them() -> None:
    """A folder may have millions of files, and the arguments of all calls may exceed the memory."""
    _run("""
        from vqcodec.runtime.processes import processes

        taken = 0

        def calls():
            global taken
            for taken in range(1, 101):
                yield taken

        with processes(1) as pool:
            for done, _ in enumerate(pool.map(abs, calls()), 1):
                assert taken <= done + 1
    """)


def test_modules_of_the_current_folder_are_not_those_of_processes(tmp_path: Path) -> None:
    """A folder of pictures must not be searched for modules."""
    for name in ("pickle", "numpy", "vqcodec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")
    program = "import sys; sys.path.remove(''); from vqcodec.runtime.processes import processes\n"
    program += "with processes(1) as pool: print(*pool.map(abs, [-3]))"
    command = [sys.executable, "-c", program]
    environment = program_environment() | {"PYTHONSAFEPATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("3\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("again_s", fast_first([0.002, 0.0]))
def test_interrupts_of_a_program_of_others_leave_neither_copies_nor_pipes(again_s: float) -> None:
    """Further interrupts come while copies are ended."""
    _run(f"""
        import random

        armed = False
        signal.signal(signal.SIGALRM, lambda *_: armed and signal.raise_signal(signal.SIGINT))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before, random = len(os.listdir("/proc/self/fd")), random.Random(1)
        for _ in range(60):
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.02), {again_s})
            try:
                armed = True
                while True:
                    workers.side_by_side(lambda number: sum(range(2000)), range(40), 3)
            except KeyboardInterrupt:
                armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            os.waitpid(-1, os.WNOHANG)
            raise AssertionError("a copy was left")
        except ChildProcessError:
            pass
        assert len(os.listdir("/proc/self/fd")) == before
    """)


def test_copies_work_if_sigchld_is_ignored() -> None:
    _run("""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        assert workers.side_by_side(lambda number: number, range(30), 3) == list(range(30))

        def die(number):
            if pace(number)[1] != parent:
                os.kill(os.getpid(), signal.SIGKILL)

        parent = os.getpid()
        try:
            workers.side_by_side(die, range(10), 2)
            raise AssertionError("no error")
        except MemoryError:
            pass
    """)


def test_signals_that_come_together_interrupt_once() -> None:
    assert _run("""
        from vqcodec.runtime.interrupts import termination_raises

        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with termination_raises():
                try:
                    signal.raise_signal(signal.SIGINT)
                finally:
                    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                        signal.raise_signal(number)
                    print("cleaned up")
        except KeyboardInterrupt:
            print("interrupted", signal.getsignal(signal.SIGINT) == signal.default_int_handler)
    """).splitlines() == ["cleaned up", "interrupted True"]


def test_processes_have_one_blas_thread_and_the_parent_keeps_its_setting() -> None:
    _run("""
        from vqcodec.runtime.processes import processes

        os.environ |= {"OMP_NUM_THREADS": "3"}
        os.environ.pop("OPENBLAS_NUM_THREADS"), os.environ.pop("MKL_NUM_THREADS", None)
        before = dict(os.environ)
        try:
            with processes(1) as pool:
                assert list(pool.map(os.getenv, ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"))) == ["1", "1", "3"]
                raise ValueError
        except ValueError:
            pass
        assert dict(os.environ) == before
    """)


@pytest.mark.parametrize("number", fast_first([signal.SIGKILL, signal.SIGTERM]))
def test_copies_end_with_a_parent_that_is_killed(number: signal.Signals) -> None:
    """The workers' results are larger than a pipe, and no process reads them."""
    process = _start(
        """
        parent = os.getpid()

        def work(number):
            os.write(1, b"%d\\n" % os.getpid())  # in one piece: both write here
            while os.getppid() == parent or os.getpid() == parent:
                time.sleep(0.01)
            return bytes(1 << 20)

        workers.side_by_side(work, range(2), 2)
    """,
        "1",
    )
    assert process.stdout is not None
    assert process.pid in {int(process.stdout.readline()) for _ in range(2)}
    process.send_signal(number)
    process.communicate(timeout=60)  # ends when no process has its standard streams open
