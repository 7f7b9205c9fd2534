"""Batch norms folded into the convolutions beside them: the same function in evaluation, with fewer passes.

Works on any `nn.Sequential`, wherever a convolution and a batch norm stand next to each other, nested or not. A batch
norm in front of a Swish stays as it is.
"""

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Model = TypeVar("Model", bound=nn.Module)


def folded(model: Model) -> Model:
    """A copy of a model in eval mode, for inference only: its weights are no longer those of a checkpoint."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for module in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        _fold(module)
    return model


def _fold(sequence: nn.Sequential) -> None:
    """Fold within one sequence; Sequentials directly inside it are looked into, as they run in line."""
    slots = list(_slots(sequence))
    for (first, i), (second, j) in pairwise(slots):
        a, b = first[i], second[j]
        if isinstance(a, nn.Conv2d) and isinstance(b, nn.BatchNorm2d):
            first[i], second[j] = fuse_conv_bn_eval(a, b), nn.Identity()
        elif isinstance(a, nn.BatchNorm2d) and isinstance(b, nn.Conv2d) and b.padding == (0, 0):
            first[i], second[j] = nn.Identity(), _fuse_bn_conv(a, b)


def _slots(sequence: nn.Sequential) -> Iterator[tuple[nn.Sequential, int]]:
    """The (container, index) of every leaf of a nested Sequential, in the order they run."""
    for i, module in enumerate(sequence):
        if isinstance(module, nn.Sequential):
            yield from _slots(module)
        else:
            yield sequence, i


def _fuse_bn_conv(norm: nn.BatchNorm2d, conv: nn.Conv2d) -> nn.Conv2d:
    """One convolution without padding for a batch norm followed by one."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert conv.groups == 1
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * gain
    fused = copy.deepcopy(conv)
    extra = (conv.weight * shift[None, :, None, None]).sum(dim=(1, 2, 3))
    fused.weight = nn.Parameter(conv.weight * gain[None, :, None, None], requires_grad=False)
    fused.bias = nn.Parameter(extra if conv.bias is None else conv.bias + extra, requires_grad=False)
    return fused
