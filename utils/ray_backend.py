"""Workers that are Ray actors, on this machine or on all those of a Ray cluster; needs the extra `ray`.

RAY_ADDRESS names a running cluster, each machine of which has this project installed; without it Ray is started here
and ends with the backend. An actor says what a worker process says, so the same loop supervises both: Ray itself
neither restarts nor retries anything. What is sent is pickled here: Ray's own arrays could not be written to.
"""

import contextlib
import importlib
import os
import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any

from utils.errors import UserError
from utils.parallel import TICK_S, Result, SupervisedBackend, Task
from utils.worker_process import limit_loaded_libraries

try:
    ray: Any = importlib.import_module("ray")
except ImportError:
    raise UserError(
        "--backend ray needs the package ray, an extra of this project: install it with "
        ".venv/bin/python -m pip install -e '.[ray]', or pass --backend process."
    ) from None

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # an actor that reserves no GPU may use one all the same
}
STORE_BYTES = 2**28
"""Ray's shared memory on this machine: V, M and a task of each worker go through it."""
ANSWER_S = 10.0
"""How long an answer that is ready, or the news of a death, may take to arrive."""


class Actor:
    """The far side of a worker."""

    def hello(self) -> bytes:
        """Say that the payload may come."""
        return pickle.dumps(("hello",))

    def build(self, payload: bytes) -> bytes:
        """Make the worker."""
        return _answer(lambda: self._build(payload))

    def work(self, task: bytes) -> bytes:
        """Do a task."""
        return _answer(lambda: ("result", self._worker(pickle.loads(task))))

    def _build(self, payload: bytes) -> tuple[str]:
        self._worker = pickle.loads(payload)()
        limit_loaded_libraries()
        return ("ready",)


def _answer(compute: Callable[[], tuple[Any, ...]]) -> bytes:
    try:
        return pickle.dumps(compute(), protocol=pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return pickle.dumps(("error", isinstance(error, UserError), str(error), traceback.format_exc()))


class RayWorker:
    """The parent's side; see `WorkerProcess`."""

    def __init__(self) -> None:
        options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        self._actor: Any = ray.remote(**options)(Actor).remote()
        self.answer: Any = self._actor.hello.remote()
        self.has_place = False
        self.is_idle = False
        self.index: int | None = None
        self.busy_since = time.monotonic()

    def send_payload(self, payload: bytes) -> None:
        """Let it make its worker."""
        self.has_place = True
        self.answer = self._actor.build.remote(payload)

    def send_task(self, index: int, task: object) -> None:
        """Give it work."""
        self.index, self.is_idle, self.busy_since = index, False, time.monotonic()
        self.answer = self._actor.work.remote(pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL))

    def receive(self) -> tuple[Any, ...] | None:
        """The next message, or None when the actor is dead."""
        try:
            return pickle.loads(ray.get(self.answer, timeout=ANSWER_S))
        except ray.exceptions.RayError:
            return None

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(Exception):  # Ray may be gone already
            ray.kill(self._actor)

    def hang_up(self, force: bool) -> None:
        """End it; nothing of an idle actor is worth waiting for."""
        self.kill()

    def reap(self) -> str:
        """How it ended: Ray's raylet has seen to that it does."""
        return "its Ray actor died"


class RayBackend(SupervisedBackend[Task, Result, RayWorker]):
    """Supervised Ray actors, one core each; what does not fit the cluster's cores waits and is given no task."""

    _is_ours = False

    def close(self, force: bool = False) -> None:
        """End the actors, and Ray if it was started here."""
        super().close(force)
        if self._is_ours:
            ray.shutdown()
            self._is_ours = False

    def _start(self) -> RayWorker:
        if not ray.is_initialized():
            self._connect()
        return RayWorker()

    def _connect(self) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        address = os.environ.get("RAY_ADDRESS")
        if address:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                first = str(error).partition("\n")[0]
                raise UserError(
                    f"no Ray cluster lets us in at RAY_ADDRESS={address} ({first.rstrip('.')}); start one with ray "
                    "start --head, and give it and this command the same RAY_AUTH_TOKEN."
                ) from None
        else:
            local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
            ray.init(address="local", num_cpus=self._num_workers, **local, **quiet)
        self._is_ours = True

    def _wait(self, busy: list[RayWorker]) -> list[RayWorker]:
        if any(worker.has_place for worker in self._workers):  # so those that have none do not hang
            for worker in busy:
                worker.busy_since = worker.busy_since if worker.has_place else time.monotonic()
        ready, _ = ray.wait([worker.answer for worker in busy], num_returns=1, timeout=TICK_S)
        return [worker for worker in busy if worker.answer in ready]
