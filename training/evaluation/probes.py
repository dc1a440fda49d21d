"""Linear probes of the proxies in a net's common features, with and without purification."""

from __future__ import annotations

from collections.abc import Callable

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
from training.evaluation.report.schema import Probe
from training.fitting.runs import RunStore, over_seeds
from training.fitting.train_net import train_net
from training.metrics.auc import auc
from training.metrics.estimates import mean_and_se
from training.metrics.exposure import percentile_rank
from training.nets.registry import architecture

_ITEMS = 50  # fewer tell nothing
_SPLITS = ShuffleSplit(n_splits=5, test_size=0.3, random_state=0)
_ALPHAS = np.logspace(-2, 4, 13)

Values = dict[str, float]  # by "proxy measure"


class _Run(BaseModel):
    """One seed of one net: probes of its common features, and of the raw content."""

    common: Values
    content: Values


def measure_probes(
    dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> tuple[Probe, ...]:
    """Probe nets of ``config``, and their twins without purification, over ``seeds``.

    A net that purifies nothing has no twin, and its probes no figures of one.
    """
    twin = unpurified(config)
    own = _over_seeds(dataset, config, seeds, runs)
    twins = None if twin is None else _over_seeds(dataset, twin, seeds, runs)
    probes = []
    for name in own[0].common:
        if not all(name in run.common for run in (*own, *(twins or ()))):
            continue  # too few items of some seed's training rows have the proxy
        proxy, _, measure = name.rpartition(" ")
        common = np.array([run.common[name] for run in own])
        bare = None if twins is None else np.array([run.common[name] for run in twins])
        probes.append(
            Probe(
                proxy=proxy,
                measure="r2" if measure == "r2" else "auc",
                purified=mean_and_se(common),
                unpurified=None if bare is None else mean_and_se(bare),
                difference=None if bare is None else mean_and_se(bare - common),
                content=mean_and_se(np.array([run.content[name] for run in own])),
            )
        )
    return tuple(probes)


def unpurified(config: Config) -> Config | None:
    """Return the config without its purification, None where it purifies nothing."""
    options = architecture(config.net).unpurified(config.net)
    return None if options is None else config.model_copy(update={"net": options})


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


def _over_seeds(dataset: Dataset, config: Config, seeds: int, runs: RunStore) -> list[_Run]:
    return over_seeds(
        dataset, config, seeds, runs, "probes", _Run, lambda run: _measure(dataset, run, runs)
    )


def _measure(dataset: Dataset, config: Config, runs: RunStore) -> _Run:
    fitted = train_net(dataset, config, runs)
    warm = fitted.warm.numpy()  # a cold item has nothing but its content
    proxies = dataset.proxies[warm]
    common = fitted.net.common_features(fitted.item_states()).numpy()[warm]
    return _Run(
        common=probe(common, proxies, dataset.proxy_fields),
        content=probe(dataset.embedding[warm], proxies, dataset.proxy_fields),
    )
