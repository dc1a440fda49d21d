"""``compare``: two reports side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from training.errors import ConfigError

if TYPE_CHECKING:
    from training.evaluation.report.schema import Report

_REPORT = "NAME.json that evaluate wrote."


def compare(
    first: Annotated[Path, typer.Argument(help=f"Report: {_REPORT}")],
    second: Annotated[Path, typer.Argument(help=f"Report to compare with it: {_REPORT}")],
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("results/comparison.html"),
) -> None:
    """Write a page that compares two reports: both fronts, and differences by tradeoff."""
    from service.contract.files import check_file, write_atomically
    from training.evaluation.report.compare import comparison_page, difference_table

    a, b = _read(first), _read(second)
    if a.axis != b.axis:
        raise ConfigError(f"{first} measures {a.axis}, {second} {b.axis}: they do not compare")
    check_file(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, comparison_page(a, b, (first.stem, second.stem)).encode())
    typer.echo(difference_table(a, b))
    typer.echo(f"{second.stem} less {first.stem}; wrote {out}")


def _read(path: Path) -> Report:
    from pydantic import ValidationError

    from training.evaluation.report.schema import Report

    try:
        return Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"{path} is no report with a front: {reason}") from error
