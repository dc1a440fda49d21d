"""What can be read of the proxies off a net's common features, with and without purification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.contract.manifest import Proxy
from training.arrays import Floats
from training.config import Config
from training.data.dataset import Dataset
from training.errors import ConfigError
from training.evaluation.report.schema import Probe
from training.fitting.runs import over_seeds
from training.fitting.scoring import catalogue_states
from training.fitting.train_net import train_net
from training.metrics.auc import auc
from training.metrics.estimates import mean_and_se
from training.metrics.exposure import percentile_rank
from training.nets.cp2rec.interaction_layers import InteractionOptions
from training.nets.painvrl.modules import PainvrlOptions

_ITEMS = 50  # fewer tell nothing
_SPLITS = ShuffleSplit(n_splits=5, test_size=0.3, random_state=0)
_ALPHAS = np.logspace(-2, 4, 13)

Values = dict[str, float]  # by "proxy measure"


class _Run(BaseModel):
    """What one seed of one net gave away, and what the content alone does."""

    common: Values
    content: Values


def measure_probes(dataset: Dataset, config: Config, seeds: int, runs: Path) -> tuple[Probe, ...]:
    """Probe nets of ``config`` and their twins without purification, over ``seeds``."""
    pair = [
        over_seeds(
            dataset, each, seeds, runs, "probes", _Run, lambda run: _measure(dataset, run, runs)
        )
        for each in (config, unpurified(config))
    ]
    probes = []
    for name in pair[0][0].common:
        if not all(name in run.common for each in pair for run in each):
            continue  # too few items of some seed's training rows have the proxy
        proxy, _, measure = name.rpartition(" ")
        purified, twin = (np.array([run.common[name] for run in each]) for each in pair)
        probes.append(
            Probe(
                proxy=proxy,
                measure="r2" if measure == "r2" else "auc",
                purified=mean_and_se(purified),
                unpurified=mean_and_se(twin),
                difference=mean_and_se(twin - purified),
                content=mean_and_se(np.array([run.content[name] for run in pair[0]])),
            )
        )
    return tuple(probes)


def unpurified(config: Config) -> Config:
    """Return the config without its purification; raises ConfigError where it has none."""
    net = config.net
    if isinstance(net, PainvrlOptions):
        raise ConfigError("--probes: PaInvRL has no purification to probe")
    learned = net.orthogonality_weight > 0
    if isinstance(net, InteractionOptions):
        purifies = net.purifier == "proj" or (net.purifier != "none" and learned)
        twin = config.model_copy(update={"net": replace(net, purifier="none")})
    else:
        purifies = learned
        twin = config.model_copy(update={"net": replace(net, orthogonality_weight=0.0)})
    if not purifies:
        raise ConfigError("--probes: this configuration has no purification to probe")
    return twin


def probe(features: Floats, proxies: Floats, fields: tuple[Proxy, ...]) -> Values:
    """Return what a ridge regression on ``features`` (N, d) tells of proxies (N, P) held out.

    By "proxy r2" and "proxy auc", see ``Probe``; means over five fixed splits of the items, 30 %
    held out, and for the AUC of a categorical proxy over its categories. Items whose proxy is
    unknown are left out; a proxy known of few items, or constant, gives nothing.
    """
    found: Values = {}
    for proxy, column in zip(fields, proxies.T, strict=True):
        known = ~np.isnan(column)
        x, value = features[known], column[known]
        if len(value) < _ITEMS or np.ptp(value) == 0:
            continue
        if proxy.kind == "categorical":
            sides = [(value == code).astype(np.float64) for code in np.unique(value)]
        else:
            sides = [(value > np.median(value)).astype(np.float64)]
            found[f"{proxy.name} r2"] = _held_out(x, percentile_rank(value), r2_score)
        aucs = [_held_out(x, side, auc) for side in sides]
        if not np.isnan(aucs).all():
            found[f"{proxy.name} auc"] = float(np.nanmean(aucs))
    return found


def _held_out(x: Floats, y: Floats, judge: Callable[[Floats, Floats], float]) -> float:
    """Return the mean over splits of what ``judge`` says of held-out predictions."""
    values = []
    for train, test in _SPLITS.split(x):
        ridge = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS)).fit(x[train], y[train])
        values.append(judge(y[test], ridge.predict(x[test])))
    return float(np.mean(values))


def _measure(dataset: Dataset, config: Config, runs: Path) -> _Run:
    trained = train_net(dataset, config, runs)
    items = trained.known.numpy()  # what was never trained on has but its content
    proxies = dataset.proxies[items]
    states = catalogue_states(trained.net, dataset, trained.known)
    common = trained.net.common_features(states).numpy()[items]
    return _Run(
        common=probe(common, proxies, dataset.proxy_fields),
        content=probe(dataset.embedding[items], proxies, dataset.proxy_fields),
    )
