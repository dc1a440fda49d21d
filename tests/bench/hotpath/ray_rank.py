"""Variant ``ray``: the idiomatic handler as a Ray Serve deployment behind FastAPI, one replica."""

import ray
from fastapi import FastAPI
from ray import serve

from tests.bench.hotpath.idiomatic import Idiomatic, RankRequest, RankResponse
from tests.bench.hotpath.protocol import HOST, Task

app = FastAPI()


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
@serve.ingress(app)
class Rank:
    """A deployment, bound to its task below."""

    def __init__(self, task: Task) -> None:
        self._idiomatic = Idiomatic(task)

    @app.post("/rank", response_model=RankResponse)
    async def rank(self, request: RankRequest) -> RankResponse:
        """Return the ranking."""
        return await self._idiomatic.rank(request)


if __name__ == "__main__":
    task = Task.read()
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        _node_ip_address=HOST,
        _temp_dir=task.scratch,
    )
    serve.start(http_options={"host": HOST, "port": task.port, "access_log": False})
    serve.run(Rank.bind(task), blocking=True)  # type: ignore[attr-defined]  # a deployment
