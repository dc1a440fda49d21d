"""Variant ``bentoml``: the idiomatic handler as a BentoML service, one worker."""

import bentoml

from tests.bench.hotpath.idiomatic import Idiomatic, RankRequest, RankResponse
from tests.bench.hotpath.protocol import TOP_K, Task


@bentoml.service(workers=1)
class Rank:
    """Loaded by name with ``bentoml serve``."""

    def __init__(self) -> None:
        self._idiomatic = Idiomatic(Task.read())

    @bentoml.api(route="/rank")  # type: ignore[untyped-decorator]  # untyped
    async def rank(
        self, user_id: str, candidates: list[str], tradeoff: float = 0.5, top_k: int = TOP_K
    ) -> RankResponse:
        """Return the ranking."""
        return await self._idiomatic.rank(
            RankRequest(user_id=user_id, candidates=candidates, tradeoff=tradeoff, top_k=top_k)
        )
