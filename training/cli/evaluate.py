"""``evaluate``: a report on a model, over several seeds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from training.cli.options import (
    BUILD,
    Build,
    ConfigFile,
    Data,
    Device,
    Model,
    Overrides,
    Scratch,
    Since,
    Until,
    with_period,
)
from training.errors import ConfigError
from training.evaluation.baselines import BASELINE_NAMES, RANKING_BASELINE_NAMES

log = logging.getLogger(__name__)

_BASELINES_HELP = (
    f"all, none, or some of: {','.join(BASELINE_NAMES)}; on clicks alone: "
    f"{','.join(RANKING_BASELINE_NAMES)}, and the ablations of the architecture."
)


def evaluate(
    name: Annotated[str, typer.Argument(help="Name of the report.")],
    data: Data,
    model: Model = "cp2rec",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Trainings to measure over.")] = 5,
    baselines: Annotated[str, typer.Option(help=_BASELINES_HELP)] = "none",
    probes: Annotated[
        bool, typer.Option("--probes", help="Probe the common features for the proxies.")
    ] = False,
    cold: Annotated[
        bool, typer.Option("--cold", help="Measure cold items and users as segments.")
    ] = False,
    cold_users: Annotated[
        float, typer.Option(min=0, max=0.5, help="With --cold: share of users to hide.")
    ] = 0.1,
    mask: Annotated[
        bool, typer.Option("--mask", help="Describe the invariant mask that a net learns.")
    ] = False,
    config: ConfigFile = None,
    overrides: Overrides = None,
    build: Build = BUILD,
    results: Annotated[Path, typer.Option(help="Folder of reports.")] = Path("results"),
    since: Since = None,
    until: Until = None,
    device: Device = "auto",
    scratch: Scratch = None,
) -> None:
    """Measure the front over several seeds, and baselines; finished runs are not run again.

    Per seed, --probes trains a twin without purification and --cold one without some users.
    """
    from service.contract.files import check_folder
    from training.config import load_config
    from training.data.dataset import open_dataset
    from training.data.period import Period
    from training.data.schema import read_description
    from training.evaluation.report.origin import origin
    from training.evaluation.report.tables import report_tables
    from training.evaluation.report.write import check_report, write_report
    from training.evaluation.study import StudyOptions, run
    from training.fitting.device import limit_threads, on_device
    from training.fitting.distributed import launched
    from training.fitting.runs import RunStore

    limit_threads()
    if launched():
        raise ConfigError("torchrun is for train; evaluate trains its seeds in one process")
    resolved = load_config(model, config, with_period(overrides, since, until))
    check_folder(build)
    folder = results / read_description(data).name
    check_report(folder, name)
    options = StudyOptions(seeds, baselines, probes, cold, cold_users, mask)
    with on_device(device) as place:
        period = Period(resolved.since, resolved.until)
        dataset = open_dataset(data, scratch, period=period, cache=build)
        log.info("training on %s", place)
        report = run(dataset, resolved, options, RunStore(build))
    report = report.model_copy(update={"origin": origin(resolved)})
    path = write_report(report, folder, name)
    typer.echo(report_tables(report))
    typer.echo(f"wrote {path}.html, .json and .png")
