"""Variant ``mlserver``: the idiomatic handler as a custom handler of an MLServer runtime."""

import json
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.cli import main
from mlserver.handlers import custom_handler

from tests.bench.hotpath.idiomatic import Idiomatic, RankRequest, RankResponse
from tests.bench.hotpath.protocol import HOST, Task


class Rank(MLModel):  # type: ignore[misc]  # untyped
    """The implementation that ``model-settings.json`` names."""

    async def load(self) -> bool:
        """Load the model in the worker."""
        self._idiomatic = Idiomatic(Task.read())
        return True

    @custom_handler(rest_path="/rank")  # type: ignore[untyped-decorator]  # untyped
    async def rank(self, request: RankRequest) -> RankResponse:
        """Return the ranking."""
        return await self._idiomatic.rank(request)


def _configure(task: Task) -> Path:
    """Write MLServer's two settings files and return their folder."""
    folder = Path(task.scratch)
    grpc_port, metrics_port = task.more_ports
    settings = {
        "host": HOST,
        "http_port": task.port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "metrics_dir": str(folder / "metrics"),
        "debug": False,
        "parallel_workers": 1,
    }
    model = {"name": "rank", "implementation": "tests.bench.hotpath.mlserver_rank.Rank"}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    return folder


if __name__ == "__main__":
    sys.argv = ["mlserver", "start", str(_configure(Task.read()))]
    main()
