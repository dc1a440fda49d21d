"""Writes the local stack's rules and alerts as a PrometheusRule; run it after changing them.

``python -m docker.kubernetes.prometheusrule``
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus"
OUT = HERE / "base" / "prometheusrule.yaml"
HEAD = """\
# Made from docker/prometheus/rules.yml and alerts.yml by docker/kubernetes/prometheusrule.py.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: paretorank
spec:
  groups:
"""


def manifest() -> str:
    """Return the PrometheusRule: the groups of both files, indented below ``spec``."""
    text = HEAD
    for name in ("rules.yml", "alerts.yml"):
        body = (RULES / name).read_text().split("\ngroups:\n", 1)[1]
        text += "".join(f"  {line}" if line.strip() else line for line in body.splitlines(True))
    return text


if __name__ == "__main__":
    OUT.write_text(manifest())
