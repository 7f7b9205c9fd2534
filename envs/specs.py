"""Env specs, {"name": ..., "options": {...}}: how datasets and checkpoints describe an env.

They are made of flags, compared, and completed by what belongs to a machine rather than to an env. Nothing
here makes an env, so nothing needs CARLA or gymnasium's physics.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import envs
from envs.carla.config import CarlaConfig
from envs.carla.config import config_from as carla_config
from envs.carracing_config import CarRacingConfig
from utils.errors import UserError, check

Spec = Mapping[str, Any]
Kind = Literal["carracing", "carla", "dream", "other"]
KINDS: dict[str, Kind] = {"envs.carracing": "carracing", "envs.carla.env": "carla", "data.dreams": "dream"}
"""Module of an env -> what kind it is."""
CARLA_SLOTS = 4
"""Slots of a worker that starts its own servers: each is a process, and they take turns anyway."""


CarlaArg = Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")]
"""Of the flag --carla."""


@dataclass(frozen=True)
class CarRacingFlags:
    """CarRacing only."""

    renderer: Literal["fast", "gymnasium"] = CarRacingConfig.renderer
    """who draws: ours, or gymnasium's own (slow)"""
    crop_hud: bool = CarRacingConfig.crop_hud
    """show only the rows above the black strip, stretched to the frame"""
    skip_zoom: bool = CarRacingConfig.skip_zoom
    """draw the first second at full zoom"""
    domain_randomize: bool = CarRacingConfig.domain_randomize
    """other colours in every episode"""
    perturbation: Literal["none", "color", "bars"] = CarRacingConfig.perturbation
    """shifted colours, or black bars at both sides"""


@dataclass(frozen=True)
class CarlaFlags:
    """CARLA only."""

    obs: Literal["rgb", "birdview", "semantic"] = CarlaConfig.obs
    """what a frame shows: the camera's picture, the map from above, or the camera's classes as colours"""
    map: str | None = None
    """circuit (another one for each seed), loop, town, a FILE.xodr, or a town of the simulator; by default circuit,
    for CarlaRoute-v0 town"""
    traffic: int = CarlaConfig.traffic
    """other vehicles"""
    weather: str = CarlaConfig.weather
    """name of one of CARLA's weather presets"""


def kind(name: str) -> Kind:
    """What kind of env a name means; "other" for one of your own."""
    return KINDS.get(envs.module_of(name), "other")


def make_spec(
    name: str, size: int, action_repeat: int | None, carracing: CarRacingFlags, carla: CarlaFlags
) -> dict[str, Any]:
    """The spec that flags ask for; of the flags that are one kind's only, another kind's may not be used.

    Raises:
        UserError: there is no such env, or a flag is not for it.
    """
    name = envs.canonical(name)
    options: dict[str, Any] = {"size": size}
    for which, flags in (("carracing", carracing), ("carla", carla)):
        used = [field.name for field in fields(flags) if getattr(flags, field.name) != field.default]
        if kind(name) != which and used:
            raise UserError(f"--{used[0].replace('_', '-')} is a flag for {which}, but --env is {name}.")
    if kind(name) == "carracing":
        options |= {
            "renderer": carracing.renderer,
            "action_repeat": action_repeat or CarRacingConfig.action_repeat,
        }
        options |= {
            field.name: getattr(carracing, field.name)
            for field in fields(carracing)
            if getattr(carracing, field.name) != field.default
        }
    elif kind(name) == "carla":
        town = carla.map or envs.defaults_of(name).get("map", CarlaConfig.map)
        options |= {
            "action_repeat": action_repeat or CarlaConfig.action_repeat,
            "obs": carla.obs,
            "map": town,
        }
        options |= {"traffic": carla.traffic, "weather": carla.weather}
    else:
        check(action_repeat is None, f"--action-repeat is for CarRacing and CARLA, but --env is {name}.")
    return {"name": name, "options": options}


def check_env(name: str | None, spec: Spec, what: str, mend: str) -> None:
    """Refuse an --env that is not the spec's.

    Args:
        name: the flag's value; None asks for nothing.
        spec: of the env that is there.
        what: the sentence's middle, "exp_dir was trained on".
        mend: its end, what to do.

    Raises:
        UserError: it is another env, or none at all.
    """
    there = spec.get("name")
    if name is not None and there not in (name, envs.canonical(name)):
        raise UserError(f"--env {name} asks for {envs.canonical(name)}, but {what} {there}; {mend}")


def with_options(spec: Spec, **options: Any) -> dict[str, Any]:
    """The spec with other options."""
    return {"name": spec["name"], "options": {**spec["options"], **options}}


def at_simulator(spec: Spec, address: str | None) -> dict[str, Any]:
    """The spec with CARLA's servers named (--carla): the one thing that is the machine's and in no checkpoint.

    Raises:
        UserError: it is no CARLA env, or the address is none.
    """
    if address is None:
        return dict(spec)
    check(kind(spec["name"]) == "carla", f"--carla names CARLA's server, but the env is {spec['name']}.")
    spec = with_options(spec, carla=address)
    carla_config(spec["options"])
    return spec


def capacity(spec: Spec, slots: int | None, workers: int) -> tuple[int | None, int]:
    """Slots of a worker, and workers, that the env can bear; a CARLA slot takes a server of its own.

    Args:
        spec: of the env, its simulator named if there is one.
        slots: what the user asks for.
        workers: how many there would be.

    Returns:
        slots (None where the env sets no limit), workers.
    """
    if kind(spec["name"]) != "carla":
        return slots, workers
    addresses = carla_config(spec["options"]).addresses()
    if not addresses:
        return slots or CARLA_SLOTS, workers
    slots = slots or 1
    return slots, max(1, min(workers, len(addresses) // slots))


def default_dataset(name: str | None) -> Path:
    """Where the datasets of an env are, if nothing else is said."""
    return Path("datasets") / ("carla" if name is not None and kind(name) == "carla" else "carracing")
