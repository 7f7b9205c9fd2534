"""Run a list of tasks on workers that are built once: in this process, in supervised spawned ones, or in Ray's.

A *maker* is a picklable callable without arguments; it builds the *worker*, a callable from task to result,
which keeps its models and envs, and may have a `close`. A worker's result must depend on the task alone, and every
backend computes on one thread: so the results are the same to the bit whatever the backend and the number of workers.

    with parallel.open_backend("process", make_worker, num_workers=8) as backend:
        results = backend.map(tasks)                    # in the order of the tasks
        for index, result in backend.imap(tasks): ...   # in the order of completion

What may go wrong in a worker process (Ray's are supervised by the same loop), and what happens then:

* it raises: `WorkerError` in the parent, with the worker's traceback (a `UserError` arrives as itself);
* it dies (kill -9, out of memory) or exceeds the time limit: it is replaced and its task run again;
* the parent is interrupted: workers ignore Ctrl-C themselves, the parent ends them;
* the parent is killed: each worker watches its parent and ends with it.
"""

import contextlib
import os
import pickle
import reprlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from utils.errors import UserError
from utils.worker_process import WorkerProcess, close_worker

Task = TypeVar("Task", contravariant=True)
Result = TypeVar("Result")
Worker = Callable[[Task], Result]
MakeWorker = Callable[[], Worker[Task, Result]]
OnResult = Callable[[int, Result], None]
BackendName = Literal["serial", "process", "ray"]

MAX_ATTEMPTS = 3
"""How often a task is given to a worker that dies of it before the whole map fails."""
TASK_TIMEOUT_S = 3600.0
"""A worker that is busy for longer with one task, or with building itself, is taken to hang and replaced."""
TICK_S = 1.0
"""The longest uninterrupted wait of the parent."""


class WorkerError(RuntimeError):
    """A worker raised, or kept dying; the message holds the task and the worker's traceback."""


class Backend(Protocol[Task, Result]):
    """A context manager that maps tasks to results."""

    def imap(self, tasks: Sequence[Task], most: int | None = None) -> Iterator[tuple[int, Result]]:
        """Yield (index of the task, result) as results become ready.

        Args:
            tasks: what to do.
            most: so many workers do it, the same ones in every call; all of them if None.
        """
        ...

    def map(
        self, tasks: Sequence[Task], on_result: OnResult[Result] | None = None, most: int | None = None
    ) -> list[Result]:
        """All results of `imap`, in the order of the tasks; `on_result(index, result)` is called as each comes."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_backend(
    name: BackendName,
    make_worker: MakeWorker[Task, Result],
    num_workers: int = 1,
) -> "Backend[Task, Result]":
    """The backend of that name; `num_workers` means nothing to the serial one."""
    if name == "serial":
        return SerialBackend(make_worker)
    if name == "process":
        return ProcessBackend(make_worker, num_workers)
    if name == "ray":
        from utils.ray_backend import RayBackend  # an extra: loaded only where it is asked for

        return RayBackend(make_worker, num_workers)
    raise UserError(f"unknown backend {name!r}: choose serial, process or ray")


class _MapInOrder(Generic[Task, Result]):
    """`map` in terms of `imap`, and the context manager."""

    def imap(self, tasks: Sequence[Task], most: int | None = None) -> Iterator[tuple[int, Result]]:
        raise NotImplementedError

    def map(
        self, tasks: Sequence[Task], on_result: OnResult[Result] | None = None, most: int | None = None
    ) -> list[Result]:
        """See `Backend.map`."""
        results: dict[int, Result] = {}
        for index, result in self.imap(tasks, most):
            results[index] = result
            if on_result is not None:
                on_result(index, result)
        return [results[index] for index in range(len(tasks))]

    def close(self, force: bool = False) -> None:
        """Give the workers back; `force` does not let them finish."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(force=kind is not None)


class SerialBackend(_MapInOrder[Task, Result]):
    """The reference: one worker in this process, tasks in order."""

    def __init__(self, make_worker: MakeWorker[Task, Result]) -> None:
        self._make_worker = make_worker
        self._worker: Worker[Task, Result] | None = None

    def imap(self, tasks: Sequence[Task], most: int | None = None) -> Iterator[tuple[int, Result]]:
        """See `Backend.imap`."""
        for index, task in enumerate(tasks):
            with _one_torch_thread():
                if self._worker is None:
                    self._worker = self._make_worker()
                result = self._worker(task)
            yield index, result

    def close(self, force: bool = False) -> None:
        """Close the worker."""
        close_worker(self._worker)
        self._worker = None


class SupervisedWorker(Protocol):
    """The parent's handle on a worker elsewhere, which starts at once; `WorkerProcess` says what is what."""

    is_idle: bool
    index: int | None
    busy_since: float

    def send_payload(self, payload: bytes) -> None:
        """Answer its hello."""

    def send_task(self, index: int, task: object) -> None:
        """Give it work."""

    def receive(self) -> tuple[Any, ...] | None:
        """The next message, or None when the worker is dead."""

    def kill(self) -> None:
        """End it at once."""

    def hang_up(self, force: bool) -> None:
        """Let it end if it is idle; `force` ends a busy one too."""

    def reap(self) -> str:
        """Wait for its end; return how it ended."""
        ...


