"""Results as rows of JSON and a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.common import Flat, Spread
from tests.bench.ranking_speed.protocol import Answer, Task


@dataclass(frozen=True)
class Speed(Flat):
    """A variant over its repeats; times are CPU seconds."""

    variant: str
    library: str
    epoch_cpu_s: Spread
    prepare_cpu_s: float
    best_recall: Spread
    best_epoch: float
    best_cpu_s: Spread  # until its best recall, preparation included
    comparable_cpu_s: Spread  # until a recall of at least ``floor``, preparation included

    @classmethod
    def of(cls, variant: str, answers: Sequence[Answer], floor: float) -> Speed:
        """Return the speed of one variant from its ``answers``."""
        return cls(
            variant=variant,
            library=answers[0].library,
            epoch_cpu_s=Spread.of([median(answer.epoch_cpu_s) for answer in answers]),
            prepare_cpu_s=median(answer.prepare_cpu_s for answer in answers),
            best_recall=Spread.of([max(answer.recall) for answer in answers]),
            best_epoch=median(1 + answer.recall.index(max(answer.recall)) for answer in answers),
            best_cpu_s=Spread.of([cpu_s_until(answer, max(answer.recall)) for answer in answers]),
            comparable_cpu_s=Spread.of([cpu_s_until(answer, floor) for answer in answers]),
        )


def cpu_s_until(answer: Answer, recall: float) -> float:
    """Return the CPU seconds until validation recall reaches ``recall``; inf if it never does."""
    spent = answer.prepare_cpu_s
    for epoch_s, reached in zip(answer.epoch_cpu_s, answer.recall, strict=True):
        spent += epoch_s
        if reached >= recall:
            return spent
    return float("inf")


def markdown(ours: Speed, peer: Speed, task: Task, positives: int, floor: float) -> str:
    """Return the table with its caption."""
    lines = [
        f"CPU seconds on one core, {positives:,} training positives, embeddings of {task.dim},",
        f"{task.layers} layers, batches of {task.batch_rows:,} positives. The seconds exclude",
        "validation and include preparation; ours prepares environments and mask. Median (least",
        "to greatest). Comparable recall: the lowest best recall of LightGCN on validation,",
        f"{floor:.4f}.",
        "",
        "| variant | library | epoch s | prepare s | best recall@20 on validation | at epoch "
        "| s to best recall | s to comparable recall |",
        "|" + " --- |" * 8,
    ]
    for speed in (ours, peer):
        cells = [
            speed.variant,
            speed.library,
            speed.epoch_cpu_s.cell(".2f"),
            f"{speed.prepare_cpu_s:.1f}",
            speed.best_recall.cell(".4f"),
            f"{speed.best_epoch:.0f}",
            speed.best_cpu_s.cell(".1f"),
            speed.comparable_cpu_s.cell(".1f"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    ratios = [
        f"{getattr(ours, name).median / getattr(peer, name).median:.2f} {label}"
        for name, label in (
            ("epoch_cpu_s", "per epoch"),
            ("best_cpu_s", "to the best recall"),
            ("comparable_cpu_s", "to comparable recall"),
        )
    ]
    lines += ["", f"Our time over LightGCN's: {', '.join(ratios)}.", ""]
    return "\n".join(lines)
