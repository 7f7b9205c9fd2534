"""Dream steps per second on one core: controllers, M, sampling and rewards, thousands of dreams as one batch.

python -m benchmarks.dream [--json]
python -m benchmarks.dream --device cuda --dreams 65536

Peers, in the same run: the classic dream env (one dream, the 2018 decoder run at every step), and the same one dream
without decoding. Weights are untrained: only the speed is measured.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import BenchConfig, Work, compare_all, report, row
from envs.dream import SLAB, DreamConfig, DreamEnv
from envs.dream_loop import DreamLoop
from envs.evaluation import GPU_DREAMS, PlayerMaker, play
from envs.rollout import evaluate
from envs.starts import StartStates
from models.controller import LinearController
from models.mdnrnn import MDNRNN, MDNRNNConfig
from models.vae import VAE, VAEConfig
from models.world_model import WorldModel
from utils import cli
from utils.device import DeviceName, num_threads, pick
from utils.evolution import Evolution
from utils.parallel import available_cores, open_backend

LOW, HIGH = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
PAID = np.ones((2, 1))
Z, A, D, K = 32, 3, 256, 5
CANDIDATES, SEEDS = 64, 16
"""Of a generation of the paper, and the dreams of each candidate, which all share."""


@dataclass(frozen=True)
class DreamBenchConfig(BenchConfig):
    """What is measured."""

    dreams: int = 1024
    """dreams side by side"""
    steps: int = 64
    """steps of each dream in a run"""
    paper: bool = False
    """time one generation of the paper's size besides: 64 candidates x 16 dreams x 1,000 steps on all cores"""
    device: DeviceName = "cpu"
    """where ours dream, and the matrix products alone; the other peers stay on the CPU"""


