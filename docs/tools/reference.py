"""Reference pages from the code: run it to write docs/reference, ``--check`` compares."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import typer
from json_schema import Link, Schema, cell, code, definition, fields, here, table, type_of
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from service.app import create_app
from service.contract.manifest import Manifest
from service.settings import Settings, describe
from service.telemetry import Telemetry
from training.cli.app import app, leaves
from training.config import Config, load_config
from training.configs import MODELS
from training.feed.metrics import Metrics
from training.fitting.tuning import search_space

OUT = Path(__file__).parents[1] / "reference"

SETTINGS = """\
# Settings

The service reads its settings from environment variables. `python -m service --help` prints this
table. A setting outside its bounds stops the start with a message that names the variable.

"""
METRICS = """\
# Metrics

Each replica counts for itself at `GET /metrics`. Label values are bounded: routes, loaded models,
tenths of the tradeoff, arms of experiments and fixed lists. A counter appears under its name,
`NAME_total`; a histogram appears as `NAME_bucket`, `NAME_sum` and `NAME_count`.

"""
WORKER = """
## The worker

Each worker of [`collect`](../collecting.md) counts for itself, at `GET /metrics` of
`--metrics-port`.

"""
CLI = """\
# Commands

[`paretorank`](../command.md) runs them all: `paretorank serve` and `paretorank keys` are
`python -m service`, any other command is `python -m training COMMAND`. Each prints its options with
`--help`. A training command exits with 0 when it is done, with 2 after a mistake that its message
names, and with 130 when it was interrupted.
"""
SERVICE = """
## serve

Serve rankings over HTTP, with the [settings](settings.md) of the environment.

    paretorank serve [options]

Also `python -m service`.

| option | description |
| --- | --- |
| `--check DIR` | Verify an artifact as the service would, and exit. |

## keys

