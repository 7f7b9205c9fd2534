"""CarlaEnv: one CARLA env for `gymnasium.make`, with more to see and to choose than the pipeline needs."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete, Space
from numpy.typing import NDArray

from envs.carla import tasks
from envs.carla.config import DELTA_S, config_from
from envs.carla.drive import STATE
from envs.carla.env import ACTIONS, info_of
from envs.carla.sensors import LIDAR_RANGE_M, LIDAR_SECTORS
from envs.carla.slot import Slot
from utils.errors import UserError, check

STEERS, PEDALS = (-0.6, -0.25, -0.08, 0.0, 0.08, 0.25, 0.6), ((0.7, 0.0), (0.25, 0.0), (0.0, 0.6))
TABLE: tuple[tuple[float, float, float], ...] = tuple((s, *pedals) for pedals in PEDALS for s in STEERS)
"""discrete actions as (steer, gas, brake): seven steering angles with full gas, some gas and the brake"""


class CarlaEnv(gymnasium.Env[Any, Any]):
    """CARLA for agents of any kind.

    Args:
        render_mode: None or "rgb_array": the last frame.
        continuous: False takes a row of `TABLE`.
        state: the observation is a dict of `image` and `state` (see `drive.STATE`).
        lidar: the observation is a dict, with the free way in each direction in metres as `lidar`.
        **options: fields of CarlaConfig.

    Raises:
        UserError: an option is unknown or impossible.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (gymnasium's name)

    def __init__(
        self,
        render_mode: str | None = None,
        continuous: bool = True,
        state: bool = False,
        lidar: bool = False,
        **options: Any,
    ) -> None:
        check(
            render_mode in (None, "rgb_array"),
            f"CARLA's render_mode is None or rgb_array; got {render_mode!r}.",
        )
        self.config = config = config_from(options)
        self.metadata = {**self.metadata, "render_fps": 1 / (DELTA_S * config.action_repeat)}
        self.render_mode, self._continuous, self._state, self._lidar = render_mode, continuous, state, lidar
        self.action_space = ACTIONS if continuous else Discrete(len(TABLE))  # type: ignore[assignment]
        spaces: dict[str, Space] = {"image": Box(0, 255, (config.size, config.size, 3), np.uint8)}
        if state:
            spaces["state"] = Box(-np.inf, np.inf, (len(STATE),), np.float32)
        if lidar:
            spaces["lidar"] = Box(0, LIDAR_RANGE_M, (LIDAR_SECTORS,), np.float32)
        self.observation_space = Dict(spaces) if len(spaces) > 1 else spaces["image"]
        self._slot = Slot(config, config.addresses() or config.carla, lidar)
        self._weights = tasks.weights_from(config.weights)
        self._runs = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of map, start, route and traffic; None draws one.
            options: none are known.

        Returns:
            obs: the frame uint8 (size, size, 3), or a dict with it; an empty info.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31)) if seed is None else seed
        try:
            self._slot.reset(drawn)
        except BaseException:
            self.close()
            raise
        self._runs = True
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold an action for `action_repeat` ticks.

        Args:
            action: steer in [-1, 1], gas and brake in [0, 1], (3,); or a row of `TABLE`.

        Raises:
            ResetNeeded: there is no episode.
            InvalidAction: the action is not three finite numbers, or not a row of the table.
        """
        if not self._runs:
            raise ResetNeeded("call env.reset() before env.step().")
        try:
            outcome = self._slot.step(*self._control(action))
        except UserError:
            self.close()
            raise
        self._runs = not outcome.ending.reason
        info = info_of(self._slot, outcome, self._weights)
        ending = outcome.ending
        return self._observe(), outcome.reward, ending.terminated, ending.truncated, info

    def guide(self) -> NDArray[np.float32]:
        """What the pure-pursuit driver would do now: steer, gas, brake, (3,)."""
        return np.array(self._slot.guide(), np.float32)

    def render(self) -> Any:
        """The last frame, uint8 (size, size, 3)."""
        return self._slot.seen.image.copy() if self.render_mode else None

    def close(self) -> None:
        """Stop our server; leave another as it was found."""
        self._runs = False
        self._slot.session.close()

    def _control(self, action: Any) -> list[float]:
        if not self._continuous:
            if not self.action_space.contains(action):
                raise InvalidAction(
                    f"a discrete action is a whole number from 0 to {len(TABLE) - 1}; got {action!r}."
                )
            return list(TABLE[int(action)])
        control = np.asarray(action)
        if control.shape != (3,) or control.dtype.kind not in "fiu" or not np.isfinite(control).all():
            raise InvalidAction(f"an action is three finite numbers: steer, gas, brake; got {action!r}.")
        return np.clip(control.astype(np.float64), ACTIONS.low, ACTIONS.high).tolist()

    def _observe(self) -> Any:
        seen = self._slot.seen
        if not isinstance(self.observation_space, Dict):
            return seen.image
        parts = {"image": seen.image, "state": seen.vector, "lidar": seen.free_m}
        return {key: parts[key] for key in self.observation_space}
