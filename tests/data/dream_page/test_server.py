"""The server as a tab sees it, over real connections."""

import asyncio
import http.client
import socket
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from data.dream_page.server import PageServer
from data.dream_page.session import IN_FLIGHT
from envs.side_by_side import SideBySide
from tests.data.dream_page.serving import PATIENCE_S, Frame, Served, Tab, tiny_place
from utils.errors import UserError


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served(tiny_place())
    yield server
    server.stop()


def wait_for_tabs(served: Served, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while served.page.num_tabs != count:
        assert time.monotonic() < end, f"{served.page.num_tabs} tabs"
        time.sleep(0.01)


def get(served: Served, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    return reply.status, reply.headers.get("Content-Type", ""), reply.read()


def assert_no_frame_comes(tab: Tab) -> None:
    time.sleep(0.2)  # ten frames' time
    tab.say(say="nonsense")
    assert isinstance(tab.hear(), dict), "the answer, and no frame before it"


def test_the_page_and_all_that_it_asks_for_is_served(served: Served):
    status, kind, page = get(served, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    for name, kind in (
        ("page.js", "javascript"),
        ("link.js", "javascript"),
        ("page.css", "css"),
        ("icon.svg", "svg"),
    ):
        assert f'"{name}"'.encode() in page or name == "link.js"
        got = get(served, f"/{name}?x=1")
        assert got[0] == 200
        assert kind in got[1]
        assert got[2]


@pytest.mark.parametrize(
    "path", ["/nothing", "/../server.py", "/static/page.js", "/%2e%2e/server.py", "//", "//["]
)
def test_nothing_else_is(served: Served, path: str):
    assert get(served, path)[0] == 404


def test_only_gets_and_only_its_own_names_are_answered(served: Served):
    assert get(served, "/", "POST")[0] == 405
    assert get(served, "/", Host=f"localhost:{served.port}")[0] == 200
    for name in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example", "", "[::1", "a b"):
        assert get(served, "/", Host=name)[0] == 403, name


def test_foreign_pages_cannot_connect(served: Served):
    for origin in (
        "http://evil.example",
        f"https://127.0.0.1:{served.port}",
        "http://127.0.0.1",
        "null",
        None,
    ):
        with pytest.raises(InvalidStatus) as refusal, served.tab(origin=origin):
            pass
        assert refusal.value.response.status_code == 403
    rebound = f"evil.example:{served.port}"
    host = {"additional_headers": {"Host": rebound}}
    with pytest.raises(InvalidStatus) as refusal, served.tab(origin=f"http://{rebound}", **host):
        pass
    assert refusal.value.response.status_code == 403
    with served.tab(origin=served.url[:-1]) as tab:
        assert tab.hear()["say"] == "hello"


@pytest.mark.skipif(sys.platform != "linux", reason="all of 127/8 is loopback on Linux alone")
def test_it_listens_on_the_loopback_address_alone(served: Served):
    with pytest.raises(OSError, match=r"refused|unreachable|requested address|timed out"):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)


def test_a_tab_gets_the_drive_of_its_seed(served: Served):
    first = []
    for seed in (3, 3, 4):
        with served.tab() as tab:
            frame = tab.begin(seed)
            assert frame.head["begins"]
            assert frame.head["seed"] == seed
            assert frame.head["step"] == 2, "warmed up"
            assert frame.head["age"] == 0
            assert np.array_equal(frame.pixels[1], frame.pixels[2])
            first.append([frame.pixels, *(tab.see().pixels for _ in range(3))])
            assert not np.array_equal(first[-1][-1][2], first[-1][0][2])
    assert np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], first[2])


def test_keys_turn_the_wheel_and_the_controller_takes_it_back(served: Served):
    with served.tab() as tab:
        tab.begin()
        tab.say(say="keys", held=["left", "up"])
        head = tab.see_until(lambda head: head["action"][0] == -1).head
        assert head["driver"] == "keys"
        assert head["action"] == [-1, 1, 0]
        tab.say(say="keys", held=[])
        tab.see_until(lambda head: head["action"] == [0, 0, 0])
        for driver in ("real", "dream"):
            tab.say(say="driver", value=driver)
            assert any(tab.see_until(lambda head, driver=driver: head["driver"] == driver).head["action"])


def test_hands_that_were_off_the_wheel_take_it_straight(served: Served):
    with served.tab() as tab:
        tab.begin()
        tab.say(say="keys", held=["left"])
        tab.see_until(lambda head: head["action"][0] == -1)
        tab.say(say="driver", value="real")
        tab.see_until(lambda head: head["driver"] == "real")
        tab.say(say="keys", held=[])
        tab.say(say="driver", value="keys")
        assert tab.see_until(lambda head: head["driver"] == "keys").head["action"] == [0, 0, 0]


def test_frames_that_were_never_sent_cannot_have_been_seen(served: Served):
    with served.tab() as tab:
        assert tab.hear()["say"] == "hello"
        tab.say(say="seen", frame=10**6)
        tab.say(say="reset", seed=0)
        assert [tab.hear().head["frame"] for _ in range(IN_FLIGHT)] == [1, 2, 3]
        assert_no_frame_comes(tab)


def test_pause_holds_the_drive_while_sync_reset_and_temperature_go_on(served: Served):
    with served.tab() as tab:
        tab.begin()
        tab.see_until(lambda head: head["age"] > 3)
        tab.say(say="pause", value=True)
        tab.say(say="temperature", value=0.25)
        tab.say(say="sync")
        frame = tab.see_until(lambda head: head["age"] == 0)
        assert frame.head["temperature"] == 0.25
        assert frame.head["step"] > 3
        assert np.array_equal(frame.pixels[1], frame.pixels[2])
        tab.say(say="reset", seed=5)
        assert tab.see().head["seed"] == 5, "no other frame came in between"
        tab.say(say="pause", value=False)
        assert tab.see().head["age"] == 1


def test_a_bad_message_is_answered_in_one_sentence_and_the_drive_goes_on(served: Served):
    with served.tab() as tab:
        tab.begin()
        tab.say(say="pause", value=True)
        tab.say(say="temperature", value=99)
        while not isinstance(answer := tab.hear(), dict):
            pass
        assert answer == {"say": "error", "message": "the temperature must be a number from 0 to 2; got 99."}
        tab.say(say="reset", seed=1)
        while not isinstance(frame := tab.hear(), Frame) or not frame.head["begins"]:
            pass
        assert frame.head["temperature"] == 1


def test_a_tab_that_does_not_look_is_not_flooded(served: Served):
    with served.tab() as tab:
        tab.begin()
        numbers = [tab.hear().head["frame"] for _ in range(IN_FLIGHT)]
        assert_no_frame_comes(tab)
        tab.say(say="seen", frame=numbers[-1])
        assert tab.hear().head["frame"] == numbers[-1] + 1


def test_a_message_too_long_costs_the_connection_and_its_place(served: Served):
    with served.tab() as tab:
        tab.begin()
        tab.socket.send("x" * 10_000)
        assert tab.hear_the_end().code == 1009
    wait_for_tabs(served, 0)


def test_places_are_bounded_and_freed_by_closing():
    served = Served(tiny_place(), max_tabs=2)
    with served.tab() as one, served.tab() as two:
        assert one.begin(1).head["seed"] == 1
        assert two.begin(2).head["seed"] == 2
        assert one.see_until(lambda head: head["age"] > 2).head["seed"] == 1, "each its own"
        with served.tab() as three:
            end = three.hear_the_end()
        assert (end.code, end.reason) == (
            1013,
            "No place is free (--max-tabs 2): close another tab of this page.",
        )
        two.socket.socket.shutdown(socket.SHUT_RDWR)  # no farewell
        wait_for_tabs(served, 1)
        with served.tab() as three:
            assert three.begin(3).head["seed"] == 3
    wait_for_tabs(served, 0)
    served.stop()


@pytest.mark.parametrize("begins", [False, True])
def test_a_tab_that_shows_nothing_loses_its_place(begins: bool):
    served = Served(tiny_place(patience_s=0.1))
    with served.tab() as tab:
        assert tab.hear()["say"] == "hello"
        if begins:
            tab.say(say="reset", seed=0)
        assert "lost its place" in tab.hear_the_end().reason
        wait_for_tabs(served, 0)
    served.stop()


def test_nothing_is_left_when_the_server_stops():
    before = set(threading.enumerate())
    served = Served(tiny_place())
    with served.tab() as tab:
        tab.begin()
        served.stop()
        assert tab.hear_the_end().code == 1001
    end = time.monotonic() + PATIENCE_S
    while set(threading.enumerate()) - before:
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.01)