AnyWorker = TypeVar("AnyWorker", bound=SupervisedWorker)


class SupervisedBackend(_MapInOrder[Task, Result], Generic[Task, Result, AnyWorker]):
    """Workers elsewhere, started when the first tasks come; those that die or hang are replaced."""

    def __init__(self, make_worker: MakeWorker[Task, Result], num_workers: int) -> None:
        if num_workers < 1:
            raise UserError(f"the number of workers must be at least 1, not {num_workers}")
        self._payload = pickle.dumps(make_worker, protocol=pickle.HIGHEST_PROTOCOL)
        self._num_workers = num_workers
        self._timeout_s = TASK_TIMEOUT_S
        self._workers: list[AnyWorker] = []
        self._failed_starts = 0

    def imap(self, tasks: Sequence[Task], most: int | None = None) -> Iterator[tuple[int, Result]]:
        """See `Backend.imap`. Left early, by an error or by the caller, it ends its workers."""
        most = min(most or self._num_workers, self._num_workers)
        pending = deque(range(len(tasks)))
        attempts = [0] * len(tasks)
        num_missing = len(tasks)
        finished = False
        try:
            while num_missing:
                self._spawn(min(most, num_missing))
                self._hand_out(self._workers[:most], tasks, pending, attempts)
                for worker in self._ready():
                    message = worker.receive()
                    if message is None:
                        self._bury(worker, tasks, pending, attempts)
                    elif message[0] == "hello":
                        worker.send_payload(self._payload)
                    elif message[0] == "ready":
                        worker.is_idle, self._failed_starts = True, 0
                    elif message[0] == "result":
                        index, worker.index, worker.is_idle = worker.index, None, True
                        num_missing -= 1
                        assert index is not None
                        yield index, message[1]
                    else:
                        _raise_here(message, worker.index, tasks)
            finished = True
        finally:
            if not finished:
                self.close(force=True)

    def close(self, force: bool = False) -> None:
        """End the workers: by closing their pipes, or at once."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.hang_up(force)
        for worker in workers:
            worker.reap()

    def _start(self) -> AnyWorker:
        """A new worker, which says "hello" when it wants the payload."""
        raise NotImplementedError

    def _wait(self, busy: list[AnyWorker]) -> list[AnyWorker]:
        """Those that have something to say or are dead, perhaps repeatedly; waits a tick at most."""
        raise NotImplementedError

    def _spawn(self, count: int) -> None:
        while len(self._workers) < count:
            self._workers.append(self._start())

    def _hand_out(
        self, workers: list[AnyWorker], tasks: Sequence[Task], pending: deque[int], attempts: list[int]
    ) -> None:
        for worker in workers:
            if worker.is_idle and pending:
                index = pending.popleft()
                attempts[index] += 1
                worker.send_task(index, tasks[index])

    def _ready(self) -> list[AnyWorker]:
        """Workers that have something to say, are dead, or were silent for too long (those are killed)."""
        busy = [worker for worker in self._workers if not worker.is_idle]
        ready = self._wait(busy)
        now = time.monotonic()
        for worker in busy:
            if now - worker.busy_since > self._timeout_s and worker not in ready:
                worker.kill()
                ready.append(worker)
        return list(dict.fromkeys(ready))

    def _bury(
        self, worker: AnyWorker, tasks: Sequence[Task], pending: deque[int], attempts: list[int]
    ) -> None:
        """Remove a dead worker (`_spawn` replaces it) and put its task back to the front of the queue."""
        self._workers.remove(worker)
        worker.hang_up(force=True)
        end = worker.reap()
        index = worker.index
        if index is None:
            self._failed_starts += 1
            if self._failed_starts >= MAX_ATTEMPTS:
                raise WorkerError(f"{MAX_ATTEMPTS} workers in a row ended before their first task ({end})")
            return
        if attempts[index] >= MAX_ATTEMPTS:
            raise WorkerError(f"{_name(index, tasks)} ended its worker {MAX_ATTEMPTS} times ({end})")
        pending.appendleft(index)


class ProcessBackend(SupervisedBackend[Task, Result, WorkerProcess]):
    """Supervised worker processes, spawned (never forked), one pipe each."""

    def pids(self) -> list[int]:
        """Process ids of the workers alive now."""
        return [worker.pid for worker in self._workers]

    def _start(self) -> WorkerProcess:
        return WorkerProcess()

    def _wait(self, busy: list[WorkerProcess]) -> list[WorkerProcess]:
        handles: dict[Any, WorkerProcess] = {worker.connection: worker for worker in busy}
        handles |= {worker.sentinel: worker for worker in busy}
        return [handles[spoken] for spoken in wait(list(handles), timeout=TICK_S)]


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _name(index: int, tasks: Sequence[object]) -> str:
    return f"task {index} of {len(tasks)}, {reprlib.repr(tasks[index])},"


def _raise_here(message: tuple[Any, ...], index: int | None, tasks: Sequence[object]) -> None:
    _, is_user_error, text, trace = message
    if is_user_error:
        raise UserError(text)
    where = "while building a worker" if index is None else f"{_name(index, tasks)} in a worker"
    raise WorkerError(f"{where}: {text}\n--- traceback of the worker ---\n{trace}")