class ClassicDream:
    """The pattern of the 2018 code and its heirs: one dream, an LSTM cell, the frame decoded at every step."""

    def __init__(self, decode: bool) -> None:
        self.cell = nn.LSTMCell(Z + A, D)
        self.head = nn.Linear(D, K + 2 * K * Z + 2)
        self.controller = nn.Linear(Z + D, A)
        self.vae = VAE(VAEConfig()).eval() if decode else None
        self.z, self.h, self.c = torch.randn(1, Z), torch.zeros(1, D), torch.zeros(1, D)

    @torch.inference_mode()
    def play(self, steps: int) -> int:
        """Dream on; returns the steps."""
        for _ in range(steps):
            action = torch.tanh(self.controller(torch.cat([self.z, self.h], 1)))
            self.h, self.c = self.cell(torch.cat([self.z, action], 1), (self.h, self.c))
            output = self.head(self.h)[0]
            self.z = self._sample(output)
            _ = float(output[-2]), bool(output[-1] > 0)
            if self.vae is not None:
                (self.vae.decode(self.z) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return steps

    @staticmethod
    def _sample(output: Tensor) -> Tensor:
        component = int(torch.multinomial(torch.softmax(output[:K], 0), 1))
        mu, log_sigma = output[K : K + 2 * K * Z].view(2, K, Z)[:, component]
        return (mu + log_sigma.exp() * torch.randn(Z)).clamp(-10, 10).unsqueeze(0)


def make_dreams(device: torch.device) -> tuple[WorldModel, StartStates]:
    """An untrained world model whose dreams hardly ever terminate, and where they begin."""
    m = MDNRNN(MDNRNNConfig(Z, A, D, K))
    with torch.no_grad():
        m.head.bias[-1] = -20.0
    return WorldModel(VAE(VAEConfig()), m, device), StartStates(
        torch.randn(64, Z), torch.zeros(64, D), torch.zeros(64, D), LOW, HIGH, PAID
    )


def batched(config: DreamBenchConfig) -> Work:
    """Ours: `evaluate` in a DreamEnv, or a DreamLoop on a GPU, another controller in every dream."""
    device = pick(config.device)
    world_model, starts = make_dreams(device)
    dreaming = DreamConfig(horizon=config.steps)
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    params = 0.1 * np.random.default_rng(0).standard_normal((config.dreams, controller.num_params))
    if device.type == "cuda":
        loop, seeds = DreamLoop(world_model, starts, dreaming), np.arange(config.dreams) % SEEDS
        return lambda: int(loop.play(controller, params, seeds).lengths.sum())
    env = DreamEnv(world_model, starts, config.dreams, dreaming)
    return lambda: int(evaluate(env, controller, params, range(config.dreams)).lengths.sum())


def paper_generation(config: DreamBenchConfig) -> float:
    """Seconds that the second of two generations takes, from asking for candidates to telling their fitness."""
    device = pick(config.device)
    is_gpu = device.type == "cuda"
    world_model, starts = make_dreams(device)
    maker = PlayerMaker(world_model, {}, starts)
    controller = LinearController(world_model.feature_size, LOW, HIGH)
    evolution = Evolution(np.zeros(controller.num_params), 0.1, CANDIDATES, seed=0)
    seconds = 0.0
    with open_backend("serial" if is_gpu else "process", maker, available_cores()) as backend:
        for generation in range(2):  # in the first one, workers start
            began = time.perf_counter()
            seeds = range(generation * SEEDS, (generation + 1) * SEEDS)
            scores = play(
                backend, "dream", controller, evolution.ask(), seeds, GPU_DREAMS if is_gpu else None
            )
            evolution.tell(scores.returns.mean(1))
            seconds = time.perf_counter() - began
    return seconds


def head_columns(device: torch.device) -> int:
    """Numbers that M's heads must give for a step: on a CPU the moments of the component that is drawn alone."""
    return K + 2 * Z * (1 if device.type == "cpu" else K) + 2


def gemm_floor(config: DreamBenchConfig) -> Callable[[], int]:
    """The arithmetic alone: the two matrix products of M, as many rows a call as DreamEnv's slabs."""
    device = pick(config.device)
    rows = config.dreams if device.type == "cuda" else min(SLAB, config.dreams)
    x, w = torch.randn(rows, Z + A + D, device=device), torch.randn(Z + A + D, 4 * D, device=device)
    h, v = torch.randn(rows, D, device=device), torch.randn(D, head_columns(device), device=device)

    @torch.inference_mode()
    def work() -> int:
        calls = max(1, config.dreams * config.steps // rows // 2)
        for _ in range(calls):
            _ = x @ w
            _ = h @ v
        if device.type == "cuda":
            torch.cuda.synchronize()
        return calls * rows

    return work


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    config = cli.parse(DreamBenchConfig, argv, prog="python -m benchmarks.dream", description=__doc__)
    torch.manual_seed(0)
    classic, bare = ClassicDream(decode=True), ClassicDream(decode=False)
    with num_threads(1):
        rates = compare_all(
            {
                "ours": batched(config),
                "classic": lambda: classic.play(60),
                "bare": lambda: bare.play(600),
                "floor": gemm_floor(config),
            },
            config.runs,
        )
    ours = rates["ours"]
    rows = [
        row("classic: one dream, decoded", ours, rates["classic"]),
        row("one dream, not decoded", ours, rates["bare"]),
        row("M's matrix products alone", ours, rates["floor"]),
    ]
    flops = 2 * ((Z + A + D) * 4 * D + D * head_columns(pick(config.device)))
    more = {
        "dreams": config.dreams,
        "unit": "dream steps/s on " + ("one core" if config.device == "cpu" else config.device),
        "gflops": round(rates["floor"] * flops / 1e9, 1),
    }
    if config.paper:
        more["paper_generation_s"] = round(paper_generation(config), 2)
    if config.device == "cpu":
        more["gpu"] = "not measured; --device cuda --dreams 65536 does"
    report(rows, config.json, **more)
    if not config.json:
        if config.paper:
            print(f"64 candidates x 16 dreams x 1,000 steps: {more['paper_generation_s']} s on all cores")
        print(f"{more['unit']}; the matrix products run at {more['gflops']} GFLOP/s")
        if "gpu" in more:
            print(f"on a GPU: {more['gpu']}")


if __name__ == "__main__":
    cli.run(main)
