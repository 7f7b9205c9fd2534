"""Starts a lite server: CARLA's protocol on two TCP ports, for the real `carla` client."""

import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import cv2

from envs.carla.lite import maps
from utils import cli
from utils.errors import UserError, check


@dataclass(frozen=True)
class LiteConfig:
    """Where to listen, and which world to serve."""

    port: int = 2000
    """of the RPC; the sensor streams take the next one"""
    map: str = "loop"
    """a map of ours (--list-maps), or an OpenDRIVE file: FILE.xodr"""
    seed: int = 0
    """of the seeded maps and of what stands beside the road"""
    host: str = "127.0.0.1"
    """address to listen on; any but this one lets other machines drive, without a password"""
    list_maps: bool = False
    """print the names of the maps and stop"""
    parent: int | None = None
    """end when this process does"""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        check(1 <= self.port <= 65534, f"--port must lie between 1 and 65534; got {self.port}.")
        check(self.seed >= 0, f"--seed must not be negative; got {self.seed}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    config = cli.parse(LiteConfig, argv, prog="python -m envs.carla.lite", description=__doc__)
    if config.list_maps:
        print("\n".join(maps.map_names()))
        return
    with contextlib.suppress(KeyboardInterrupt):
        _serve(config)
    sys.exit(130)


def _serve(config: LiteConfig) -> NoReturn:
    is_child = config.parent == os.getppid()  # asked early: a parent may not live long
    from envs.carla.lite.host import Host  # needs an extra, whose absence is a user's mistake

    cv2.setNumThreads(1)
    try:
        host = Host(config.host, config.port, config.map, config.seed)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"cannot listen on {config.host}, ports {config.port} and {config.port + 1}: {reason}; "
            "choose another --port or --host."
        ) from None
    print(f"serving {config.map} on {config.host}:{config.port}, process {os.getpid()}", flush=True)
    host.run(lambda: config.parent is not None and not _is_alive(config.parent, is_child))
    sys.exit()


def _is_alive(pid: int, is_child: bool) -> bool:
    """Whether our parent, or another process, still runs."""
    if is_child:
        return os.getppid() == pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    cli.run(main)
