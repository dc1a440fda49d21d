"""Data-parallel training: ``torchrun --nproc-per-node 2 -m training train ...``.

Each process holds the whole net and trains on its share of each batch. Gradients are averaged; of a
table of ids, only those of the batch's rows are sent. Only the first process validates, writes and
prints. With one process, this module has no effect. With ``--max-restarts``, training resumes from
the last checkpoint after a process dies. On several
machines, set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun, since their restart counts may come
to differ.

A loss that is a mean over rows averages to its value on one process. Other terms are computed
within the share of a process: the softmax of the exposure loss and CLUB's bound use the rows of the
share alone, SNIPS normalises by the share's weights, a mean over slates weighs a slate by the rows
of its share, and a sum over rows becomes the mean of the shares' sums.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from training.nets.base import FrontNet

# A process that dies closes its connections, and the others fail at once. These timeouts are for a
# machine that vanishes: during a step, and while the first process works alone.
_STEP_TIMEOUT = timedelta(minutes=10)
_ALONE_TIMEOUT = timedelta(days=1)

T = TypeVar("T")


class _Groups:
    alone: dist.ProcessGroup | None = None  # for waits while the first process works alone


def launched() -> bool:
    """Return whether torchrun started this as one of several processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes of this run; at the end of the block, all wait for the first one."""
    if not launched():
        yield
        return
    # The backend depends on a tensor's device; only gloo supports the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, rank, size = next(rendezvous("env://", timeout=_STEP_TIMEOUT))
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # torchrun's store survives a restart and still holds the addresses of dead processes.
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
    """Return the rank of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Return whether this process validates, writes and prints."""
    return rank() == 0


def _alone() -> bool:
    return world_size() == 1


def from_first(compute: Callable[[], T]) -> T:
    """Return the value of ``compute`` on the first process; the others wait for it."""
    if _alone():
        return compute()
    values = [compute() if is_first() else None]
    dist.broadcast_object_list(values, src=0, group=_Groups.alone)
    return values[0]  # type: ignore[return-value]  # set by the first process


def send_parameters(net: FrontNet) -> None:
    """Give all processes the parameters of the first one."""
    if not _alone():
        for parameter in net.parameters():
            dist.broadcast(parameter.detach(), src=0)


def average_gradients(net: FrontNet) -> None:
    """Replace each gradient by its mean over the processes. All must have used the same weights."""
    if _alone():
        return
    dense = []
    for parameter in net.parameters():
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = _of_all_rows(parameter.grad) / world_size()
        else:
            dense.append(parameter.grad)
    flat = torch.cat([gradient.flatten() for gradient in dense])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in dense]
    for gradient, mean in zip(dense, (flat / world_size()).split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _of_all_rows(gradient: Tensor) -> Tensor:
    """Return the sum of a sparse gradient over the processes; a row may occur several times."""
    index, values = gradient._indices()[0], gradient._values()
    counts = [torch.zeros(1, dtype=torch.int64, device=index.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(index)], device=index.device))
    most = int(max(counts))
    padded = values.new_zeros(most, values.shape[1]), index.new_zeros(most)  # adds 0 to row 0
    padded[0][: len(values)], padded[1][: len(index)] = values, index
    gathered = []
    for part in padded:
        parts = [torch.empty_like(part) for _ in range(world_size())]
        dist.all_gather(parts, part)
        gathered.append(torch.cat(parts))
    return torch.sparse_coo_tensor(
        gathered[1][None], gathered[0], gradient.shape, check_invariants=False
    )
