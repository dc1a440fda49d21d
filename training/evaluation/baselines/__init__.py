"""Baselines of a front: other ways to trade accuracy for bias."""

# The tables of reranking.py and full_ranking.py have these names. They stand here so that the
# command line can list them without PyTorch.
BASELINE_NAMES = (
    "plain",
    "no-proxy",
    "single",
    "two-head",
    "backdoor",
    "penalty",
    "pda",
    "macr",
    "ips",
    "snips",
    "pos",
    "rel",
    "dcn-plain",
    "dcn-backdoor",
    "dcn-two-head",
)
RANKING_BASELINE_NAMES = (
    "popularity",
    "item-knn",
    "rp3beta",
    "bpr-mf",
    "ultragcn",
    "lightgcn",
    "penalty",
)
