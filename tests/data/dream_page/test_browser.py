"""The page in a real browser; skipped where there is none (apt-get install chromium)."""

import time
from collections.abc import Iterator

import pytest

from envs.side_by_side import SideBySide
from tests.browser import Tab, chromium, find_chromium
from tests.data.dream_page.serving import Served, tiny_place
from utils.errors import UserError

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")

PIXELS = "[0, 1, 2].map(i => document.getElementById(`view-${i}`).toDataURL())"


@pytest.fixture(scope="module")
def browser() -> Iterator[Tab]:
    with chromium() as tab:
        yield tab


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served(tiny_place(fps=30))
    yield server
    server.stop()


@pytest.fixture
def tab(browser: Tab, served: Served) -> Iterator[Tab]:
    browser.complaints.clear()
    browser.size(1400, 900)
    browser.open(served.url)
    frames(browser, 3)
    yield browser
    browser.open("about:blank")


def frames(tab: Tab, count: int) -> None:
    """Wait for so many frames from now on."""
    now = int(tab.js("document.body.dataset.frame || 0"))
    tab.wait(f"+document.body.dataset.frame >= {now + count}")


def text(tab: Tab, selector: str) -> str:
    return tab.js(f"document.querySelector({selector!r}).textContent")


def test_three_pictures_move_and_the_console_stays_silent(tab: Tab):
    before = tab.js(PIXELS)
    frames(tab, 10)
    after = tab.js(PIXELS)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert len(set(after)) == 3
    assert text(tab, "#env") == "CarRacing-v2"
    assert text(tab, "#link") == "Connected"
    assert "steps on its own" in text(tab, "#age")
    assert tab.js("document.querySelector('#rewards').width") > 300
    assert not tab.complaints


def test_arrow_keys_take_the_wheel_and_c_gives_it_back(tab: Tab):
    pressed = "document.querySelector('[aria-pressed=true][data-driver]').dataset.driver"
    assert tab.js(pressed) == "real"
    tab.key("ArrowLeft", True)
    tab.key("ArrowUp", True)
    tab.wait("+document.getElementById('steer').ariaValueNow < -0.5")
    tab.wait("+document.getElementById('gas').ariaValueNow > 0.5")
    assert tab.js(pressed) == "keys"
    assert tab.js("document.querySelectorAll('.is-held').length") == 2
    tab.key("ArrowLeft", False)
    tab.wait("+document.getElementById('steer').ariaValueNow == 0")
    tab.key("ArrowUp", False)
    tab.wait("+document.getElementById('gas').ariaValueNow == 0")
    tab.tap("c")
    assert tab.js(pressed) == "real"
    tab.tap("c")
    assert tab.js(pressed) == "dream"
    frames(tab, 2)
    assert not tab.complaints


def test_the_slider_changes_the_temperature_of_the_drive(tab: Tab):
    tab.js("document.getElementById('temperature').focus()")
    for _ in range(3):
        tab.tap("ArrowRight")
    tab.wait("document.getElementById('score').textContent.includes('temperature 1.15')")
    assert text(tab, "#temperature-value") == "1.15"
    assert tab.js("document.querySelector('[data-driver=keys]').ariaPressed") == "false", (
        "the slider had that arrow"
    )
    tab.click("#temperature")
    tab.wait("document.getElementById('score').textContent.includes('temperature 1.00')")
    assert tab.js("document.activeElement.id") == "stage", "the mouse gives the arrows back to the drive"
    assert not tab.complaints


def test_seed_reset_next_sync_and_pause(tab: Tab):
    tab.js("document.getElementById('seed').select()")
    for key in ("4", "2", "Enter"):
        tab.tap(key)
    tab.wait("document.getElementById('score').textContent.startsWith('Track 42,')")
    tab.click("#next")
    tab.wait("document.getElementById('score').textContent.startsWith('Track 43,')")
    tab.wait("parseInt(document.getElementById('age').textContent) > 15")
    tab.click("#pause")
    tab.tap("s")
    tab.wait("document.getElementById('age').textContent.startsWith('0 ')")
    tab.tap("p")
    tab.wait("parseInt(document.getElementById('age').textContent) > 2")
    tab.js("document.getElementById('seed').value = -1")
    tab.click("#reset")
    assert "whole number" in text(tab, "#notice")
    assert not tab.complaints


def test_a_lost_connection_is_told_and_healed_with_all_that_was_set(tab: Tab, served: Served):
    tab.js("document.getElementById('temperature').focus()")
    tab.tap("ArrowLeft")
    tab.wait("document.getElementById('score').textContent.includes('temperature 0.95')")
    served.stop()
    tab.wait("document.getElementById('link').dataset.state === 'lost'")
    assert "Trying again" in text(tab, "#link")
    tab.js("document.getElementById('score').textContent = ''")
    served.start()
    tab.wait("document.getElementById('link').dataset.state === 'open'")
    tab.wait("document.getElementById('score').textContent.includes('temperature 0.95')")
    tab.complaints.clear()  # the browser itself complains of the refused connection
    before = tab.js(PIXELS)
    tab.wait(f"{PIXELS}[2] !== {before[2]!r}")
    assert not tab.complaints


def test_a_picture_of_the_connection_before_is_not_drawn(tab: Tab, served: Served):
    tab.js("window.ask = requestAnimationFrame; requestAnimationFrame = (draw) => { window.left = draw; }")
    tab.wait("window.left")
    served.stop()
    tab.wait("document.getElementById('link').dataset.state === 'lost'")
    tab.complaints.clear()  # the browser itself complains of the refused connection
    tab.js("window.left(performance.now())")
    tab.js("requestAnimationFrame = window.ask")
    served.start()
    tab.wait("document.getElementById('link').dataset.state === 'open'")
    frames(tab, 3)


def test_what_can_never_work_is_said_and_not_tried_again(browser: Tab):
    tries = []

    def make() -> SideBySide:
        tries.append(1)
        raise UserError("there is no such env.")

    served = Served(tiny_place(make=make))
    browser.open(served.url)
    browser.wait("document.getElementById('link').dataset.state === 'lost'")
    assert text(browser, "#link") == "there is no such env. Reload the page to try again."
    time.sleep(1.2)  # the next try was due after half a second
    assert len(tries) == 1
    browser.open("about:blank")
    served.stop()


def test_what_the_server_refuses_is_shown(browser: Tab):
    served = Served(tiny_place(), max_tabs=1)
    with served.tab() as other:
        other.begin()
        browser.open(served.url)
        browser.wait("document.getElementById('link').dataset.state === 'lost'")
        assert "No place is free" in text(browser, "#link")
    browser.wait("document.getElementById('link').dataset.state === 'open'")
    browser.open("about:blank")
    served.stop()


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_is_cut_off_at_any_width(tab: Tab, width: int):
    tab.size(width, 780)
    frames(tab, 2)
    assert tab.js("document.documentElement.scrollWidth") <= width
    cut = (
        "[...document.querySelectorAll('button, label, figcaption b, h1, td, th')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline'"
        " || e.getBoundingClientRect().right > innerWidth).map(e => e.outerHTML)"
    )
    assert tab.js(cut) == []


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(tab: Tab):
    tree = tab.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "slider", "spinbutton"}
    controls = [node for node in tree if node.get("role", {}).get("value") in kinds]
    assert len(controls) >= 13
    assert all(node["name"]["value"].strip() for node in controls)
    reached = set()
    for _ in range(20):
        tab.tap("Tab")
        reached.add(tab.js("document.activeElement.id || document.activeElement.dataset.driver"))
    assert {"stage", "temperature", "real", "dream", "seed", "reset", "sync", "pause"} <= reached
