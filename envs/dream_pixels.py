"""The dream for eyes: the same dreams as dream.py, decoded into frames because frames are what is asked for.

`DreamFrames` is a frame env with slots, from which rollouts can be collected as from the real one. `DreamPixels` is a
single gymnasium env, registered as "DreamCarRacing-v2"; data/dreams.py makes it from a run directory:
`gymnasium.make("DreamCarRacing-v2", logs="exp_dir")`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box

from envs.dream import DreamConfig, DreamEnv
from envs.starts import StartStates
from envs.vector import SlotEnv, Step
from models.world_model import WorldModel


class DreamFrames(SlotEnv):
    """Dreams whose observations are decoded frames, uint8 (B, H, W, 3).

    Args: as DreamEnv.
    """

    def __init__(
        self, world_model: WorldModel, starts: StartStates, num_envs: int, config: DreamConfig | None = None
    ) -> None:
        self.dream = DreamEnv(world_model, starts, num_envs, config or DreamConfig())
        size = world_model.image_size
        super().__init__(num_envs, Box(0, 255, (size, size, 3), np.uint8), self.dream.single_action_space)

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        self.dream._reset_slots(indices, seeds)
        return self._frames(indices)

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        _, reward, terminated, truncated, info = self.dream._step_slots(indices, actions)
        return self._frames(indices), reward, terminated, truncated, info

    def _frames(self, indices: np.ndarray) -> np.ndarray:
        return self.dream.world_model.decode(self.dream.z[indices])


class DreamPixels(gymnasium.Env[np.ndarray, np.ndarray]):
    """One dream as a gymnasium env.

    Args:
        world_model: V and M.
        starts: where dreams begin.
        config: how they run.
        render_mode: "rgb_array" or None.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 (gymnasium's name)

    def __init__(
        self,
        world_model: WorldModel,
        starts: StartStates,
        config: DreamConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is None or 'rgb_array'; got {render_mode!r}.")
        self.frames = DreamFrames(world_model, starts, 1, config)
        self.observation_space = self.frames.single_observation_space
        self.action_space = self.frames.single_action_space
        self.render_mode = render_mode
        self._frame: np.ndarray | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a dream: at a start state and with luck that the seed decides."""
        super().reset(seed=seed)
        dream_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        obs, info = self.frames.reset(seed=[dream_seed])
        self._frame = obs[0]
        return obs[0], info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Dream on by one step."""
        if self._frame is None:
            raise ResetNeeded("call env.reset() before env.step().")
        obs, reward, terminated, truncated, info = self.frames.step(np.asarray(action, np.float32)[None])
        self._frame = obs[0]
        row = {name: value[0].item() for name, value in info.items()}
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), row

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """The current frame again, uint8 (H, W, 3), in render mode "rgb_array"."""
        return self._frame if self.render_mode == "rgb_array" else None
