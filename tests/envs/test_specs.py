"""Specs are made of flags, compared with them, and completed by the machine's own simulator."""

from dataclasses import fields
from typing import Any

import pytest

import envs
from envs import specs
from envs.carla.config import CarlaConfig
from envs.carracing_config import CarRacingConfig
from envs.specs import CarlaFlags, CarRacingFlags
from utils.errors import UserError

RACING, CARLA = CarRacingFlags(), CarlaFlags()


def spec(name: str, **given: Any) -> dict[str, Any]:
    racing = {key: given.pop(key) for key in list(given) if key in CarRacingFlags.__dataclass_fields__}
    carla = {key: given.pop(key) for key in list(given) if key in CarlaFlags.__dataclass_fields__}
    repeat = given.pop("action_repeat", None)
    return specs.make_spec(name, given.get("size", 64), repeat, CarRacingFlags(**racing), CarlaFlags(**carla))


def test_kinds_follow_the_table_and_not_the_spelling():
    kinds = {name: specs.kind(name) for name in envs.NAMES}
    assert kinds["carracing"] == kinds["WorldModels/CarRacing-v3"] == "carracing"
    assert kinds["carla"] == kinds["CarlaRoute-v0"] == "carla"
    assert kinds["dream"] == kinds["DreamCarRacing-v2"] == "dream"
    assert set(kinds.values()) == {"carracing", "carla", "dream"}
    assert specs.kind("my.carla:make") == "other"
    assert specs.kind("Gone-v0") == "other"


def test_carracings_spec_holds_what_it_always_held_and_what_was_asked_for():
    plain = {"size": 64, "renderer": "fast", "action_repeat": 1}
    assert spec("CarRacing-v2") == {"name": "CarRacing-v2", "options": plain}
    asked = spec("carracing", crop_hud=True, perturbation="bars", action_repeat=3)
    assert asked["name"] == "CarRacing-v2"
    assert asked["options"] == {**plain, "action_repeat": 3, "crop_hud": True, "perturbation": "bars"}
    env = envs.make_from(spec("CarRacing-v2", size=32, skip_zoom=True, domain_randomize=True), 1)
    assert env.single_observation_space.shape == (32, 32, 3)


def test_carlas_spec_says_all_that_was_chosen():
    asked = spec("carla", obs="birdview", traffic=3, weather="WetNoon")
    assert asked["name"] == "CarlaCircuit-v0"
    repeat = CarlaConfig.action_repeat
    options = {
        "obs": "birdview",
        "traffic": 3,
        "weather": "WetNoon",
        "map": "circuit",
        "action_repeat": repeat,
    }
    assert asked["options"] == {"size": 64, **options}
    assert spec("CarlaRoute-v0")["options"]["map"] == "town"
    assert spec("CarlaRoute-v0", map="loop")["options"]["map"] == "loop"
    CarlaConfig(**asked["options"])


@pytest.mark.parametrize("flags", [RACING, CARLA])
def test_flags_have_the_defaults_of_what_they_stand_for(flags: Any):
    config = CarRacingConfig if flags is RACING else CarlaConfig
    for field in fields(flags):
        if (field.name, field.default) != ("map", None):
            assert field.default == config.__dataclass_fields__[field.name].default


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("CarRacing-v2", {"obs": "semantic"}, "--obs is a flag for carla, but --env is CarRacing-v2"),
        ("carla", {"crop_hud": True}, "--crop-hud is a flag for carracing, but --env is CarlaCircuit-v0"),
        ("tests.envs.guided:make_vec", {"traffic": 1}, "--traffic is a flag for carla"),
        ("tests.envs.guided:make_vec", {"action_repeat": 2}, "--action-repeat is for CarRacing and CARLA"),
        ("Carla", {}, "there is no env 'Carla'; take one of"),
    ],
)
def test_a_flag_of_another_env_is_refused(name: str, given: dict[str, Any], words: str):
    with pytest.raises(UserError, match=words):
        spec(name, **given)


def test_an_env_asked_for_by_any_of_its_names_is_compared_with_the_one_that_is_there():
    there = {"name": "CarlaCircuit-v0", "options": {}}
    for name in (None, "carla", "CarlaCircuit-v0"):
        specs.check_env(name, there, "it was", "x")
    specs.check_env("carracing", {"name": "carracing", "options": {}}, "an old dataset", "x")
    with pytest.raises(
        UserError, match="--env carracing asks for CarRacing-v2, but V saw CarlaCircuit-v0; mend"
    ):
        specs.check_env("carracing", there, "V saw", "mend")
    with pytest.raises(UserError, match="there is no env 'real-v0'"):
        specs.check_env("real-v0", there, "V saw", "mend")


def test_the_simulator_belongs_to_the_machine_and_to_carla_only():
    recorded = spec("carla")
    assert specs.at_simulator(recorded, None) == recorded
    here = specs.at_simulator(recorded, "localhost:2000")
    assert here["options"]["carla"] == "localhost:2000"
    assert "carla" not in recorded["options"]
    with pytest.raises(UserError, match="--carla names CARLA's server, but the env is CarRacing-v2"):
        specs.at_simulator(spec("CarRacing-v2"), "localhost:2000")
    with pytest.raises(UserError, match="HOST:PORT"):
        specs.at_simulator(recorded, "2000")


def test_servers_limit_slots_and_workers():
    racing, own = spec("CarRacing-v2"), spec("carla")
    assert specs.capacity(racing, None, 7) == (None, 7)
    assert specs.capacity(racing, 3, 7) == (3, 7)
    assert specs.capacity(own, None, 7) == (specs.CARLA_SLOTS, 7)
    assert specs.capacity(own, 2, 7) == (2, 7)
    named = specs.at_simulator(own, "a:1,b:2,c:3")
    assert specs.capacity(named, None, 7) == (1, 3), "a server for each worker"
    assert specs.capacity(named, None, 2) == (1, 2)
    assert specs.capacity(named, 3, 7) == (3, 1)


def test_datasets_have_a_home_of_their_own():
    assert str(specs.default_dataset(None)) == "datasets/carracing"
    assert str(specs.default_dataset("CarlaRoute-v0")) == "datasets/carla"
