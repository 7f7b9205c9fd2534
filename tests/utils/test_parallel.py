"""Backends: equal results, dead workers replaced, errors with their traceback, no orphans."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from utils import parallel
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def make_matmul_worker(size: int):
    import torch  # not at the top: most workers below start faster without it

    weights = torch.randn(size, size, generator=torch.Generator().manual_seed(0))

    def work(task: int) -> bytes:
        x = torch.randn(32, size, generator=torch.Generator().manual_seed(task))
        return torch.tanh(x @ weights).sum(0).numpy().tobytes()

    return work


def make_threads_worker():
    import torch

    return lambda task: (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"))


def make_mortal_worker(folder: Path):
    """Task 2 is killed from outside on its first attempt; the mark file remembers the attempt."""

    def work(task: int) -> tuple[int, int]:
        mark = folder / f"seen{task}"
        if task == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task, os.getpid()

    return work


class Holder:
    """A worker that holds something until it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, task: int) -> int:
        return task

    def close(self) -> None:
        self.path.touch()


def make_failing_worker(kind: str):
    if kind == "build":
        raise ValueError("no env today")

    def work(task: int) -> int:
        if task == 1 and kind == "user":
            raise UserError("V and M do not fit")
        if task == 1 and kind == "kill":
            os._exit(3)
        if task == 1 and kind == "sleep":
            time.sleep(60)
        if task == 1 and kind == "raise":
            raise ValueError("a bad frame")
        if task == 1 and kind == "eof":
            raise EOFError("a cut-off file")
        if task == 1 and kind == "unpicklable":
            return lambda: None  # type: ignore[return-value]
        return task

    return work


def test_every_backend_and_worker_count_gives_the_same_bits():
    make_worker = functools.partial(make_matmul_worker, 300)
    tasks = list(range(7))
    with parallel.open_backend("serial", make_worker) as backend:
        expected = backend.map(tasks)
    for num_workers in (1, 3):
        with parallel.open_backend("process", make_worker, num_workers) as backend:
            assert backend.map(tasks) == expected
            assert backend.map(tasks[:2]) == expected[:2], "workers serve several maps"
    assert len(set(expected)) == len(expected)


def test_progress_is_told_once_for_every_task():
    make_worker = functools.partial(make_failing_worker, "never")
    with parallel.open_backend("process", make_worker, 2) as backend:
        told: list[int] = []
        backend.map(range(5), on_result=lambda index, _: told.append(index))
        assert sorted(told) == list(range(5))


def make_named_worker():
    return lambda task: os.getpid()


def test_a_map_may_keep_to_the_same_few_workers():
    with parallel.ProcessBackend(make_named_worker, 3) as backend:
        few = set(backend.map(range(4), most=1))
        backend.map(range(6))
        assert len(backend.pids()) == 3
        assert set(backend.map(range(40), most=1)) == few
        assert len(few) == 1
        os.kill(few.pop(), signal.SIGKILL)
        assert len(set(backend.map(range(40), most=1))) == 1, "another takes its place"


def test_every_backend_computes_on_one_thread():
    import torch

    before = torch.get_num_threads()
    with parallel.open_backend("serial", make_threads_worker) as backend:
        assert backend.map([0])[0][0] == 1
    assert torch.get_num_threads() == before
    with parallel.open_backend("process", make_threads_worker, 1) as backend:
        assert backend.map([0]) == [(1, "1")]


def test_a_killed_worker_is_replaced_and_its_task_run_again(tmp_path: Path):
    with parallel.ProcessBackend(functools.partial(make_mortal_worker, tmp_path), 2) as backend:
        results = backend.map(range(6))
        assert [task for task, _ in results] == list(range(6))
        assert (tmp_path / "seen2").exists()
        assert len({pid for _, pid in results}) <= 3
        for pid in backend.pids():  # killed while idle, between two maps
            os.kill(pid, signal.SIGKILL)
        assert [task for task, _ in backend.map(range(4))] == list(range(4))


