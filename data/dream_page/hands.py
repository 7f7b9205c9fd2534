"""Arrow keys as a car's controls: keys are on or off, so wheel and pedals follow them with the speed of a hand."""

from collections.abc import Collection

import numpy as np

KEYS = ("left", "right", "up", "down")

# Way per second, of 1: out with the key, back without it. A car that gets full brakes at once locks its wheels.
STEER_OUT, STEER_BACK = 3.0, 6.0
GAS_ON, GAS_OFF = 3.0, 6.0
BRAKE_ON, BRAKE_OFF = 4.0, 8.0
FULL_BRAKE = 0.8


class Hands:
    """Somebody at the keys.

    Args:
        fps: actions a second.
    """

    def __init__(self, fps: float) -> None:
        self._dt_s = 1.0 / fps
        self.rest()

    def rest(self) -> None:
        """Let go of everything."""
        self._steer = self._gas = self._brake = 0.0

    def act(self, held: Collection[str]) -> np.ndarray:
        """The action (steer, gas, brake), float32 (3,), while these of the KEYS are held."""
        steer = float("right" in held) - float("left" in held)
        against = steer * self._steer < 0  # a hand that changes its mind first comes back
        self._steer = self._move(self._steer, steer, STEER_BACK if against or not steer else STEER_OUT)
        self._gas = self._follow(self._gas, "up" in held, 1.0, GAS_ON, GAS_OFF)
        self._brake = self._follow(self._brake, "down" in held, FULL_BRAKE, BRAKE_ON, BRAKE_OFF)
        return np.array([self._steer, self._gas, self._brake], np.float32)

    def _follow(self, now: float, is_held: bool, full: float, on: float, off: float) -> float:
        return self._move(now, full if is_held else 0.0, on if is_held else off)

    def _move(self, now: float, goal: float, speed: float) -> float:
        reach = speed * self._dt_s
        return now + min(max(goal - now, -reach), reach)
