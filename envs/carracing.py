"""CarRacing: gymnasium's tracks, seeds, physics and rewards to the bit, with our renderer.

`CarRacing` is one env, for `gymnasium.make`; `CarRacingVec` is a SlotEnv of them. The lap's end truncates in
`CarRacing-v2` and terminates in `WorldModels/CarRacing-v3`; leaving the playfield terminates in both.
"""

import math
from dataclasses import asdict
from typing import Any, cast

import cv2
import gymnasium
import numpy as np
from gymnasium.envs.box2d import car_racing
from gymnasium.envs.box2d.car_dynamics import Car
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from envs.carracing_config import CarRacingConfig, config_from
from envs.carracing_guide import Guide
from envs.carracing_physics import DT, Contacts, Drive, SlimCar, Wheel
from envs.carracing_renderer import Renderer
from envs.vector import SlotEnv, Step
from utils import seeding

BAR = 0.075
"""Width of each side bar over the frame's."""
SHIFT = 0.2
"""Channels are scaled by up to so much by the colour perturbation."""


class CarRacing(car_racing.CarRacing):
    """One CarRacing for `gymnasium.make`.

    Like CarRacingVec it is truncated after `max_steps` steps of the simulator, 1000 by default.

    Args:
        render_mode: None, "rgb_array" or "state_pixels": gymnasium's own 600 x 400 or 96 x 96 picture.
        continuous: False takes gymnasium's five discrete actions.
        lap_complete_percent: share of the tiles that makes a lap complete.
        **options: fields of CarRacingConfig, with 96 for the size.

    Raises:
        UserError: an option is unknown or impossible.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "state_pixels"]}  # noqa: RUF012

    def __init__(
        self,
        render_mode: str | None = None,
        continuous: bool = True,
        lap_complete_percent: float = 0.95,
        **options: Any,
    ) -> None:
        self.config = config = config_from({"size": 96, **options})
        self.metadata = {**self.metadata, "render_fps": car_racing.FPS / config.action_repeat}
        self.touched: list[int] = []
        self._ticks = 0
        self._drive: Drive
        self._guide: Guide | None = None
        super().__init__(render_mode, False, lap_complete_percent, config.domain_randomize, continuous)
        EzPickle.__init__(self, render_mode, continuous, lap_complete_percent, **options)
        self.observation_space = Box(0, 255, (config.size, config.size, 3), np.uint8)
        self._renderer = None
        if config.renderer == "fast":
            self._renderer = Renderer(config.size, config.crop_hud, config.skip_zoom)
        self._color_rng: np.random.Generator | None = None

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """The four wheels' state."""
        return self._drive.wheels

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode; the same seed gives the same track as gymnasium's env.

        Args:
            seed: of the track; None goes on with the generator.
            options: {"randomize": False} keeps the colours under domain_randomize.

        Returns:
            obs uint8 (size, size, 3), info.
        """
        if seed is not None or self._color_rng is None:
            self._color_rng = seeding.rng(0 if seed is None else abs(int(seed)), "color")
        gymnasium.Env.reset(self, seed=seed)
        self._destroy()
        self.reward = self.prev_reward = self.t = 0.0
        self.tile_visited_count = self._ticks = 0
        self.new_lap = False
        self.touched = []
        self._guide = None
        if self.config.domain_randomize:
            self._reinit_colors((options or {}).get("randomize", True))
        else:
            self._init_colors()
            self._perturb_colors()
        self.contactListener_keepref = Contacts(self, self.lap_complete_percent)  # Box2D holds no reference
        self.world.contactListener = self.contactListener_keepref
        self.road_poly = []
        while not self._create_track():
            pass
        self.car = SlimCar(self.world, *self.track[0][1:4])
        self._drive = Drive(self.car)
        self._tick(None)
        if self._renderer is not None:
            self._renderer.begin(self)
        return self._observe(), self._info(False)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:  # type: ignore[override]
        """Step the simulator `action_repeat` times with one action.

        Args:
            action: steering in [-1, 1], gas and brake in [0, 1], (3,); or a number from 0 to 4.

        Returns:
            obs uint8 (size, size, 3), summed reward, terminated, truncated, info with `lap_finished` (bool) and
            `tiles` (visited share).

        Raises:
            ResetNeeded: there is no episode.
            InvalidAction: the action is not three finite numbers, or not one of the five.
        """
        if self.car is None:
            raise ResetNeeded("call env.reset() before env.step().")
        control, config = self.control(action), self.config
        return_ = 0.0
        ended = lap_finished = False
        for _ in range(min(config.action_repeat, config.max_steps - self._ticks)):
            reward, ended, lap_finished = self._tick(control)
            return_ += reward
            self._ticks += 1
            if ended:
                break
        terminated = ended and not (lap_finished and config.lap_end == "truncate")
        truncated = not terminated and (ended or self._ticks >= config.max_steps)
        return self._observe(), return_, terminated, truncated, self._info(lap_finished)

    def _tick(self, control: tuple[float, float, float] | None) -> tuple[float, bool, bool]:
        """One step of gymnasium's simulator: reward, whether the episode ends, whether it does with a lap."""
        if control is not None:
            self._drive.control(*control)
        self._drive.step()
        self.world.Step(DT, 180, 60)
        self.t += DT
        if control is None:
            return 0.0, False, False
        self.reward -= 0.1
        reward = self.reward - self.prev_reward
        self.prev_reward = self.reward
        is_lap = self.tile_visited_count == len(self.track) or self.new_lap
        place = cast(Car, self.car).hull.position
        if abs(place.x) > car_racing.PLAYFIELD or abs(place.y) > car_racing.PLAYFIELD:
            return -100.0, True, False
        return reward, is_lap, is_lap

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Gymnasium's own picture, uint8, (400, 600, 3) for "rgb_array"."""
        if self.car is not None:
            self._drive.publish()
        return super().render()  # type: ignore[return-value]

    def control(self, action: Any) -> tuple[float, float, float]:
        """The steering angle, gas and brake that an action asks for."""
        if not self.continuous:
            if not self.action_space.contains(action):
                raise InvalidAction(f"a discrete action is a whole number from 0 to 4; got {action!r}.")
            return -0.6 * (action == 1) + 0.6 * (action == 2), 0.2 * (action == 3), 0.8 * (action == 4)
        try:
            steer, gas, brake = (float(value) for value in action)
        except (TypeError, ValueError):
            raise InvalidAction(
                f"an action is three numbers: steering, gas, brake; got {action!r}."
            ) from None
        if not (math.isfinite(steer) and math.isfinite(gas) and math.isfinite(brake)):
            raise InvalidAction(f"an action must be finite; got {action!r}.")
        return -steer, gas, brake

    def guide(self) -> tuple[float, float, float]:
        """What a driver who knows the road would do now: steering, gas, brake.

        Raises:
            ResetNeeded: there is no episode.
        """
        if self.car is None:
            raise ResetNeeded("call env.reset() before env.guide().")
        if self._guide is None:
            self._guide = Guide(np.array([tile[2:4] for tile in self.track]))
        hull = cast(Any, self.car.hull)
        (x, y), speed = hull.position, math.hypot(*hull.linearVelocity)
        return self._guide.act(x, y, hull.angle, hull.angularVelocity, speed)

    def _observe(self) -> np.ndarray:
        """The frame, uint8 (size, size, 3), a new array."""
        frame = self._reference() if self._renderer is None else self._renderer.draw(self)
        if self.config.perturbation == "bars":
            bar = round(BAR * self.config.size)
            frame[:, :bar] = 0
            frame[:, -bar:] = 0
        return frame

    def _reference(self) -> np.ndarray:
        """Gymnasium's own pixels at the size asked for."""
        self._drive.publish()
        frame = self._render("state_pixels")
        assert isinstance(frame, np.ndarray)
        size, crop = self.config.size, self.config.crop_hud
        if size != len(frame) or crop:
            rows = frame[: len(frame) * 7 // 8] if crop else frame
            frame = cv2.resize(rows, (size, size), interpolation=cv2.INTER_AREA)
        return frame

    def _info(self, lap_finished: bool) -> dict[str, Any]:
        return {"lap_finished": lap_finished, "tiles": self.tile_visited_count / len(self.track)}

    def _reinit_colors(self, randomize: bool) -> None:
        super()._reinit_colors(randomize)
        if randomize:
            self._perturb_colors()

    def _perturb_colors(self) -> None:
        """Scale the channels of road and grass, each by a factor of its own, for this episode."""
        if self.config.perturbation != "color" or self._color_rng is None:
            return
        road, grass = self._color_rng.uniform(1 - SHIFT, 1 + SHIFT, (2, 3))
        self.road_color = (self.road_color * road).clip(0, 255)
        self.bg_color = (self.bg_color * grass).clip(0, 255)
        self.grass_color = (self.grass_color * grass).clip(0, 255)


class CarRacingVec(SlotEnv):
    """CarRacing in slots; same seed, same track and same episode, whatever the number of slots.

    Args:
        num_envs: number of slots, B.
        config: the same for all slots.
    """

    has_guide = True

    def __init__(self, num_envs: int, config: CarRacingConfig = CarRacingConfig()) -> None:  # noqa: B008 (frozen)
        self.config = config
        self._envs = [CarRacing(**asdict(config)) for _ in range(num_envs)]
        super().__init__(num_envs, self._envs[0].observation_space, self._envs[0].action_space)

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        return np.stack([self._envs[i].reset(seed=seed)[0] for i, seed in zip(indices.tolist(), seeds)])

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        num, size = len(indices), self.config.size
        obs = np.empty((num, size, size, 3), np.uint8)
        reward, tiles = np.zeros(num), np.zeros(num)
        terminated, truncated, lap_finished = (np.zeros(num, bool) for _ in range(3))
        for row, (slot, action) in enumerate(zip(indices.tolist(), actions.tolist())):
            obs[row], reward[row], terminated[row], truncated[row], info = self._envs[slot].step(action)
            lap_finished[row], tiles[row] = info["lap_finished"], info["tiles"]
        return obs, reward, terminated, truncated, {"lap_finished": lap_finished, "tiles": tiles}

    def _guide_slots(self, indices: np.ndarray) -> np.ndarray:
        return np.array([self._envs[i].guide() for i in indices], np.float32)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the simulators."""
        for env in self._envs:
            env.close()


def make_vec(num_envs: int, **options: Any) -> CarRacingVec:
    """A CarRacingVec from the options of an env spec (see `envs.make`)."""
    return CarRacingVec(num_envs, config_from(options))
