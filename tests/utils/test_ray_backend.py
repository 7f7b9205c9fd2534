"""Ray's workers: as the other backends, with the worker functions of test_parallel.py; skipped without ray."""

import functools
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.utils import test_parallel as shared
from utils import parallel
from utils.errors import UserError


def test_without_the_package_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "utils.ray_backend", raising=False)
    with pytest.raises(UserError, match=r"needs the package ray, .*\[ray\]"):
        parallel.open_backend("ray", shared.make_threads_worker)


@pytest.fixture(scope="module")
def ray():
    """Ray running with three places, so that the backends of these tests need not start it."""
    ray = pytest.importorskip("ray")
    ray.init(
        address="local", num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=2**27
    )
    yield ray
    ray.shutdown()


def test_it_gives_the_bits_of_the_serial_backend_on_one_thread(ray):
    make_worker = functools.partial(shared.make_matmul_worker, 300)
    tasks = list(range(7))
    with parallel.open_backend("serial", make_worker) as backend:
        expected = backend.map(tasks)
    told: list[int] = []
    with parallel.open_backend("ray", make_worker, 3) as backend:
        assert backend.map(tasks, on_result=lambda index, _: told.append(index)) == expected
        assert backend.map(tasks[:2]) == expected[:2], "workers serve several maps"
    assert sorted(told) == tasks
    with parallel.open_backend("ray", shared.make_threads_worker) as backend:
        assert backend.map([0]) == [(1, "1")]


def test_actors_that_find_no_place_keep_nobody_waiting(ray):
    with parallel.open_backend("ray", functools.partial(shared.make_failing_worker, "never"), 5) as backend:
        assert backend.map(range(9)) == list(range(9))


def test_a_killed_actor_is_replaced_and_its_task_run_again(ray, tmp_path: Path):
    with parallel.open_backend("ray", functools.partial(shared.make_mortal_worker, tmp_path), 2) as backend:
        results = backend.map(range(6))
        assert [task for task, _ in results] == list(range(6))
        assert (tmp_path / "seen2").exists()
        for pid in {pid for _, pid in results}:  # killed while idle, between two maps
            if shared.is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        assert [task for task, _ in backend.map(range(4))] == list(range(4))


@pytest.mark.parametrize(("kind", "error", "words"), shared.FAILURES)
def test_an_error_reaches_the_parent_with_its_traceback(
    ray, kind: str, error: type[Exception], words: list[str]
):
    make_worker = functools.partial(shared.make_failing_worker, kind)
    with parallel.open_backend("ray", make_worker, 1) as backend, pytest.raises(error) as caught:
        backend.map(range(3))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert ("actor died" in str(caught.value)) == (kind == "kill")


def test_a_hanging_actor_is_replaced_and_in_the_end_reported(ray, monkeypatch: pytest.MonkeyPatch):
    make_worker = functools.partial(shared.make_failing_worker, "sleep")
    with parallel.open_backend("ray", make_worker, 1) as backend:
        assert backend.map([0]) == [0]  # built under the long limit
        backend._timeout_s = 0.2  # type: ignore[attr-defined]
        monkeypatch.setattr(parallel, "MAX_ATTEMPTS", 1)
        with pytest.raises(parallel.WorkerError, match="task 1 of 2"):
            backend.map(range(2))


def test_an_address_where_nobody_listens_is_told(monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray")
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with (
        parallel.open_backend("ray", shared.make_threads_worker) as backend,
        pytest.raises(UserError, match="RAY_ADDRESS=nonsense"),
    ):
        backend.map([0])


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_actor_outlives_its_parent(tmp_path: Path, end: signal.Signals):
    pytest.importorskip("ray")
    shared.check_no_orphans(tmp_path, "ray", end)