Make, list and remove [API keys](../access.md#keys): `add NAME`, `list` and `remove NAME`. They exit
with 2 after a mistake that their message names.

    paretorank keys add|list|remove [options]

Also `python -m service keys`.

| option | description |
| --- | --- |
| `--file FILE` | The keys file; `RANK_KEYS_FILE` sets it, too. |
| `--scope SCOPE` | `add`: `rank`, `feedback` or `admin`; repeat it for more. |
| `--expires TIME` | `add`: the end of the key, a date or date-time in UTC. |
| `--rate RATE` | `add`: `N/second`, `/minute`, `/hour` or `/day`. |
"""
CONFIGURATION = """\
# Configuration

A training run has one configuration: the packaged file that `--model` names, the file of `--config`
over it, and each `--set section.key=value` over both. The resolved configuration is stored in the
artifact.
"""
TUNED = """\
[`train --tune`](../training.md#tuning) searches these with the options of the packaged file. Other
options of `[net]` may bring others: `net.architecture=ncf` has no `net.cross_layers`.

"""
MANIFEST = """\
# Manifest

`manifest.json` describes an artifact. [models/README.md](../../models/README.md) lists the other
files.

"""
API = """\
# API

Version {version}. A running service shows the same at `/docs` and `/openapi.json`.
[Rankings over HTTP](../api.md) explains how the parts play together.
"""


def settings() -> str:
    """Return the page of the service's settings."""
    rows = [
        (f"`{name}`", code(default), code(bounds), cell(text))
        for name, default, bounds, text in describe()
    ]
    return SETTINGS + table("variable, default, bounds, description", rows)


def metrics() -> str:
    """Return the page of all metrics, in the order of their modules."""
    text = METRICS + _metrics(dataclasses.astuple(metric) for metric in Telemetry().docs)
    return text + WORKER + _metrics(Metrics().docs)


def _metrics(docs: Iterable[tuple[Any, ...]]) -> str:
    rows = [
        (f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), cell(text))
        for name, kind, labels, text in docs
    ]
    return table("metric, kind, labels, description", rows)


def cli() -> str:
    """Return the page of all commands, arguments and options."""
    text = CLI
    for name, command in leaves(typer.main.get_command(app)):
        arguments = "".join(f" {p.name.upper()}" for p in command.params if _is_argument(p))
        text += f"\n## {name}\n\n{inspect.cleandoc(command.help)}\n\n"
        text += f"    paretorank {name}{arguments} [options]\n\n"
        text += table("option, default, description", [_parameter(p) for p in command.params])
    return text + SERVICE


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")


def _parameter(parameter: Any) -> tuple[str, str, str]:
    options = [parameter.name.upper()] if _is_argument(parameter) else parameter.opts
    if parameter.default is True:  # a flag that is on until its negation is named
        options = [*options, *parameter.secondary_opts]
    default = parameter.default
    text = "" if default is None or isinstance(default, bool) else f"`{default}`"
    notes = [parameter.help or ""]
    if parameter.min is not None and parameter.max is not None:
        notes.append(f"From {parameter.min} to {parameter.max}.")
    elif parameter.min is not None:
        notes.append(f"At least {parameter.min}.")
    if parameter.envvar:
        notes.append(f"The variable `{parameter.envvar}` sets it, too.")
    return (
        ", ".join(f"`{option}`" for option in options),
        "required" if parameter.required else text,
        cell(" ".join(filter(None, notes))),
    )


def configuration() -> str:
    """Return the page of all keys with their bounds, and of the packaged files."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    text = CONFIGURATION + "\n## Keys\n\n"
    text += fields(schema)
    for name, section in definitions.items():
        text += definition(name, section)
    text += f"\n## Tuned options\n\n{TUNED}"
    text += table("--model, key, range", _tuned())
    text += "\n## Packaged files\n"
    for name, content in _packaged():
        text += f"\n### {name}.toml\n\n```toml\n{content.strip()}\n```\n"
    return text


def _tuned() -> Iterator[tuple[str, str, str]]:
    for model in MODELS:
        for key, values in search_space(load_config(model), frozenset()).items():
            yield f"`{model}`", f"`{key}`", _range(values)


def _range(values: BaseDistribution) -> str:
    if isinstance(values, CategoricalDistribution):
        return ", ".join(f"`{choice}`" for choice in values.choices)
    assert isinstance(values, FloatDistribution | IntDistribution)  # noqa: S101  # Optuna's others
    return f"{values.low:g} to {values.high:g}" + (", in logarithms" if values.log else "")


def _packaged() -> Iterator[tuple[str, str]]:
    files = resources.files("training.configs").iterdir()
    for file in sorted(files, key=lambda file: file.name):
        if file.name.endswith(".toml"):
            yield file.name.removesuffix(".toml"), file.read_text()


def manifest() -> str:
    """Return the page of ``manifest.json``."""
    schema = Manifest.model_json_schema()
    text = MANIFEST + fields(schema)
    return text + "".join(definition(*entry) for entry in schema["$defs"].items())


def api() -> str:
    """Return the page of all routes, their bodies and answers."""
    document = create_app(Settings(access="keys")).openapi()
    shared = Manifest.model_json_schema()["$defs"]

    def link(name: str) -> str:
        return f"[{name}](manifest.md#{name.lower()})" if name in shared else here(name)

    text = API.format(version=document["info"]["version"])
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            text += f"\n## {method.upper()} {path}\n\n"
            summary = route["summary"]
            end = "" if summary.endswith("?") else "."
            text += f"*{summary}{end}* {cell(route['description'])}\n"
            text += _parameters(route, link)
            if body := route.get("requestBody"):
                text += "\n" + _body(_schema(body), link)
            rows = [
                (status, _type(answer, link), cell(answer["description"]))
                for status, answer in route["responses"].items()
            ]
            text += "\n" + table("status, body, description", rows)
    text += "\n## Objects\n"
    for name, schema in document["components"]["schemas"].items():
        if name not in shared:
            text += definition(name, schema, link)
    return text


def _body(schema: Schema, link: Link) -> str:
    return f"Body: {type_of(schema, link)}.\n" if "$ref" in schema else fields(schema, link)


def _parameters(route: Schema, link: Link) -> str:
    """Return the table of what stands in a route's path and headers."""
    rows = [
        (
            f"`{parameter['name']}`",
            parameter["in"],
            type_of(parameter["schema"], link),
            cell(parameter["description"]),
        )
        for parameter in route.get("parameters", ())
    ]
    return "\n" + table("parameter, in, type, description", rows) if rows else ""


def _schema(content: Schema) -> Schema:
    media = content["content"].get("application/json") or next(iter(content["content"].values()))
    schema: Schema = media.get("schema", {})
    return schema


def _type(answer: Schema, link: Link) -> str:
    schema = _schema(answer) if "content" in answer else {}
    return type_of(schema, link) if schema else "text"


PAGES = {
    "settings": settings,
    "metrics": metrics,
    "cli": cli,
    "configuration": configuration,
    "manifest": manifest,
    "api": api,
}


def main() -> int:
    """Write the pages, or with ``--check`` name those that differ; returns the exit code."""
    check = "--check" in sys.argv[1:]
    OUT.mkdir(exist_ok=True)
    stale = []
    for name, page in PAGES.items():
        path, text = OUT / f"{name}.md", page()
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(f"docs/reference/{name}.md")
    if stale:
        sys.stderr.write(f"{', '.join(stale)}: not what the code says; run make reference\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
