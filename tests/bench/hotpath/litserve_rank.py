"""Variant ``litserve``: the idiomatic handler as a LitServe API, one worker."""

from typing import Any

import litserve

from tests.bench.hotpath.idiomatic import Idiomatic, RankRequest, RankResponse
from tests.bench.hotpath.protocol import HOST, Task


class Rank(litserve.LitAPI):  # type: ignore[misc]  # untyped
    """Decodes the body, ranks, and encodes the ranking."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # always the CPU
        """Load the model in the worker."""
        self._idiomatic = Idiomatic(Task.read())

    async def decode_request(self, request: dict[str, Any]) -> RankRequest:
        """Return the request of a body."""
        return RankRequest.model_validate(request)

    async def predict(self, request: RankRequest) -> RankResponse:
        """Return the ranking."""
        return await self._idiomatic.rank(request)

    async def encode_response(self, ranking: RankResponse) -> dict[str, Any]:
        """Return the body of a ranking."""
        return ranking.model_dump()


if __name__ == "__main__":
    server = litserve.LitServer(
        Rank(api_path="/rank", enable_async=True), accelerator="cpu", workers_per_device=1
    )
    server.run(host=HOST, port=Task.read().port, log_level="warning", generate_client_file=False)
