"""Opens the dream as a page in the browser: drive it with the arrow keys, or watch the controller.

Left the real environment, in the middle V's reconstruction of it, right M's dream, which gets the same actions and no
frames. Without a trained controller in exp_dir the page shows the weights that this repository ships.
"""

import asyncio
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from gymnasium.spaces import Box

import envs
from data import trained
from data.dream_page.server import PageServer, wait_for_signal
from data.dream_page.session import Place
from data.dream_page.wishes import check_seed, check_temperature
from data.trained import DEFAULT_LOGS, SHIPPED, STAGES, Trained, TrainedController, TrainedFiles
from envs.side_by_side import SideBySide
from utils import cli
from utils.device import DeviceName, pick
from utils.errors import UserError, check, check_positive

ANYWHERE = ("0.0.0.0", "::")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
CAR = Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))
"""What arrow keys can drive: steering, gas, brake."""


@dataclass(frozen=True)
class PageConfig:
    """What is shown, and where."""

    logs: cli.LogsArg = DEFAULT_LOGS
    """run directory, or a folder like pretrained/carracing, which is shown if exp_dir holds nothing yet"""
    stage: Literal["controller", "controller-dream"] | None = None
    """which controller of the run; by default the one evolved in the real environment, if there is one"""
    port: int = 8000
    """where the page is served; 0 takes a free one"""
    host: str = "127.0.0.1"
    """the address to listen at; any other lets other machines in, and everybody on them"""
    fps: float = 24.0
    """steps and pictures a second"""
    temperature: float = 1.0
    """where the slider stands at first"""
    seed: int = 0
    """number of the first held-out track"""
    warm_up: int = 20
    """steps that the controller drives, and M watches, before the dream begins"""
    max_tabs: int = 4
    """tabs at a time, each with a drive of its own"""
    browser: bool = True
    """open the page, too, rather than only say where it is"""
    device: DeviceName = "cpu"
    """where V and M run"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check_positive(self, "fps", "max_tabs")
        check(self.fps <= 100, f"--fps must be at most 100; got {self.fps:g}.")
        check(0 <= self.port < 2**16, f"--port must lie between 0 and 65535; got {self.port}.")
        check(0 <= self.warm_up <= 1000, f"--warm-up must lie between 0 and 1000; got {self.warm_up}.")
        check(self.host, "--host needs an address; leave it out to let nobody in but this machine.")
        check_temperature(self.temperature)
        check_seed(self.seed)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the page until Ctrl-C."""
    config = cli.parse(PageConfig, argv, prog="python -m envs.dream", description=__doc__)
    place = make_place(config)
    torch.set_num_threads(1)  # a frame is too small for more, and each tab has a thread of its own
    asyncio.run(_serve(config, place))


def make_place(config: PageConfig) -> Place:
    """Load what there is to show.

    Raises:
        UserError: something is missing or does not fit.
    """
    files, weights = find_weights(config)
    world = trained.load_world_model(files, pick(config.device))
    driver = None
    if files.controller.is_file():
        driver = trained.load_controller(files.controller, world.world_model.feature_sizes)
    else:
        print(f"{config.logs} holds no trained controller yet: the page is for the arrow keys alone")
    make = partial(_make_drive, world, driver)
    make().env.close()  # a misfit is told before any tab opens
    return Place(
        make,
        has_controller=driver is not None,
        env_name=world.env_spec["name"],
        weights=weights,
        image_size=world.world_model.image_size,
        fps=config.fps,
        temperature=config.temperature,
        seed=config.seed,
        warm_up=config.warm_up,
    )


def find_weights(config: PageConfig) -> tuple[TrainedFiles, str]:
    """The run's files, and their place in words; the shipped ones if the default run directory holds none.

    Raises:
        UserError: there are none.
    """
    root = config.logs
    check(root.is_dir() or root == DEFAULT_LOGS, f"there is no run directory {root}; see --logs.")
    files = trained.driver_files(root, STAGES if config.stage is None else (config.stage,))
    if files is not None:
        return files, str(root)
    shipped = trained.shipped_files(root, config.stage)
    if shipped.controller.is_file():
        return shipped, str(root)
    check(config.stage is None, f"{root} holds no {config.stage} yet; run traincontroller.py --logs {root}.")
    files = trained.run_files(root)
    if files.vision.is_file() and files.memory.is_file():
        return files, str(root)
    if root != DEFAULT_LOGS:
        check(
            shipped.vision.is_file(), f"there is no trained V and M in {root}; run trainvae.py --logs {root}."
        )
        return shipped, str(root)
    if not SHIPPED.is_dir():
        raise UserError(
            f"there is no trained V and M in {root} and none in {SHIPPED}; run trainvae.py first."
        )
    print(f"{root} holds no trained controller yet: showing the one shipped in {SHIPPED}")
    return trained.shipped_files(SHIPPED), "the weights shipped with the repository"


def _make_drive(world: Trained, driver: TrainedController | None) -> SideBySide:
    env = envs.make_from(world.env_spec, 1)
    space = env.single_action_space
    check(
        space == CAR,
        f"the arrow keys drive steering, gas and brake, but {world.env_spec['name']} takes {space}.",
    )
    if driver is None:
        return SideBySide(env, world.world_model)
    return SideBySide(env, world.world_model, driver.controller, driver.params)


async def _serve(config: PageConfig, place: Place) -> None:
    server = PageServer(place, config.host, config.max_tabs)
    async with server.open(config.port) as port:
        name = "localhost" if config.host in ANYWHERE else config.host
        url = f"http://{f'[{name}]' if ':' in name else name}:{port}/"
        print(f"the dream is at {url} (Ctrl-C ends it)", flush=True)
        if config.host not in LOOPBACK:
            print("note: whoever reaches this machine over the network can open that page", flush=True)
        if config.browser and _has_screen():
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        await wait_for_signal()


def _has_screen() -> bool:
    """Whether a browser would have somewhere to show itself (else a text browser would take the terminal)."""
    return not sys.platform.startswith("linux") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