def test_a_tab_that_closes_closes_its_env():
    place, is_closed = tiny_place(), threading.Event()

    def make() -> SideBySide:
        drive = place.make()
        drive.env.close = lambda **_: is_closed.set()
        return drive

    served = Served(tiny_place(make=make))
    with served.tab() as tab:
        tab.begin()
        assert not is_closed.is_set()
    assert is_closed.wait(PATIENCE_S)
    served.stop()


def test_what_cannot_be_made_is_told_to_the_tab():
    def make():
        raise UserError("\u00e9" * 100)

    served = Served(tiny_place(make=make))
    with served.tab() as tab:
        end = tab.hear_the_end()
        assert (end.code, end.reason) == (4000, "\u00e9" * 60), "120 bytes of it"
    served.stop()


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [("127.0.0.1", None, "taken already"), ("no.such.host.invalid", 0, "does not go by the name")],
)
def test_a_port_or_a_host_that_cannot_be_had_is_refused(
    served: Served, host: str, port: int | None, words: str
):
    async def attempt() -> None:
        async with PageServer(tiny_place(), host).open(served.port if port is None else port):
            raise AssertionError("it listens")

    with pytest.raises(UserError, match=words):
        asyncio.run(attempt())


def test_an_installed_copy_has_the_pages_files():
    root = Path(__file__).resolve().parents[3]
    setup = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    folder = root / "data" / "dream_page"
    packed = {path for pattern in setup["package-data"]["data.dream_page"] for path in folder.glob(pattern)}
    assert packed == set((folder / "static").iterdir())
    assert len(packed) == 6
