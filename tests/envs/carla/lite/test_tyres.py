import math
import random

import pytest

from envs.carla.lite.tyres import corner, loads
from envs.carla.lite.vehicle_spec import SPECS

SPEC = SPECS["vehicle.lincoln.mkz_2020"]
STIFF = 1e5
SLOWEST_MPS = 0.5


def slips(motion: tuple[float, float, float], wheel: float) -> tuple[float, float]:
    """Speed across the front and the rear wheels."""
    forward, right, rate = motion
    side = right + SPEC.front_axle_m * rate
    return side * math.cos(wheel) - forward * math.sin(wheel), right - SPEC.rear_axle_m * rate


@pytest.mark.parametrize("dt", [0.001, 0.025, 0.1])
def test_forces_are_stiffness_times_slip_up_to_the_limit_and_move_the_car_as_newton_says(dt: float) -> None:
    rng, cut = random.Random(1), [0, 0]
    for _ in range(300):
        motion = rng.uniform(-30, 30), rng.uniform(-5, 5), rng.uniform(-2, 2)
        wheel, most = rng.uniform(-0.7, 0.7), (rng.uniform(0, 2e4), rng.uniform(0, 2e4))
        forward, right, rate, (front, rear) = corner(
            SPEC, motion, wheel, (STIFF, most[0]), (STIFF, most[1]), dt
        )
        # Newton: forces and torque over dt
        assert (forward - motion[0]) * SPEC.mass_kg == pytest.approx(-front * math.sin(wheel) * dt, abs=1e-6)
        assert (right - motion[1]) * SPEC.mass_kg == pytest.approx(
            (front * math.cos(wheel) + rear) * dt, abs=1e-6
        )
        torque = SPEC.front_axle_m * front * math.cos(wheel) - SPEC.rear_axle_m * rear
        assert (rate - motion[2]) * SPEC.yaw_inertia == pytest.approx(torque * dt, abs=1e-6)
        # the tyre's law, at the end of the step
        side = motion[1] + SPEC.front_axle_m * motion[2]
        rolls = abs(motion[0] * math.cos(wheel) + side * math.sin(wheel)), abs(motion[0])
        after = slips((forward, right, rate), wheel)
        for i, force in enumerate((front, rear)):
            asked = -STIFF * after[i] / max(rolls[i], SLOWEST_MPS)
            assert abs(force) <= most[i] * (1 + 1e-9)
            if abs(force) < most[i] * (1 - 1e-9):
                assert force == pytest.approx(asked, rel=1e-6, abs=1e-3)
            else:
                cut[i] += 1
    assert min(cut) > 20
    assert max(cut) < 300


def test_loads_carry_the_weight_and_braking_leans_on_the_front() -> None:
    front, rear = loads(SPEC, 0.0)
    assert front + rear == pytest.approx(SPEC.mass_kg * 9.81)
    assert front * SPEC.front_axle_m == pytest.approx(rear * SPEC.rear_axle_m)
    braked = loads(SPEC, -9.0)
    assert braked[0] - front == pytest.approx(SPEC.mass_kg * 9.0 * SPEC.cg_height_m / SPEC.wheelbase_m)
    assert loads(SPEC, -1000.0)[1] > 0
    assert loads(SPEC, 1000.0)[0] > 0
