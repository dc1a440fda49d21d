"""Variant ``plain``: a DCN as a first draft has it: dense tables, Adam, rows on the device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from tests.bench.gpu.protocol import Meter, Task, columns, content, read_task


class DCN(nn.Module):
    """A cross and a deep network on ids, content and two numbers (Wang et al., 2017)."""

    content: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        d, width = task.dim, 4 * task.dim
        self.user, self.item = nn.Embedding(task.users, d), nn.Embedding(task.items, d)
        self.register_buffer("content", torch.from_numpy(content(task)))
        self.project, self.numbers = nn.Linear(self.content.shape[1], d), nn.Linear(2, d)
        self.cross = nn.ModuleList(nn.Linear(width, 1) for _ in range(task.cross_layers))
        self.deep = nn.Sequential(
            nn.Linear(width, task.hidden), nn.ReLU(), nn.Linear(task.hidden, task.hidden), nn.ReLU()
        )
        self.out = nn.Linear(width + task.hidden, 1)

    def forward(self, user: Tensor, item: Tensor, numbers: Tensor) -> Tensor:
        """Return logits (B,) of users and items (B,) and numbers (B, 2)."""
        parts = [self.user(user), self.item(item)]
        parts += [self.project(self.content[item]), self.numbers(numbers)]
        x = product = torch.cat(parts, 1)
        for layer in self.cross:
            product = x * layer(product) + product
        logit: Tensor = self.out(torch.cat([product, self.deep(x)], 1)).squeeze(1)
        return logit


def main() -> None:
    """Train and print the answer."""
    task = read_task()
    torch.manual_seed(task.seed)
    rows = {name: torch.from_numpy(values) for name, values in columns(task).items()}
    numbers = torch.stack([rows["popularity"], rows["age_days"]], 1).to(task.device)
    user, item, label = (rows[name].to(task.device) for name in ("user", "item", "label"))
    net = DCN(task).to(task.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=task.lr, fused=True)
    meter = Meter(task)
    while True:
        for batch in torch.randperm(len(label), device=task.device).split(task.batch_rows):
            optimizer.zero_grad(set_to_none=True)
            logit = net(user[batch], item[batch], numbers[batch])
            F.binary_cross_entropy_with_logits(logit, label[batch]).backward()
            optimizer.step()
            if meter.done(len(batch)):
                meter.answer("torch")
                return


if __name__ == "__main__":
    main()
