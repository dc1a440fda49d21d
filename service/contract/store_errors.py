"""Messages for errors of the store that a user can mend, the same on both sides.

The errors are redis-py's. They are looked up by the names of their classes, because the contract
does not import redis-py.
"""

from __future__ import annotations

_CLUSTER = "it is a node of a cluster: write redis+cluster://HOST:PORT,HOST:PORT"
_CREDENTIALS = (
    "it refused the user name or password, or asks for one: set them in the URL, before the host; "
    "percent-encode reserved characters"
)
_MENDS = {
    "AuthenticationError": _CREDENTIALS,
    "AuthenticationWrongNumberOfArgsError": _CREDENTIALS,
    "NoPermissionError": "the user of the URL may not run this command or touch these keys: "
    "extend its ACL, or name another user",
    "MovedError": _CLUSTER,
    "ClusterCrossSlotError": _CLUSTER,
    "AskError": _CLUSTER,
    "MasterDownError": "it is a replica whose primary is down: name the primary, or its sentinels",
    "ClusterDownError": "the cluster is down, some of its slots have no node: repair it",
    "ReadOnlyError": "it is a replica: name the primary, or its sentinels",
    "MasterNotFoundError": "the sentinels know no primary of this name, or none that is up",
    "BusyLoadingError": "it is still loading its data: try again",
    "OutOfMemoryError": "it is full (maxmemory) and refuses writes: give it more memory, or free "
    "some with `python -m training prune`",
}
_NO_CLUSTER = "Cluster mode is not enabled"  # redis-py has no class for it


def mend(error: BaseException) -> str | None:
    """Return what an error of redis-py means and what mends it, None for any other error."""
    if _NO_CLUSTER in str(error):
        return "it is no cluster: write redis://HOST:PORT/DB"
    for kind in type(error).__mro__:
        if kind.__name__ in _MENDS:
            return _MENDS[kind.__name__]
    return mend(error.__cause__) if error.__cause__ else None  # a cluster's client wraps errors
