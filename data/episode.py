"""One recorded episode, and what stands at the same index.

    t            0          1          2                T - 1            T
    obs          o_0        o_1        o_2      ...     o_{T-1}          o_T      T + 1 frames
    actions      a_0        a_1        a_2      ...     a_{T-1}                   T rows
    rewards      r_0        r_1        r_2      ...     r_{T-1}
    terminated   d_0        d_1        d_2      ...     d_{T-1}

`obs[t]` is what the policy saw when it chose `actions[t]`; `rewards[t]`, `terminated[t]` and `truncated[t]` are what
that action earned, and `obs[t + 1]` is what it led to. `obs[0]` is the reset's frame and `obs[T]` the last one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Episode:
    """A trajectory of T steps; arrays are not to be written to."""

    obs: NDArray[np.uint8]
    """(T + 1, H, W, 3)."""
    actions: NDArray[np.float32]
    """(T, A), in the env's own units."""
    rewards: NDArray[np.float32]
    """(T,)."""
    terminated: NDArray[np.bool_]
    """(T,): the task itself ended."""
    truncated: NDArray[np.bool_]
    """(T,): somebody stopped watching (a time limit, the recording's length, CarRacing-v2's lap end)."""
    seed: int
    """The seed the env was reset with."""
    policy: str
    """The behaviour that acted: "brown", "white", "lane", "controller" or "dreamer"."""
    id: int
    """Its number in the dataset."""

    @property
    def length(self) -> int:
        """T, the number of steps."""
        return len(self.actions)

    @property
    def return_(self) -> float:
        """Undiscounted sum of rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    def validate(self) -> "Episode":
        """Return the episode itself if its arrays fit together.

        Raises:
            ValueError: a shape, a type, a number that is not finite, or an end before the last step.
        """
        t = self.length
        _require(t > 0, "it has no step")
        _require(self.obs.dtype == np.uint8, f"obs are {self.obs.dtype}, not uint8")
        _require(self.obs.ndim == 4 and self.obs.shape[3] == 3, f"obs have the shape {self.obs.shape}")
        _require(len(self.obs) == t + 1, f"{t} steps need {t + 1} obs, not {len(self.obs)}")
        _require(
            self.actions.dtype == np.float32 and self.actions.ndim == 2, "actions are not float32 (T, A)"
        )
        _require(
            self.rewards.dtype == np.float32 and self.rewards.shape == (t,), "rewards are not float32 (T,)"
        )
        for name, flags in (("terminated", self.terminated), ("truncated", self.truncated)):
            _require(flags.dtype == np.bool_ and flags.shape == (t,), f"{name} is not bool (T,)")
            _require(not flags[:-1].any(), f"{name} is set before the last step")
        finite = np.isfinite(self.actions).all() and np.isfinite(self.rewards).all()
        _require(bool(finite), "an action or a reward is not finite")
        return self


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"not an episode: {what}")
