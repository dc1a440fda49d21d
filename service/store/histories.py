"""Writes of stored histories: what users engaged with, for the rankings until the next training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from service.contract.feedback import history_key
from service.contract.histories import MAX_HISTORY
from service.settings import Settings
from service.store.records import RedisStore

# Redis runs it alone, so that no engagement is lost to another replica's. What is no history is
# replaced. An engagement that is there already changes nothing.
_ADD = """
local stored = redis.call('GET', KEYS[1])
local valid, history = pcall(cmsgpack.unpack, stored or '')
if not (stored and valid and type(history) == 'table') then history = {} end
for n = 3, #ARGV, 2 do
  local item, time = ARGV[n], tonumber(ARGV[n + 1])
  for place, entry in ipairs(history) do
    if entry[1] == item then
      time = math.max(time, entry[2])
      table.remove(history, place)
      break
    end
  end
  local place = #history
  while place > 0 and history[place][2] > time do place = place - 1 end
  table.insert(history, place + 1, {item, time})
  if #history > tonumber(ARGV[1]) then table.remove(history, 1) end
end
redis.call('SET', KEYS[1], cmsgpack.pack(history), 'EX', ARGV[2])
"""


class Histories:
    """Adds to stored histories, which ``RedisStore.user`` reads."""

    def __init__(self, store: RedisStore, settings: Settings) -> None:
        self._store = store
        self._namespace = settings.namespace
        self._ttl_s = settings.history_ttl_s

    async def add(self, engaged: Sequence[tuple[str, str, int]]) -> None:
        """Add engagements (user_id, item_id, time_ms) in one round trip.

        Adding one again is harmless. Raises StoreError; some of them may then be added.
        """
        by_user = defaultdict[str, list[str | int]](list)
        for user_id, item_id, time_ms in engaged:
            by_user[user_id] += (item_id, time_ms)
        limits = (MAX_HISTORY, self._ttl_s)
        commands = [
            ("EVAL", _ADD, 1, history_key(self._namespace, user_id), *limits, *entries)
            for user_id, entries in by_user.items()
        ]
        if commands:
            await self._store.run("histories", commands, changed_users=list(by_user))
