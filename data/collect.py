"""Recording: slices of episode ids become shards, on as many workers as you like, always with the same bytes.

Ids are cut into fixed slices of ten. A worker plays a slice's episodes side by side, one env slot each; what an
episode is follows from the dataset's seed, its id and its policy; of one that V, M and C drive, to the last bits only
if the slice has the same ids (a batch of another size rounds differently).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium.spaces import Box

import envs
from data import trained
from data.episodes import Index, ShardInfo
from data.policies import Brown, Controlled, Lane, NoiseConfig, Policy, White
from data.shards import DatasetHeader, EpisodeInfo, ShardWriter
from envs import specs
from envs.latent import LatentEnv
from envs.rollout import GivingUp
from envs.vector import SlotEnv, Step
from utils import seeding
from utils.device import DeviceName, pick
from utils.errors import UserError, check

PolicyName = Literal["brown", "white", "lane", "controller", "dreamer", "mixed"]
SLICE = 10
"""Episodes a shard; also what is lost of each worker when it is killed."""
SHARES: dict[tuple[bool, bool], tuple[str, ...]] = {
    (False, False): ("brown",) * 8 + ("white",) * 2,
    (False, True): ("controller",) * 6 + ("brown",) * 3 + ("white",),
    (True, False): ("lane",) * 7 + ("brown",) * 2 + ("white",),
    (True, True): ("controller",) * 5 + ("lane",) * 4 + ("brown",),
}
"""Who drives ten successive episodes of a mixed dataset: (the env has a guide, there is a trained controller)."""


class Slice(NamedTuple):
    """Episodes of one shard."""

    ids: tuple[int, ...]
    policies: tuple[str, ...]
    """Who drives each."""

    @property
    def name(self) -> str:
        """The shard's file name."""
        return f"episodes-{self.ids[0]:06d}-{self.ids[-1]:06d}.h5"


def plan(
    index: Index, rollouts: int, policy: PolicyName, has_controller: bool, has_guide: bool = False
) -> list[Slice]:
    """The slices that are missing of the ids 0 .. rollouts - 1."""
    there = set(index.ids)
    runs: list[list[int]] = []
    for i in (i for i in range(rollouts) if i not in there):
        if runs and runs[-1][-1] == i - 1 and i % SLICE:
            runs[-1].append(i)
        else:
            runs.append([i])
    seed, shares = index.header.seed, SHARES[has_guide, has_controller]
    return [Slice(tuple(run), tuple(_driver(policy, seed, i, shares) for i in run)) for run in runs]


