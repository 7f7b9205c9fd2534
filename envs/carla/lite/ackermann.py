"""Ackermann control: from targets of steering angle and speed to the pedals."""

import math
from dataclasses import dataclass, field

from envs.carla.lite.vehicle_spec import VehicleSpec
from envs.carla.lite.vehicle_state import Control, VehicleState, speed_mps

_TICK_S = 0.05
"""the step at which the settings are given: the pedals move in proportion to the time"""
_MOST_MPS2 = 8.0
"""asked of the vehicle where the target names no acceleration"""
_STOPPED_MPS = 0.1
_SMOOTHING_S = 0.25
"""over which the vehicle's acceleration is averaged before it is compared with the wanted one"""


@dataclass(frozen=True)
class AckermannTarget:
    """What is wanted; CARLA's VehicleAckermannControl. 0 in a rate means as fast as possible."""

    steer_rad: float = 0.0
    steer_rad_s: float = 0.0
    speed_mps: float = 0.0
    """negative backwards"""
    accel_mps2: float = 0.0
    jerk_mps3: float = 0.0


@dataclass(frozen=True)
class AckermannSettings:
    """Gains of the speed's and the acceleration's PID controllers, with CARLA's defaults."""

    speed_kp: float = 0.15
    speed_ki: float = 0.0
    speed_kd: float = 0.25
    accel_kp: float = 0.01
    accel_ki: float = 0.0
    accel_kd: float = 0.01


@dataclass
class _Pid:
    sum: float = 0.0
    last: float | None = None

    def __call__(self, error: float, gains: tuple[float, float, float], dt: float) -> float:
        self.sum += error * dt
        slope = 0.0 if self.last is None else (error - self.last) / dt
        self.last = error
        return gains[0] * error + gains[1] * self.sum + gains[2] * slope


@dataclass
class AckermannController:
    """Drives one vehicle; it remembers the pedal, the steering and the errors so far."""

    settings: AckermannSettings = field(default_factory=AckermannSettings)
    _speed: _Pid = field(default_factory=_Pid)
    _accel: _Pid = field(default_factory=_Pid)
    _pedal: float = 0.0
    _wanted_mps2: float = 0.0
    _felt_mps2: float = 0.0
    _steer_rad: float | None = None

    def control(self, target: AckermannTarget, state: VehicleState, spec: VehicleSpec, dt: float) -> Control:
        """The pedals and the wheel for the next `dt` seconds."""
        steer = self._steer(target, state, spec, dt)
        backwards = target.speed_mps < 0
        sign = -1.0 if backwards else 1.0
        speed = sign * speed_mps(state)
        if target.speed_mps == 0 and abs(speed) < _STOPPED_MPS:
            self._speed, self._accel = _Pid(), _Pid()
            self._pedal = self._wanted_mps2 = self._felt_mps2 = 0.0
            return Control(steer=steer, brake=1.0)
        self._follow(target, abs(target.speed_mps) - speed, sign * state.forward_mps2, dt)
        throttle, brake = max(self._pedal, 0.0), max(-self._pedal, 0.0)
        return Control(throttle, steer, brake, reverse=backwards)

    def _steer(self, target: AckermannTarget, state: VehicleState, spec: VehicleSpec, dt: float) -> float:
        most = spec.max_steer_rad
        now = state.steer * most if self._steer_rad is None else self._steer_rad
        turn = target.steer_rad - now
        if target.steer_rad_s:
            turn = _within(turn, abs(target.steer_rad_s) * dt)
        self._steer_rad = _within(now + turn, most)
        return self._steer_rad / most if most else 0.0

    def _follow(self, target: AckermannTarget, error: float, accel: float, dt: float) -> None:
        """Move the pedal: the speed's error asks for an acceleration, the acceleration's error moves the pedal."""
        settings = self.settings
        gains = settings.speed_kp, settings.speed_ki, settings.speed_kd
        wanted = _within(self._speed(error, gains, dt), abs(target.accel_mps2) or _MOST_MPS2)
        if target.jerk_mps3:
            wanted = self._wanted_mps2 + _within(wanted - self._wanted_mps2, abs(target.jerk_mps3) * dt)
        self._wanted_mps2 = wanted
        gains = settings.accel_kp, settings.accel_ki, settings.accel_kd
        self._felt_mps2 += (accel - self._felt_mps2) * min(dt / _SMOOTHING_S, 1.0)
        move = self._accel(wanted - self._felt_mps2, gains, dt)
        self._pedal = _within(self._pedal + move * dt / _TICK_S, 1.0)


def _within(value: float, bound: float) -> float:
    return math.copysign(min(abs(value), bound), value)
