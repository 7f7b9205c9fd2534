"""One supervised worker process: the parent's handle on it, and the child's loop.

Parent and child speak through one pipe in plain pickles. The child says hello, receives the maker, says ready,
and then answers every task with ("result", value) or, once, with ("error", is user's, text, traceback).
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from utils.errors import UserError

THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


class WorkerProcess:
    """The parent's side of a worker process, which is started at once.

    Attributes:
        connection: the parent's end of the pipe.
        is_idle: built, and waiting for a task.
        index: of the task it works on, None while it is building.
        busy_since: monotonic time at which it got its task or was started.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _thread_limits(), _interrupts_blocked():
            self._process.start()
        theirs.close()
        self.is_idle = False
        self.index: int | None = None
        self.busy_since = time.monotonic()

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def sentinel(self) -> int:
        """Ready, for `connection.wait`, when the process has ended."""
        return self._process.sentinel

    def send_payload(self, payload: bytes) -> None:
        """Send a pickle."""
        # A worker that is gone shows at the next wait: nothing to do about it here.
        with contextlib.suppress(OSError):
            self.connection.send_bytes(payload)

    def send_task(self, index: int, task: object) -> None:
        """Give it work."""
        self.index, self.is_idle, self.busy_since = index, False, time.monotonic()
        self.send_payload(pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL))

    def receive(self) -> tuple[Any, ...] | None:
        """The next message, or None when the worker is dead."""
        try:
            return pickle.loads(self.connection.recv_bytes()) if self.connection.poll() else None
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def hang_up(self, force: bool) -> None:
        """Close the pipe, which ends an idle worker; `force` ends a busy one too."""
        self.connection.close()
        if force:
            self._process.kill()

    def reap(self) -> str:
        """Wait for its end (five seconds, then kill it); return how it ended."""
        self._process.join(timeout=5.0)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join(timeout=5.0)
        code = self._process.exitcode
        return f"exit code {code}" + (": killed, perhaps for want of memory" if code == -9 else "")


def _serve(connection: Connection) -> None:
    """The child's side, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        _send(connection, ("hello",))
        worker = pickle.loads(_receive(connection))()
        limit_loaded_libraries()
        _send(connection, ("ready",))
        try:
            while True:
                task = pickle.loads(_receive(connection))
                _send(connection, ("result", worker(task)))
        finally:
            close_worker(worker)
    except _HungUp:
        pass
    except BaseException as error:
        is_user_error = isinstance(error, UserError)
        with contextlib.suppress(_HungUp):
            _send(connection, ("error", is_user_error, str(error), traceback.format_exc()))


def close_worker(worker: object) -> None:
    """Let a worker that can be closed give back what it holds."""
    close = getattr(worker, "close", None)
    if close is not None:
        close()


class _HungUp(Exception):
    """The parent has closed the pipe: an EOFError of the worker's own is something else."""


def _receive(connection: Connection) -> bytes:
    try:
        return connection.recv_bytes()
    except (EOFError, OSError):
        raise _HungUp from None


def _send(connection: Connection, message: tuple[Any, ...]) -> None:
    # Plain pickle: torch teaches multiprocessing's own to send tensors as file descriptors.
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        connection.send_bytes(payload)
    except OSError:
        raise _HungUp from None


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def limit_loaded_libraries() -> None:
    """One thread for libraries that do not read the environment, or were loaded before it was set."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


@contextlib.contextmanager
def _thread_limits() -> Iterator[None]:
    """Processes started inside inherit an environment that allows them one thread each."""
    before = {name: os.environ.get(name) for name in THREAD_LIMITS}
    os.environ.update(dict.fromkeys(THREAD_LIMITS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started inside never see Ctrl-C, not even while they import; we see it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
