"""Things with reset and step, always vectorised. Importing this room registers the gymnasium ids.

`make` gives a SlotEnv by name; `gymnasium.make` gives single envs of the same names. Nothing is imported before it is
asked for. The dream's names point into data/dreams.py, where a run directory becomes the world model that envs take.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.spaces import Box

from envs.vector import SlotEnv
from utils.errors import UserError, check

_ROUTE: dict[str, Any] = {"task": "route", "map": "town", "stuck_s": 20.0}  # others may wait at a red light
_TABLE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "CarRacing-v2": ("envs.carracing", "make_vec", {"lap_end": "truncate"}),
    "WorldModels/CarRacing-v3": ("envs.carracing", "make_vec", {"lap_end": "terminate"}),
    "DreamCarRacing-v2": ("data.dreams", "make_frames", {}),
    "CarlaCircuit-v0": ("envs.carla.env", "make_vec", {"task": "circuit"}),
    "CarlaRoute-v0": ("envs.carla.env", "make_vec", _ROUTE),
}
_ALIASES = {"carracing": "CarRacing-v2", "dream": "DreamCarRacing-v2", "carla": "CarlaCircuit-v0"}
NAMES = (*_TABLE, *_ALIASES)
"""The names that `make` knows."""

_REGISTERED: dict[str, tuple[str, dict[str, Any]]] = {
    "CarRacing-v2": ("envs.carracing:CarRacing", {"lap_end": "truncate"}),
    "WorldModels/CarRacing-v3": ("envs.carracing:CarRacing", {"lap_end": "terminate"}),
    "DreamCarRacing-v2": ("data.dreams:make_pixels", {}),
    "CarlaCircuit-v0": ("envs.carla.single:CarlaEnv", {"task": "circuit"}),
    "CarlaRoute-v0": ("envs.carla.single:CarlaEnv", _ROUTE),
}


def canonical(name: str) -> str:
    """The env's own name: "carla" is short for "CarlaCircuit-v0".

    Raises:
        UserError: there is no such env.
    """
    name = _ALIASES.get(name, name)
    if name not in _TABLE and ":" not in name:
        raise UserError(f"there is no env {name!r}; take one of {', '.join(NAMES)}.")
    return name


def module_of(name: str) -> str:
    """The module that an env lives in; empty if we do not know it."""
    return _TABLE.get(_ALIASES.get(name, name), ("",))[0]


def defaults_of(name: str) -> Mapping[str, Any]:
    """The options that a name stands for."""
    return _TABLE[canonical(name)][2]


def make(name: str, num_envs: int, **options: Any) -> SlotEnv:
    """Make a vector environment by name.

    Args:
        name: one of `NAMES`, or "module:function" of your own, called with num_envs and the options.
        num_envs: number of slots.
        **options: fields of the env's config, as an env spec holds them.

    Raises:
        UserError: there is no such env, it does not take these options, or what is made is no SlotEnv.
    """
    name = canonical(name)
    if ":" in name:
        env = _from_elsewhere(name, options)(num_envs, **options)
        check(
            isinstance(env, SlotEnv),
            f"{name} must return an envs.vector.SlotEnv, not a {type(env).__name__}.",
        )
        return env
    module, function, defaults = _TABLE[name]
    return getattr(importlib.import_module(module), function)(num_envs, **{**defaults, **options})


def make_from(spec: Mapping[str, Any], num_envs: int) -> SlotEnv:
    """Make the env that a dataset or a checkpoint describes: {"name": ..., "options": {...}}.

    Raises:
        UserError: it is no such description, or there is no such env.
    """
    name, options = spec.get("name"), spec.get("options")
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise UserError(
            f"{dict(spec)} is no env spec (a name and options); make its dataset or checkpoint again."
        )
    return make(name, num_envs, **options)


def action_space(spec: Mapping[str, Any]) -> Box:
    """The actions of the env of a spec.

    Raises:
        UserError: they are no bounded vector.
    """
    env = make_from(spec, 1)
    env.close()
    return actions_of(env, spec)


def actions_of(env: SlotEnv, spec: Mapping[str, Any]) -> Box:
    """The actions of one slot of an env.

    Raises:
        UserError: they are no bounded vector.
    """
    space = env.single_action_space
    if not isinstance(space, Box) or len(space.shape) != 1 or not space.is_bounded():
        raise UserError(f"{spec['name']} takes no bounded vector of actions, but {space}.")
    return space


def _from_elsewhere(name: str, options: Mapping[str, Any]) -> Any:
    module, function = name.split(":", 1)
    try:
        make_env = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # the last two: ".module", ""
        raise UserError(f"there is no env at {name} ({error}).") from None
    try:
        inspect.signature(make_env).bind(1, **options)
    except TypeError as error:
        raise UserError(
            f"{name} must take the number of envs and {', '.join(options) or 'nothing else'} ({error})."
        ) from None
    return make_env


def _register() -> None:
    """Register the ids once; gymnasium's own ids are left alone. Each env has a time limit of its own."""
    for name, (entry_point, options) in _REGISTERED.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point, kwargs=options)


_register()
