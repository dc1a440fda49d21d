"""Linear probes for proxies in a net's common features, with and without purification."""

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

_LEAST_ITEMS = 50  # with fewer, a probe has no meaning
_SPLITS = ShuffleSplit(n_splits=5, test_size=0.3, random_state=0)
_ALPHAS = np.logspace(-2, 4, 13)

Values = dict[str, float]  # by "PROXY MEASURE"


class _Run(BaseModel):
    """Probes of one seed, on the net's common features and on raw content."""

    common: Values
    content: Values


def measure_probes(
    dataset: Dataset, config: Config, seeds: int, runs: RunStore
) -> tuple[Probe, ...]:
    """Probe the nets of ``config`` and their twins without purification, over ``seeds``.

    A net without purification has no twin; ``unpurified`` and ``difference`` are then None.
    """
    twin = unpurified(config)
    purified_runs = _over_seeds(dataset, config, seeds, runs)
    twin_runs = None if twin is None else _over_seeds(dataset, twin, seeds, runs)
    probes = []
    for name in purified_runs[0].common:
        if not all(name in run.common for run in (*purified_runs, *(twin_runs or ()))):
            continue  # in some seed, too few warm items have this proxy
        proxy, _, measure = name.rpartition(" ")
        purified = np.array([run.common[name] for run in purified_runs])
        bare = None if twin_runs is None else np.array([run.common[name] for run in twin_runs])
        probes.append(
            Probe(
                proxy=proxy,
                measure="r2" if measure == "r2" else "auc",
                purified=mean_and_se(purified),
                unpurified=None if bare is None else mean_and_se(bare),
                difference=None if bare is None else mean_and_se(bare - purified),
                content=mean_and_se(np.array([run.content[name] for run in purified_runs])),
            )
        )
    return tuple(probes)


def unpurified(config: Config) -> Config | None:
    """Return the configuration without purification; None if it already has none."""
    options = architecture(config.net).unpurified(config.net)
    return None if options is None else config.model_copy(update={"net": options})


def probe(features: Floats, proxies: Floats, fields: tuple[Proxy, ...]) -> Values:
    """Return how well ridge regressions on ``features`` (N, d) predict held-out proxies (N, P).

    The names are "PROXY r2" and "PROXY auc"; see ``Probe``. Values are means over five fixed splits
    of the items with 30 % held out; the AUC of a categorical proxy is also a mean over categories.
    Items whose proxy is unknown are left out. A proxy that is constant, or known for fewer than 50
    items, has no value.
    """
    values: Values = {}
    for proxy, column in zip(fields, proxies.T, strict=True):
        has_proxy = ~np.isnan(column)
        x, value = features[has_proxy], column[has_proxy]
        if len(value) < _LEAST_ITEMS or np.ptp(value) == 0:
            continue
        if proxy.kind == "categorical":
            targets = [(value == code).astype(np.float64) for code in np.unique(value)]
        else:
            targets = [(value > np.median(value)).astype(np.float64)]
            values[f"{proxy.name} r2"] = _held_out(x, percentile_rank(value), r2_score)
        aucs = [_held_out(x, target, auc) for target in targets]
        if not np.isnan(aucs).all():
            values[f"{proxy.name} auc"] = float(np.nanmean(aucs))
    return values


def _held_out(x: Floats, y: Floats, judge: Callable[[Floats, Floats], float]) -> float:
    """Return the mean over splits of ``judge(truth, prediction)`` of held-out rows."""
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
    warm = fitted.warm.numpy()  # the features of a cold item are its content alone
    proxies = dataset.proxies[warm]
    common = fitted.net.common_features(fitted.item_states()).cpu().numpy()[warm]
    return _Run(
        common=probe(common, proxies, dataset.proxy_fields),
        content=probe(dataset.embedding[warm], proxies, dataset.proxy_fields),
    )
