"""Data-parallel training: ``torchrun --nproc-per-node 2 -m training train ...``.

Every process holds the whole net and takes its share of each batch; gradients are averaged. The
first process alone validates, writes and prints. With one process nothing here does anything.
``--max-restarts`` goes on from the last checkpoint after a death; over several machines restart
counts may come to differ between them, so give torchrun TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1.

Averages come out as on one process wherever the loss is a mean over rows. What a loss computes
within a batch otherwise, it computes within the share of its process: the exposure term's softmax
and CLUB's bound see the rows of the share alone, SNIPS normalises by its weights, means over slates
weigh a slate by the rows of its share, and a sum over rows counts as the mean of the shares' sums.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from training.nets.base import FrontNet, Slates

# A process that dies closes its connections, which the others notice at once. These are for a
# machine that vanishes: between steps, and while the first process works alone.
_STEP_TIMEOUT = timedelta(minutes=10)
_ALONE_TIMEOUT = timedelta(days=1)

T = TypeVar("T")


class _Groups:
    alone: dist.ProcessGroup | None = None  # where the others wait for the first


def launched() -> bool:
    """Return whether this is one of several processes, by torchrun's environment."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes of this run; on leaving, all wait until the first is through."""
    if not launched():
        yield
        return
    # By where a tensor lies; gloo alone knows the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, rank, size = next(rendezvous("env://", timeout=_STEP_TIMEOUT))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's store outlives a restart, with the addresses of dead processes in it.
        attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
        store = dist.PrefixStore(attempt, store)  # type: ignore[attr-defined]  # not in the stubs
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_STEP_TIMEOUT)
    try:
        _Groups.alone = dist.new_group(backend="gloo", timeout=_ALONE_TIMEOUT)
        if not is_first():
            logging.getLogger().setLevel(logging.WARNING)
        yield
        dist.barrier(_Groups.alone)
    finally:
        _Groups.alone = None
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process validates, writes and prints."""
    return rank() == 0


def from_first(compute: Callable[[], T]) -> T:
    """Return what ``compute`` gives on the first process; the others wait for it."""
    if world_size() == 1:
        return compute()
    box = [compute() if is_first() else None]
    dist.broadcast_object_list(box, src=0, group=_Groups.alone)
    return box[0]  # type: ignore[return-value]  # filled by the first


def parallel_loss(net: FrontNet) -> Callable[[Slates], Tensor]:
    """Return the loss of ``net``; over several processes its gradients are averaged over them."""
    if world_size() == 1:
        return net.loss
    # A net may leave weights unused, the same ones at every step; its buffers are constants.
    return DistributedDataParallel(_Loss(net), static_graph=True, forward_sync_buffers=False)


class _Loss(nn.Module):
    def __init__(self, net: FrontNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Slates) -> Tensor:
        return self.net.loss(batch)
