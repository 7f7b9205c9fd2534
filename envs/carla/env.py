"""CarlaVec: the CARLA envs in slots, one server a slot."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from envs.carla import tasks
from envs.carla.config import DELTA_S, CarlaConfig, config_from
from envs.carla.drive import Outcome
from envs.carla.slot import Slot
from envs.measures import Measure
from envs.vector import SlotEnv, Step
from utils.errors import check

ACTIONS = Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
"""steer (positive to the right), gas, brake: those of CarRacing"""


MEASURES = {
    "episode/mean_speed": Measure("speed_mps", "mean", "mean speed {:.1f} m/s"),
    "env/lat_err_raw": Measure("lat_err_m", "mean_abs", "mean lateral error {:.2f} m"),
    "env/head_err_raw": Measure("head_err_rad", "mean_abs"),
    "env/progress_m": Measure("progress_m", "last", "{:.0f} m driven"),
    "episode/collision": Measure("collision", "last", "{:.2f} collisions an episode"),
    "episode/off_road": Measure("off_road", "last", "{:.2f} episodes ended off the road"),
    "episode/stuck": Measure("stuck", "last", "{:.2f} ended stuck"),
    "episode/lost": Measure("server_restarted", "last", "{:.2f} ended for their server was lost"),
    **{f"env/{term}": Measure(f"reward_{term}", "sum") for term in tasks.TERMS},
    **{f"env/{term}_raw": Measure(f"raw_{term}", "sum") for term in tasks.TERMS},
}
"""what is told of an episode besides its return; the terms as they are summed up, weighted and raw"""


class CarlaVec(SlotEnv):
    """CARLA in slots; same seed, same episode, whatever the slot.

    Making one is cheap: a slot's server starts when the slot is first reset.

    Args:
        num_envs: number of slots, B.
        config: the same for all slots.

    Raises:
        UserError: there are fewer running servers than slots.
    """

    metadata: dict[str, Any] = {**SlotEnv.metadata, "render_fps": round(1 / DELTA_S)}  # noqa: RUF012
    has_guide = True
    measures = MEASURES

    def __init__(self, num_envs: int, config: CarlaConfig = CarlaConfig()) -> None:  # noqa: B008 (frozen)
        self.config = config
        self._weights = tasks.weights_from(config.weights)
        super().__init__(num_envs, Box(0, 255, (config.size, config.size, 3), np.uint8), ACTIONS)
        addresses = config.addresses()
        check(
            not addresses or len(addresses) >= num_envs,
            f"{num_envs} slots need a server each, but carla={config.carla!r} names {len(addresses)}; "
            "name more, separated by commas, or take fewer slots.",
        )
        self._slots = [Slot(config, addresses or config.carla) for _ in range(num_envs)]

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        obs = np.empty((len(indices), *self._obs.shape[1:]), np.uint8)
        try:
            for i in indices:
                self._slots[i].session.launch()  # all at once, because starting takes a while
            for row, (i, seed) in enumerate(zip(indices, seeds)):
                self._slots[i].reset(seed)
                obs[row] = self._slots[i].seen.image
        except BaseException:
            self.close_extras()
            raise
        return obs

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        slots = [self._slots[i] for i in indices]
        clipped = np.clip(np.asarray(actions, np.float64), ACTIONS.low, ACTIONS.high).tolist()
        try:
            outcomes = [slot.step(*action) for slot, action in zip(slots, clipped)]
        except BaseException:
            self.close_extras()
            raise
        obs = np.stack([slot.seen.image for slot in slots])
        reward = np.array([outcome.reward for outcome in outcomes])
        terminated = np.array([outcome.ending.terminated for outcome in outcomes])
        truncated = np.array([outcome.ending.truncated for outcome in outcomes])
        return obs, reward, terminated, truncated, _infos(slots, outcomes, self._weights)

    def _guide_slots(self, indices: np.ndarray) -> np.ndarray:
        return np.array([self._slots[i].guide() for i in indices], np.float32)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop our servers; leave others as they were found."""
        for slot in self._slots:
            slot.session.close()


def _infos(slots: list[Slot], outcomes: list[Outcome], weights: tasks.Weights) -> dict[str, np.ndarray]:
    """One array (n, ...) a number that `info_of` tells."""
    rows = [info_of(slot, outcome, weights) for slot, outcome in zip(slots, outcomes)]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def info_of(slot: Slot, outcome: Outcome, weights: tasks.Weights) -> dict[str, Any]:
    """How the drive goes, why it ended, and the reward's terms, `raw_TERM` and weighted `reward_TERM`."""
    state, reason = slot.seen.state, outcome.ending.reason
    info = {
        "lap_finished": reason == "finished",
        "collision": reason == "crash",
        "off_road": reason == "off_road",
        "stuck": reason == "stuck",
        "server_restarted": reason == "lost",
        "progress_m": state.progress_m,
        "speed_mps": state.speed_mps,
        "lat_err_m": state.lat_err_m,
        "head_err_rad": state.head_err_rad,
        "damage": state.damage,
        "on_track": state.on_track,
    }
    raw = tuple(outcome.raw.tolist())
    for name, value, part in zip(tasks.TERMS, raw, tasks.weighted(raw, weights)):
        info[f"raw_{name}"], info[f"reward_{name}"] = value, part
    return info


def make_vec(num_envs: int, **options: Any) -> CarlaVec:
    """A CarlaVec from the options of an env spec (see `envs.make`)."""
    return CarlaVec(num_envs, config_from(options))