def _driver(policy: PolicyName, seed: int, episode_id: int, shares: tuple[str, ...]) -> str:
    if policy != "mixed":
        return policy
    order = seeding.rng(seed, "mixed", episode_id // len(shares)).permutation(len(shares))
    return shares[order[episode_id % len(shares)]]


def track_seed(seed: int, episode_id: int) -> int:
    """The env's seed in an episode: one of the training tracks, another for each id."""
    first = seeding.derive(seed, "tracks") % (seeding.SPAN // 2)
    return seeding.track_seeds("train", first + episode_id, 1)[0]


class FrameTap(SlotEnv):
    """An env that keeps its last frames in `frames` (B, H, W, 3), so that they can be had beneath a LatentEnv."""

    def __init__(self, env: SlotEnv) -> None:
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.env = env
        self.has_guide = env.has_guide
        self.frames = self._obs.copy()

    def _reset_slots(self, indices: np.ndarray, seeds: list[int]) -> np.ndarray:
        obs = self.env._reset_slots(indices, seeds)
        self.frames[indices] = obs
        return obs

    def _step_slots(self, indices: np.ndarray, actions: np.ndarray) -> Step:
        result = self.env._step_slots(indices, actions)
        self.frames[indices] = result[0]
        return result

    def _guide_slots(self, indices: np.ndarray) -> np.ndarray:
        return self.env._guide_slots(indices)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the inner env."""
        self.env.close(**kwargs)


@dataclass(frozen=True)
class CollectorMaker:
    """Builds a worker; travels to it as a pickle."""

    rootdir: Path
    header: DatasetHeader
    logs: Path
    noise: NoiseConfig
    device: DeviceName
    env_spec: dict[str, Any]
    """the header's env, on the simulator of this machine"""
    slots: int = SLICE
    """episodes that are played side by side"""
    patience: int | None = None
    """steps in a row without a positive reward after which an episode is given up, as truncated"""

    def __call__(self) -> "Collector":
        """Build the worker."""
        return Collector(self)


class Collector:
    """A worker: one env, and V, M and C once a controller is to drive.

    Raises:
        UserError: the env, or the controller, cannot be made.

    Attributes:
        notes: what the user should hear of the policies that were made.
    """

    def __init__(self, config: CollectorMaker) -> None:
        self.notes: list[str] = []
        self.config = config
        self.slots = config.slots
        self.tap = FrameTap(make_env(config.env_spec, self.slots))
        self._views: dict[str, tuple[SlotEnv, Policy]] = {}

    def __call__(self, task: Slice) -> ShardInfo:
        """Play a slice and write its shard."""
        writer = ShardWriter(self.config.header)
        infos: list[EpisodeInfo] = []
        for policy in dict.fromkeys(task.policies):
            ids = [i for i, driver in zip(task.ids, task.policies) if driver == policy]
            for first in range(0, len(ids), self.slots):
                infos += self._play(policy, ids[first : first + self.slots], writer)
        path = self.config.rootdir / "shards" / task.name
        try:
            size = writer.save(path)
        except OSError as error:
            reason = f"{path} cannot be written ({error.strerror or error})"
            raise UserError(f"{reason}; make room for it and run the same command again.") from None
        return ShardInfo(task.name, size, tuple(sorted(infos, key=lambda info: info.id)))

    def close(self) -> None:
        """Close the env, and with it the servers that it started."""
        self.tap.close()

    def prepare(self, policy_name: str) -> tuple[SlotEnv, Policy]:
        """What a policy sees, and the policy; made once."""
        if policy_name not in self._views:
            self._views[policy_name] = self._make_view(policy_name)
        return self._views[policy_name]

    def _play(self, policy_name: str, ids: list[int], writer: ShardWriter) -> list[EpisodeInfo]:
        view, policy = self.prepare(policy_name)
        seed = self.config.header.seed
        padded = ids + [0] * (self.slots - len(ids))
        policy.reset([seeding.rng(seed, "policy", i) for i in padded])
        view.retire(np.ones(self.slots, bool))
        seeds = [track_seed(seed, i) for i in padded]
        obs, _ = view.reset(seed=seeds, options={"reset_mask": np.arange(self.slots) < len(ids)})
        return self._record(view, policy, policy_name, obs, ids, seeds, writer)

    def _record(
        self,
        view: SlotEnv,
        policy: Policy,
        policy_name: str,
        obs: np.ndarray,
        ids: list[int],
        seeds: list[int],
        writer: ShardWriter,
    ) -> list[EpisodeInfo]:
        """The rollout loop. See data/episode.py for what stands at the same index."""
        header, infos = self.config.header, []
        actions = np.zeros((header.seq_len, self.slots, header.action_size), np.float32)
        rewards = np.zeros((header.seq_len, self.slots), np.float32)
        giving_up = GivingUp(self.slots, self.config.patience, header.seq_len)
        for slot, i in enumerate(ids):
            writer.add(i, self.tap.frames[slot])
        for t in range(header.seq_len):
            live = np.flatnonzero(view.live)
            if not len(live):
                break
            actions[t] = policy.act(obs)
            obs, rewards[t], terminated, truncated, _ = view.step(actions[t])
            given_up = giving_up.after(rewards[t])
            view.retire(given_up)
            truncated = truncated | (~terminated & given_up)
            for slot in live.tolist():
                writer.add(ids[slot], self.tap.frames[slot])
                if terminated[slot] or truncated[slot]:
                    steps = actions[: t + 1, slot], rewards[: t + 1, slot]
                    ends = bool(terminated[slot]), bool(truncated[slot])
                    infos.append(writer.close_episode(ids[slot], *steps, *ends, seeds[slot], policy_name))
        return infos

    def _make_view(self, policy_name: str) -> tuple[SlotEnv, Policy]:
        space = self.tap.single_action_space
        assert isinstance(space, Box)
        if policy_name in ("brown", "white"):
            return self.tap, {"brown": Brown, "white": White}[policy_name](space)
        if policy_name == "lane":
            self.tap.guide()  # an env without one says so
            return self.tap, Lane(space, self.tap.guide, self.config.noise)
        if policy_name == "dreamer":
            files = trained.run_files(self.config.logs, "controller-dream", "latest")
        else:
            files = trained.driver_files(self.config.logs) or trained.run_files(self.config.logs)
        world_model, own_env, _ = trained.load_world_model(files, pick(self.config.device))
        env = self.config.header.env
        if own_env != env and specs.kind(env["name"]) != "dream":
            self.notes.append(f"note: the {policy_name} learnt in {own_env}, but drives in {env}.")
        driver = trained.load_controller(files.controller, world_model.feature_sizes)
        policy = Controlled(space, driver.controller, driver.params, self.config.noise)
        return LatentEnv(self.tap, world_model), policy


def make_env(spec: dict[str, Any], num_envs: int) -> SlotEnv:
    """The frame env of a spec.

    Raises:
        UserError: there is no such env, or it has no frames or no bounded vector of actions.
    """
    env = envs.make_from(spec, num_envs)
    shape = env.single_observation_space.shape or ()
    dtype = env.single_observation_space.dtype
    check(
        len(shape) == 3 and shape[2] == 3 and dtype == np.uint8,
        f"{spec['name']} emits no frames, uint8 (H, W, 3), but {dtype} {shape}.",
    )
    envs.actions_of(env, spec)
    return env


def total_frames(infos: Sequence[EpisodeInfo]) -> int:
    """Frames of episodes."""
    return sum(info.length + 1 for info in infos)
