"""Closed loops of dreams that never leave the device: controller, M, noise, sums of rewards.

On a GPU the host would otherwise wait for features and send actions at every step, which costs far more than M does.
The dreams are those of DreamEnv: a seed means the same start and the same luck in both, so that returns agree but for
the rounding of matrix products. On CUDA one step is captured as a graph and replayed.

Axes: b dreams, s distinct seeds, n parameters, t time.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from envs.dream import DreamConfig, SlotNoise, advance, begin
from envs.rollout import NO_LIMITS, EpisodeStats, Limits
from envs.starts import StartStates
from models.controller import LinearController
from models.world_model import WorldModel

WARM_UPS = 3
"""Steps before a graph is captured, in which libraries make their plans."""


class DreamLoop:
    """Plays whole dreams of many controllers as one batch.

    Args:
        world_model: V and M, on the device where the dreams run; V is never called.
        starts: where dreams begin.
        config: how they run.
    """

    def __init__(self, world_model: WorldModel, starts: StartStates, config: DreamConfig) -> None:
        self.world_model, self.config, self.device = world_model, config, world_model.device
        self._starts = [x.to(self.device) for x in (starts.z, starts.h, starts.c)]

    @torch.inference_mode()
    def play(
        self,
        controller: LinearController,
        params: np.ndarray,
        seeds: Sequence[int] | np.ndarray,
        limits: Limits = NO_LIMITS,
    ) -> EpisodeStats:
        """One dream for each pair.

        Args:
            controller: what the parameters mean.
            params: one controller a dream, (B, N).
            seeds: (B,); pairs that share one share start and luck.
            limits: when a dream is given up; it then counts as neither terminated nor truncated.

        Returns:
            How the dreams went, in the order of the pairs.
        """
        num, device = len(seeds), self.device
        rows = torch.as_tensor(params, dtype=torch.float32).to(device)
        distinct, which = np.unique(np.asarray(seeds), return_inverse=True)
        pair = torch.from_numpy(which).to(device)
        chosen, tape = self._noise(distinct.tolist())
        z, h, c = (start[chosen[pair]] for start in self._starts)
        now = torch.zeros(1, dtype=torch.int64, device=device)
        live = torch.ones(num, dtype=torch.bool, device=device)
        ended = torch.zeros(num, dtype=torch.bool, device=device)
        returns = torch.zeros(num, dtype=torch.float64, device=device)
        lengths, unpaid = (torch.zeros(num, dtype=torch.int64, device=device) for _ in range(2))
        patience = limits.patience or math.inf
        state = (z, h, c, now, live, ended, returns, lengths, unpaid)

        def step() -> None:
            """Everything in place, so that a graph of it can be replayed."""
            action = controller.act(rows, self.world_model.features(z, (h, c)))
            noise = tape.index_select(0, now)[0].index_select(0, pair)
            normal, uniform = noise[:, :-2], noise[:, -2:]
            new, carry, reward, terminated = advance(
                self.world_model, self.config, z, (h, c), action, normal, uniform
            )
            reward = limits.paid(reward)
            for old, value in zip((z, h, c), (new, *carry), strict=True):
                old.copy_(value)
            returns.add_(torch.where(live, reward, 0.0))
            lengths.add_(live)
            unpaid.add_(1).mul_(reward <= 0)
            ended.logical_or_(live & terminated)
            live.logical_and_(~terminated)
            lost = live & (unpaid >= patience) & (now + 1 < self.config.horizon)
            live.logical_and_(~lost)
            returns.sub_(limits.lost_penalty * lost)
            now.add_(1)

        repeat(step, self.config.horizon, state)
        stats = [x.cpu().numpy() for x in (returns, lengths, ended, live)]
        return EpisodeStats(stats[0], stats[1], stats[2], stats[3], np.zeros(num, bool))

    def _noise(self, seeds: list[int]) -> tuple[Tensor, Tensor]:
        """All that chance decides, from the generators that DreamEnv has for these seeds.

        Returns:
            Which start states (s,), and normal and uniform numbers (t, s, Z + 2).
        """
        size = self.world_model.latent_size
        noise = SlotNoise(len(seeds), size, torch.device("cpu"))
        chosen = [begin(noise.seed(i, seed), len(self._starts[0])) for i, seed in enumerate(seeds)]
        slots = np.arange(len(seeds))
        tape = torch.stack([torch.cat(noise.take(slots), 1) for _ in range(self.config.horizon)])
        return torch.tensor(chosen, device=self.device), tape.to(self.device)


def repeat(step: Callable[[], None], times: int, state: Sequence[Tensor]) -> None:
    """Run a step that changes `state` in place so many times; on CUDA as a graph, whose kernels need no launching."""
    if state[0].device.type != "cuda":
        for _ in range(times):
            step()
        return
    before = [x.clone() for x in state]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            step()
            for x, old in zip(state, before, strict=True):
                x.copy_(old)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for _ in range(times):
        graph.replay()
