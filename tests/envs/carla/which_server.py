"""Which server the tests of the CARLA envs drive on: ours, or with CARLA_HOST=HOST:PORT a running simulator."""

import os
from typing import Any

import numpy as np
import pytest

from envs.carla.config import CarlaConfig
from envs.carla.env import CarlaVec
from envs.carla.session import Session

CARLA = os.environ.get("CARLA_HOST", "lite")
IS_REAL = CARLA != "lite"
lite_only = pytest.mark.skipif(IS_REAL, reason="the simulator has one slot and repeats nothing to the bit")
GAS = np.array([[0.0, 1.0, 0.0]], np.float32)


def config(**options: Any) -> CarlaConfig:
    """An env's config, on that server."""
    return CarlaConfig(carla=CARLA, **options)


def session_here(env: CarlaVec) -> Session:
    """The first slot's session, in this process on any server, so that a test can reach into it."""
    slot = env._slots[0]
    if not isinstance(slot.session, Session):
        slot.session.close()
        slot.session = Session(env.config, env.config.addresses(), has_lidar=False)
    return slot.session
