"""Where tensors live, and how many threads torch uses."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from utils.errors import check

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def pick(name: DeviceName = "auto") -> torch.device:
    """The device of that name; "auto" prefers CUDA, then MPS, then the CPU.

    Raises:
        UserError: this machine has no such device.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device("cuda" if has["cuda"] else "mps" if has["mps"] else "cpu")
    check(has[name], f"--device {name} is not available on this machine; use --device auto or cpu.")
    return torch.device(name)


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Run with `count` torch threads, then put the old number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
