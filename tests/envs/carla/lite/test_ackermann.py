import math

import pytest

from envs.carla.lite.ackermann import AckermannController, AckermannSettings, AckermannTarget
from envs.carla.lite.vehicle import Control, VehicleState, speed_mps, step
from envs.carla.lite.vehicle_spec import SPECS

SPEC = SPECS["vehicle.tesla.model3"]


def follow(
    target: AckermannTarget,
    seconds: float,
    state: VehicleState,
    controller: AckermannController | None = None,
    dt: float = 0.05,
) -> tuple[list[float], list[Control]]:
    controller = controller or AckermannController()
    speeds, controls = [], []
    for _ in range(round(seconds / dt)):
        controls.append(controller.control(target, state, SPEC, dt))
        step(state, SPEC, controls[-1], dt)
        speeds.append(speed_mps(state))
    return speeds, controls


@pytest.mark.parametrize("dt", [0.02, 0.05])
def test_it_reaches_a_speed_and_holds_it(dt: float) -> None:
    speeds, _ = follow(AckermannTarget(speed_mps=10.0), 60.0, VehicleState(), dt=dt)
    tail = speeds[-round(10 / dt) :]
    assert all(9 < speed < 11 for speed in tail)


def test_the_tick_hardly_changes_how_it_pulls_away() -> None:
    quick, slow = (
        follow(AckermannTarget(speed_mps=10.0), 6.0, VehicleState(), dt=dt)[0][-1] for dt in (0.02, 0.05)
    )
    assert quick == pytest.approx(slow, rel=0.02)
    assert slow > 2


def test_it_slows_down_to_a_stop_and_stands() -> None:
    state = VehicleState(vx=10.0)
    speeds, controls = follow(AckermannTarget(), 40.0, state)
    assert speeds[-1] == 0
    assert controls[-1].brake == 1
    assert all(control.throttle == 0 or control.brake == 0 for control in controls)


def test_a_negative_speed_goes_backwards() -> None:
    speeds, controls = follow(AckermannTarget(speed_mps=-3.0), 40.0, VehicleState())
    assert controls[-1].reverse
    assert speeds[-1] == pytest.approx(-3, abs=0.5)


def test_the_acceleration_is_limited() -> None:
    gentle, _ = follow(AckermannTarget(speed_mps=20.0, accel_mps2=0.5), 10.0, VehicleState())
    brisk, _ = follow(AckermannTarget(speed_mps=20.0), 10.0, VehicleState())
    assert gentle[-1] < 0.6 * brisk[-1]
    assert gentle[-1] <= 0.7 * 10


def test_the_wheel_turns_to_its_angle_at_its_rate() -> None:
    angle = math.radians(20)
    _, controls = follow(AckermannTarget(steer_rad=angle), 0.1, VehicleState())
    assert controls[0].steer == pytest.approx(20 / SPEC.max_steer_deg)
    _, controls = follow(AckermannTarget(steer_rad=-angle, steer_rad_s=0.5), 1.0, VehicleState())
    steers = [control.steer * SPEC.max_steer_rad for control in controls]
    assert steers[0] == pytest.approx(-0.025)
    assert steers[-1] == pytest.approx(-angle)
    _, controls = follow(AckermannTarget(steer_rad=3.0), 0.1, VehicleState())
    assert controls[0].steer == 1


def test_settings_change_how_it_drives() -> None:
    lively = AckermannController(AckermannSettings(speed_kp=1.0, accel_kp=0.05))
    fast, _ = follow(AckermannTarget(speed_mps=10.0), 5.0, VehicleState(), lively)
    usual, _ = follow(AckermannTarget(speed_mps=10.0), 5.0, VehicleState())
    still, _ = follow(
        AckermannTarget(speed_mps=10.0),
        5.0,
        VehicleState(),
        AckermannController(AckermannSettings(0, 0, 0, 0, 0, 0)),
    )
    assert fast[-1] > usual[-1] + 1
    assert still[-1] == 0
