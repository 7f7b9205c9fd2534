import gymnasium
import numpy as np
import pytest
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode

import envs
from envs.vector import SlotEnv
from utils.errors import UserError


class Counting(SlotEnv):
    """Counts each slot's steps from its seed on; an episode ends `seed % 4 + 1` steps after its start."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, Box(-np.inf, np.inf, (1,), np.float64), Box(-1, 1, (2,), np.float32))
        self.value = np.zeros((num_envs, 1))
        self.end = np.zeros(num_envs)
        self.simulated = np.zeros(num_envs, int)

    def _reset_slots(self, indices, seeds):
        self.value[indices, 0] = seeds
        self.end[indices] = [seed + seed % 4 + 1 for seed in seeds]
        return self.value[indices]

    def _step_slots(self, indices, actions):
        self.value[indices] += 1
        self.simulated[indices] += 1
        obs = self.value[indices]
        over = obs[:, 0] >= self.end[indices]
        flags = over & (indices % 2 == 0), over & (indices % 2 == 1)
        return obs, actions[:, 0].astype(float), *flags, {"late": obs[:, 0] > 1}


def test_only_live_slots_are_stepped_and_idle_ones_keep_their_last_obs() -> None:
    env = Counting(4)
    env.reset(seed=[0, 1, 2, 3])
    actions = np.ones((4, 2), np.float32)
    steps = [env.step(actions) for _ in range(4)]
    assert [(step[2] | step[3]).tolist() for step in steps] == np.eye(4, dtype=bool).tolist()
    obs, reward, _, _, info = steps[-1]
    assert env.simulated.tolist() == [1, 2, 3, 4]
    assert obs[:, 0].tolist() == [1, 3, 5, 7]
    assert reward.tolist() == [0, 0, 0, 1]
    assert info["late"].tolist() == [False, False, False, True]
    assert not env.live.any()
    assert env.step(actions)[0][:, 0].tolist() == [1, 3, 5, 7]
    assert env.simulated.tolist() == [1, 2, 3, 4]


def test_termination_and_truncation_stay_apart() -> None:
    env = Counting(2)
    env.reset(seed=[0, 0])
    _, _, terminated, truncated, _ = env.step(np.zeros((2, 2)))
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [False, True])


def test_the_mask_resets_some_slots_and_leaves_the_others_running() -> None:
    env = Counting(3)
    env.reset(seed=[3, 3, 3])
    env.step(np.zeros((3, 2)))
    obs, _ = env.reset(seed=[9, 40, 9], options={"reset_mask": np.array([False, True, False])})
    assert obs[:, 0].tolist() == [4, 40, 4]
    assert env.step(np.zeros((3, 2)))[0][:, 0].tolist() == [5, 41, 5]
    assert env.live.tolist() == [True, False, True]


def test_a_returned_obs_is_never_written_to_again() -> None:
    env = Counting(2)
    seen = [env.reset(seed=[3, 0])[0]]
    copies = [seen[0].copy()]
    for _ in range(3):
        seen.append(env.step(np.zeros((2, 2)))[0])
        copies.append(seen[-1].copy())
    seen.append(env.reset(seed=7)[0])
    assert all(np.array_equal(a, b) for a, b in zip(seen, copies))


def test_an_int_seeds_slot_i_with_seed_plus_i_and_none_goes_on_reproducibly() -> None:
    env, twin = Counting(3), Counting(3)
    assert env.reset(seed=5)[0][:, 0].tolist() == [5, 6, 7]
    twin.reset(seed=[5, 6, 99])
    again, twins = env.reset()[0][:, 0], twin.reset()[0][:, 0]
    assert again[:2].tolist() == twins[:2].tolist()
    assert again[2] != twins[2]
    assert len({*again.tolist(), 5, 6, 7}) == 6


def test_autoreset_is_disabled_and_said_so() -> None:
    assert SlotEnv.metadata["autoreset_mode"] is AutoresetMode.DISABLED


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7", [1], [1, -2], [1, 2.0]])
def test_bad_seeds_are_refused(seed) -> None:
    with pytest.raises(ValueError, match="seed"):
        Counting(2).reset(seed=seed)


@pytest.mark.parametrize("mask", [[1, 0], [True], np.ones((2, 1), bool), [False, False]])
def test_bad_masks_are_refused(mask) -> None:
    with pytest.raises(ValueError, match="reset_mask"):
        Counting(2).reset(seed=0, options={"reset_mask": mask})


def test_bad_actions_are_refused_but_rows_of_idle_slots_do_not_matter() -> None:
    env = Counting(2)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.zeros((2, 2)))
    env.reset(seed=[0, 3])
    for actions, words in [
        (np.zeros(2), "must be"),
        (np.full((2, 2), np.nan), "finite"),
        ([["a", "b"]] * 2, "numbers"),
    ]:
        with pytest.raises(InvalidAction, match=words):
            env.step(actions)
    env.step(np.zeros((2, 2)))
    env.step(np.array([[np.nan, np.inf], [0, 0]]))


def test_no_slot_no_env() -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        Counting(0)


def test_an_unknown_name_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="CarRacing-v2"):
        envs.make("CarRacing-v9", 1)


def test_importing_envs_registers_ours_and_leaves_gymnasiums_alone() -> None:
    assert {"CarRacing-v2", "WorldModels/CarRacing-v3", "DreamCarRacing-v2"} <= set(gymnasium.registry)
    assert gymnasium.spec("CarRacing-v3").entry_point == "gymnasium.envs.box2d.car_racing:CarRacing"
