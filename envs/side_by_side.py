"""A drive and its dream side by side: the real frame, V's reconstruction of it, and M's dream of it.

Both halves get the same actions. The dream starts from what V and M know of the real drive and then goes its own way:
no frame reaches it until the next `sync`. Time is as in latent.py and dream.py, one slot each.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from envs.vector import SlotEnv
from models.controller import LinearController
from models.world_model import WorldModel
from utils import seeding
from utils.errors import check

Half = Literal["real", "dream"]


class Side(NamedTuple):
    """How one half goes."""

    reward: float
    """of the last step"""
    return_: float
    """rewards since the dream was synchronised"""
    over: str
    """why its episode is over; empty while it goes on"""


class Moment(NamedTuple):
    """Both halves after a step."""

    frames: np.ndarray
    """real, reconstruction, dream: uint8 (3, H, W, 3)"""
    step: int
    """since the episode began"""
    dream_age: int
    """steps since the dream was synchronised"""
    return_: float
    """of the real episode so far"""
    real: Side
    dream: Side
    termination: float
    """the probability, as M sees it, that the dream's last step ended it"""


STILL = Side(0.0, 0.0, "")


class SideBySide:
    """One real episode and one dream.

    Args:
        env: a frame env with one slot; from here on it belongs to this one.
        world_model: V and M.
        controller: what the parameters mean; or None if nobody but the caller is to drive.
        params: the controller's, (N,).
        dream_ends: whether the dream is over where M thinks an end likelier than not; else it never ends.

    Raises:
        UserError: the env's frames or actions are not what V and M were trained on.
    """

    def __init__(
        self,
        env: SlotEnv,
        world_model: WorldModel,
        controller: LinearController | None = None,
        params: np.ndarray | None = None,
        dream_ends: bool = True,
    ) -> None:
        size, actions = world_model.image_size, world_model.action_size
        check(
            env.single_observation_space.shape == (size, size, 3)
            and env.single_action_space.shape == (actions,),
            f"V and M were trained on {size}x{size} frames and {actions} action numbers, which this env has not.",
        )
        self.env, self.world_model = env, world_model
        self._controller, self._dream_ends = controller, dream_ends
        self._params = None if params is None else torch.from_numpy(np.asarray(params, np.float32))
        self._generator = torch.Generator()

    def reset(self, seed: int, warm_up: int = 0) -> None:
        """Begin a real episode and, after so many steps of the controller (if there is one), its dream.

        Args:
            seed: of the track, and of the dream's luck.
            warm_up: steps that M watches before the dream begins.
        """
        obs, _ = self.env.reset(seed=[seed])
        self._obs, self._real, self._dream = obs[0], STILL, STILL
        self._z, self._carry = self.world_model.encode(obs), self.world_model.initial(1)
        self._step, self._return = 0, 0.0
        self._generator.manual_seed(seeding.derive(seed, "dream beside the drive"))
        for _ in range(warm_up if self._controller is not None else 0):
            if not self._real.over:
                self._drive(self.propose("real"))
        self.sync()

    def sync(self) -> None:
        """Let the dream begin anew from the real drive."""
        self._dream_z, self._dream_carry = self._z, self._carry
        self._age, self._termination = 0, 0.0
        self._real, self._dream = self._real._replace(return_=0.0), STILL

    @property
    def is_over(self) -> bool:
        """Whether both episodes are over."""
        return bool(self._real.over and self._dream.over)

    @torch.inference_mode()
    def propose(self, sees: Half) -> np.ndarray:
        """The controller's action, (A,), by the real road or by the dream; by the other one where that is over."""
        assert self._controller is not None
        assert self._params is not None
        is_real = bool(self._dream.over) if sees == "dream" else not self._real.over
        z, carry = (self._z, self._carry) if is_real else (self._dream_z, self._dream_carry)
        features = self.world_model.features(z, carry).cpu()
        return self._controller.act(self._params, features)[0].numpy()

    def step(self, action: np.ndarray, temperature: float) -> None:
        """Give both halves, where they are not over, an action (A,) within the env's bounds."""
        self._dream_on(action, temperature)
        self._drive(action)

    @torch.inference_mode()
    def _dream_on(self, action: np.ndarray, temperature: float) -> None:
        if self._dream.over:
            return
        before = self._dream_z
        self._dream_carry = self.world_model.advance(before, self._tensor(action), self._dream_carry)
        uniform = torch.rand(1, generator=self._generator).to(before.device)
        normal = torch.randn(before.shape, generator=self._generator).to(before.device)
        dreamt = self.world_model.dream(before, self._dream_carry, uniform, normal, temperature)
        self._dream_z = dreamt.z
        self._termination = float(torch.sigmoid(dreamt.termination_logit)[0])
        reward = float(dreamt.reward[0])
        over = "the dream ended itself" if self._dream_ends and self._termination > 0.5 else ""
        self._dream = Side(reward, self._dream.return_ + reward, over)
        self._age += 1

    def _drive(self, action: np.ndarray) -> None:
        if self._real.over:
            return
        self._carry = self.world_model.advance(self._z, self._tensor(action), self._carry)
        obs, rewards, terminated, truncated, info = self.env.step(np.asarray(action, np.float32)[None])
        self._obs, reward, over = obs[0], float(rewards[0]), ""
        self._z = self.world_model.encode(obs)
        if terminated[0] or truncated[0]:
            lap = "lap_finished" in info and bool(info["lap_finished"][0])
            over = "lap finished" if lap else "the car is out" if terminated[0] else "time is up"
        self._real = Side(reward, self._real.return_ + reward, over)
        self._step, self._return = self._step + 1, self._return + reward

    def _tensor(self, action: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(action, np.float32)[None]).to(self.world_model.device)

    def moment(self) -> Moment:
        """What there is to see now."""
        decoded = self.world_model.decode(torch.cat([self._z, self._dream_z]))
        frames = np.concatenate([self._obs[None], decoded])
        return Moment(frames, self._step, self._age, self._return, self._real, self._dream, self._termination)
