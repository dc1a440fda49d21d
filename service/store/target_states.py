"""What replicas share of targets: the tradeoff in force, and what was shown at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.settings import Settings
from service.store.records import RedisStore

_TTL_S = 86_400

# A state that the store has lost begins again where this replica is.
_ADD = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'tradeoff', ARGV[2])
end
local function add()
  redis.call('HINCRBY', KEYS[1], 'rankings', ARGV[3])
  redis.call('HINCRBYFLOAT', KEYS[1], 'excess', ARGV[4])
  redis.call('EXPIRE', KEYS[1], {_TTL_S})
  return redis.call('HMGET', KEYS[1], 'epoch', 'tradeoff', 'rankings', 'excess')
end
local valid, state = pcall(add)
return valid and state or {{}}
"""
_MOVE = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1] + 1, 'tradeoff', ARGV[2], 'rankings', 0, 'excess', 0)
return 1
"""


@dataclass(frozen=True)
class TargetState:
    """The ``tradeoff`` of an epoch, and the rankings of all replicas since it began.

    ``excess`` is the sum over them of the measure that they show, less that of the front.
    """

    epoch: int
    tradeoff: float
    rankings: int = 0
    excess: float = 0.0


class TargetStates:
    """Adds to and moves the states of targets, named ``model:measure:value``. Raises StoreError."""

    def __init__(self, store: RedisStore, settings: Settings) -> None:
        self._store = store
        self._prefix = f"{settings.namespace}:_target:"

    async def add(self, counts: Sequence[tuple[str, TargetState]]) -> list[TargetState | None]:
        """Add each named state's counts to the shared one, and return that.

        None: it is corrupt, and is deleted.
        """
        commands = [
            ("EVAL", _ADD, 1, self._prefix + name, s.epoch, repr(s.tradeoff), s.rankings,
             repr(s.excess))
            for name, s in counts
        ]  # fmt: skip
        states = [_state(answer) for answer in await self._store.run("targets", commands)]
        named = zip(counts, states, strict=True)
        corrupt = [("DEL", self._prefix + name) for (name, _), state in named if state is None]
        if corrupt:
            await self._store.run("targets", corrupt)
        return states

    async def move(self, name: str, epoch: int, tradeoff: float) -> bool:
        """Begin the epoch after ``epoch`` at a tradeoff; False if another replica has done so."""
        command = ("EVAL", _MOVE, 1, self._prefix + name, epoch, repr(tradeoff))
        (moved,) = await self._store.run("targets", [command])
        return bool(moved)


def _state(answer: Sequence[bytes | None]) -> TargetState | None:
    try:
        epoch, tradeoff, rankings, excess = (float(value or "") for value in answer)
    except ValueError:
        return None
    if not (0 <= tradeoff <= 1 and rankings >= 0 and math.isfinite(excess)):
        return None
    return TargetState(int(epoch), tradeoff, int(rankings), excess)