FAILURES = [
    ("raise", parallel.WorkerError, ["a bad frame", "test_parallel.py", "in work", "task 1 of 3"]),
    ("eof", parallel.WorkerError, ["a cut-off file", "in work", "task 1 of 3"]),
    ("unpicklable", parallel.WorkerError, ["task 1 of 3", "pickle"]),
    ("build", parallel.WorkerError, ["no env today", "building"]),
    ("kill", parallel.WorkerError, ["task 1 of 3", "3 times"]),
    ("user", UserError, ["V and M do not fit"]),
]


@pytest.mark.parametrize(("kind", "error", "words"), FAILURES)
def test_an_error_reaches_the_parent_with_its_traceback(kind: str, error: type[Exception], words: list[str]):
    with parallel.ProcessBackend(functools.partial(make_failing_worker, kind), 1) as backend:
        with pytest.raises(error) as caught:
            backend.map(range(3))
        assert backend.pids() == []
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert ("exit code 3" in str(caught.value)) == (kind == "kill")


def test_a_hanging_worker_is_replaced_and_in_the_end_reported(monkeypatch: pytest.MonkeyPatch):
    make_worker = functools.partial(make_failing_worker, "sleep")
    with parallel.ProcessBackend(make_worker, 1) as backend:
        assert backend.map([0]) == [0]  # built under the long limit
        backend._timeout_s = 0.2
        monkeypatch.setattr(parallel, "MAX_ATTEMPTS", 1)
        with pytest.raises(parallel.WorkerError, match="task 1 of 2"):
            backend.map(range(2))


def test_leaving_imap_early_ends_the_workers():
    with parallel.ProcessBackend(functools.partial(make_failing_worker, "never"), 1) as backend:
        results = backend.imap(range(5))
        next(results)
        results.close()  # type: ignore[attr-defined]
        assert backend.pids() == []
        assert len(backend.map(range(2))) == 2, "and the backend can be used again"


def test_bad_names_and_counts_are_refused():
    with pytest.raises(UserError, match="backend"):
        parallel.open_backend("thread", make_threads_worker)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="at least 1"):
        parallel.open_backend("process", make_threads_worker, 0)


SLEEPER = """
    import functools, os, pathlib, sys, time
    import sleeper  # this file, for an actor knows no __main__
    from utils import parallel

    def make_worker(folder):
        def work(task):
            (folder / f"pid{os.getpid()}").touch()
            time.sleep(60)
        return work

    if __name__ == "__main__":
        maker = functools.partial(sleeper.make_worker, pathlib.Path(sys.argv[2]))
        with parallel.open_backend(sys.argv[1], maker, 2) as backend:
            backend.map(range(4))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path: Path, end: signal.Signals):
    check_no_orphans(tmp_path, "process", end)


def check_no_orphans(tmp_path: Path, backend: str, end: signal.Signals):
    script = tmp_path / "sleeper.py"
    script.write_text(textwrap.dedent(SLEEPER))
    parent = subprocess.Popen(
        [sys.executable, str(script), backend, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    pids = wait_for(lambda: pids if len(pids := worker_pids(tmp_path)) == 2 else None)
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)  # as a terminal does: parent and workers alike
    else:
        parent.kill()
    assert parent.wait(60) != 0
    wait_for(lambda: not any(is_alive(pid) for pid in pids))
    assert parent.stderr is not None
    assert parent.stderr.read().count(b"Traceback") <= 1, "workers stay silent"
    parent.stderr.close()


def worker_pids(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("pid")) for path in folder.glob("pid*")]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a zombie that nobody reaps in this container is dead enough
    try:
        return not stat.parent.parent.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, limit_s: float = 30.0):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited for too long")


@pytest.mark.parametrize("backend", ["serial", "process"])
def test_a_worker_that_can_be_closed_is(backend: parallel.BackendName, tmp_path: Path):
    with parallel.open_backend(backend, functools.partial(Holder, tmp_path / "closed")) as workers:
        assert workers.map([1, 2]) == [1, 2]
        assert not (tmp_path / "closed").exists()
    assert (tmp_path / "closed").exists()
