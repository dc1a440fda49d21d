"""Clicks of two environments that are known."""

from __future__ import annotations

import torch

from training.nets.painvrl.environments import Clicks


def two_environments(users: int, items: int) -> tuple[torch.Tensor, Clicks, torch.Tensor]:
    """Return content (I, 8), clicks by user, and the environment of each.

    Tastes depend on the first four features. Exposure prefers items that score high on the last
    four in one environment, and low in the other.
    """
    g = torch.Generator().manual_seed(1)
    content = torch.randn(items, 8, generator=g)
    taste = torch.randn(users, 4, generator=g) @ content[:, :4].T
    push = content[:, 4:] @ torch.tensor([1.5, -1.5, 1.5, -1.5])
    rows = []
    for user in range(users):
        for environment, sign in enumerate((1.0, -1.0)):
            probability = (taste[user] + sign * push).softmax(0)
            clicked = torch.multinomial(probability, 12, generator=g)
            rows += [(user, int(item), environment) for item in clicked]
    user, item, label = torch.tensor(rows).T
    return content, Clicks(user, item), label
