import copy
import json

import pytest

from data.dream_page.wishes import Wishes
from utils.errors import UserError
from utils.seeding import SPAN


@pytest.fixture
def wishes() -> Wishes:
    return Wishes(1.0, has_controller=True)


def test_what_is_said_is_wanted(wishes: Wishes):
    for message in (
        {"say": "reset", "seed": 7},
        {"say": "sync"},
        {"say": "pause", "value": True},
        {"say": "temperature", "value": 0},
        {"say": "driver", "value": "dream"},
        {"say": "keys", "held": ["left", "up", "left"]},
        {"say": "seen", "frame": 12},
        {"say": "seen", "frame": 11},
    ):
        wishes.hear(json.dumps(message))
    assert wishes == Wishes(0.0, True, "dream", frozenset({"left", "up"}), True, 7, True, True, 12)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ('{"say": "temperature", "value": 2.01}', "temperature must be a number from 0 to 2; got 2.01"),
        ('{"say": "temperature", "value": -0.1}', "temperature must"),
        ('{"say": "temperature", "value": NaN}', "temperature must"),
        ('{"say": "temperature", "value": Infinity}', "temperature must"),
        ('{"say": "temperature", "value": true}', "temperature must"),
        ('{"say": "temperature", "value": "1"}', "temperature must"),
        ('{"say": "temperature"}', "does not understand"),
        ('{"say": "reset", "seed": -1}', "seed must be a whole number"),
        (f'{{"say": "reset", "seed": {SPAN}}}', "seed must"),
        ('{"say": "reset", "seed": 1.5}', "seed must"),
        ('{"say": "reset", "seed": true}', "seed must"),
        ('{"say": "reset", "seed": 1, "logs": "/etc"}', "does not understand"),
        ('{"say": "driver", "value": "nobody"}', "the driver is one of keys, real, dream"),
        ('{"say": "driver", "value": ["keys"]}', "the driver is one of"),
        ('{"say": "keys", "held": ["jump"]}', "the keys are left, right, up, down"),
        ('{"say": "keys", "held": [["left"]]}', "the keys are"),
        ('{"say": "keys", "held": "left"}', "does not understand"),
        ('{"say": "pause", "value": 1}', "does not understand"),
        ('{"say": "seen", "frame": "1"}', "does not understand"),
        ('{"say": "dance"}', "does not understand {'say': 'dance'}"),
        ("[1, 2]", "does not understand"),
        ("not json " * 50, "does not understand"),
        ("[" * 4000, "does not understand"),
        ('"' + "\\ud800" + '"', "does not understand"),
        (b"\xff\xfe\x00", "does not understand"),
    ],
)
def test_anything_else_is_refused_in_one_sentence_and_changes_nothing(
    wishes: Wishes, message: str | bytes, words: str
):
    before = copy.copy(wishes)
    with pytest.raises(UserError) as error:
        wishes.hear(message)
    assert words in str(error.value)
    assert len(str(error.value)) < 200
    str(error.value).encode()
    assert wishes == before


def test_without_a_controller_only_the_keys_drive():
    wishes = Wishes(1.0, has_controller=False)
    with pytest.raises(UserError, match="no controller"):
        wishes.hear('{"say": "driver", "value": "real"}')
    wishes.hear('{"say": "driver", "value": "keys"}')
