"""The wire format of a ranking: the request and the response, with their documentation."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from service.contract.histories import MAX_HISTORY
from service.contract.keys import MAX_ID_CHARS
from service.contract.targets import MEASURES, Measure
from service.ranking.items import ItemColumns, RankedItem

MAX_CANDIDATES = 5000
MAX_TOP_K = 1000

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]

REQUEST_EXAMPLE: dict[str, Any] = {
    "user_id": "u0007",
    "candidates": ["i0001", "i0002", "i0003"],
    "tradeoff": 0.5,
    "top_k": 2,
}


class Degraded(StrEnum):
    """The reasons for which a ranking is degraded."""

    UNKNOWN_USER = "unknown_user"
    STORE_UNAVAILABLE = "store_unavailable"
    DEADLINE = "deadline"
    CORRUPT_RECORD = "corrupt_record"
    OVERLOADED = "overloaded"
    PARTIAL_CATALOG = "partial_catalog"
    LOST_ITEMS = "lost_items"


class Target(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What rankings should have on average; exactly one of the measures."""

    tail_share: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | UnsetType,
        Meta(description="Share of the first 10 places with an item of the long tail."),
    ] = UNSET
    popularity_percentile: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | UnsetType,
        Meta(description="Mean popularity percentile of the first 10 items."),
    ] = UNSET
    logged_auc_cost: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | UnsetType,
        Meta(description="What the tradeoff costs of the AUC on logged traffic."),
    ] = UNSET

    def __post_init__(self) -> None:
        if sum(getattr(self, name) is not UNSET for name in MEASURES) != 1:
            raise ValueError(f"Object should have exactly one of {', '.join(MEASURES)}")

    @property
    def measure(self) -> Measure:
        """The measure that is named."""
        return next(name for name in MEASURES if getattr(self, name) is not UNSET)

    @property
    def value(self) -> float:
        """Its value."""
        value: float = getattr(self, self.measure)
        return value


class RankRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The user, the items to rank and the tradeoff, with options of the answer."""

    user_id: Annotated[Id, Meta(description="The user to rank for. An unknown user is no error.")]
    history: Annotated[
        list[Id],
        Meta(
            max_length=MAX_HISTORY,
            description="Items that the user engaged with; used if the user has no record, with "
            "those that the store has.",
        ),
    ] = []
    profiling: Annotated[
        bool,
        Meta(
            description="false: rank for the average user. Nothing that the store has of the user "
            "is read, and `user_id` and `history` are not used, logged or kept."
        ),
    ] = True
    candidates: Annotated[
        Annotated[list[Id], Meta(min_length=1, max_length=MAX_CANDIDATES)] | None,
        Meta(description="Items to rank. Omitted: the whole catalogue. Repeats count once."),
    ] = None
    tradeoff: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(
            description="0 = debiased: what the user would like under uniform exposure. "
            "1 = logged: what gets clicked under the logged exposure. Omitted: the model's default."
        ),
    ] = None
    target: Annotated[
        Target | None,
        Meta(
            description="In place of `tradeoff`, one of `tail_share`, the share of the first 10 "
            "places with an item of the long tail; `popularity_percentile`, the mean of the first "
            "10 items, 0 to 100; `logged_auc_cost`, what the tradeoff costs of the AUC on logged "
            "traffic. The tradeoff is that at which rankings have it on average."
        ),
    ] = None
    top_k: Annotated[int, Meta(ge=1, le=MAX_TOP_K, description="Most items to return.")] = 50
    model: Annotated[
        Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None,
        Meta(description="`name`, `name@version` or `name@alias`. Omitted: the service's default."),
    ] = None
    exclude: Annotated[
        list[Id], Meta(max_length=MAX_CANDIDATES, description="Items to leave out.")
    ] = []
    explain: Annotated[
        bool, Meta(description="Add each item's score and rank at tradeoff 0 and 1.")
    ] = False
    format: Annotated[
        Literal["rows", "columns"],
        Meta(description="The layout of `items`: a list of objects, or an object of lists."),
    ] = "rows"
    titles: Annotated[
        bool,
        Meta(description="Add each item's title, and the addresses of its picture and its page."),
    ] = False
    explore: Annotated[
        bool,
        Meta(description="false: the ranking is not explored, whatever the service's settings."),
    ] = True
    request_id: Annotated[
        Id | None, Meta(description="Returned with the ranking. Omitted: the service makes one.")
    ] = None
    deadline_ms: Annotated[
        Annotated[float, Meta(gt=0, le=60_000)] | None,
        Meta(
            description="Milliseconds after the request's first byte until which the ranking may "
            "wait for the store. Then it goes on from memory."
        ),
    ] = None

    def __post_init__(self) -> None:
        if not self.profiling:  # nobody can use by mistake what is not there
            msgspec.structs.force_setattr(self, "user_id", "")
            msgspec.structs.force_setattr(self, "history", [])
        if self.target is not None and self.tradeoff is not None:
            raise ValueError("The tradeoff is named already: leave out field `target`")


class Timing(TypedDict):
    """Milliseconds of each stage."""

    user: Annotated[float, Meta(description="Reading or encoding the user.", examples=[0.2])]
    catalog: Annotated[float, Meta(description="Looking up the item states.", examples=[0.1])]
    score: Annotated[float, Meta(description="Running the ranker.", examples=[0.1])]
    select: Annotated[
        float,
        Meta(description="Ordering the items, exploring, and building the answer.", examples=[0.1]),
    ]
    total: Annotated[float, Meta(description="The sum of all stages.", examples=[0.5])]


class Explored(Struct, omit_defaults=True):
    """What was drawn at random in a ranking."""

    policy: Annotated[
        Literal["uniform_slot", "randomised_tradeoff", "both"],
        Meta(
            description="uniform_slot: one item was drawn uniformly from the pool. "
            "randomised_tradeoff: `tradeoff` was drawn.",
            examples=["uniform_slot"],
        ),
    ]
    rank: Annotated[
        int | None,
        Meta(description="The rank of the item of the uniform slot.", examples=[4]),
    ] = None


class RankResponse(Struct, kw_only=True, omit_defaults=True):
    """A ranking. Ties are ordered by item id: the same inputs give the same answer."""

    request_id: Annotated[
        str, Meta(description="The request's id, or a new one.", examples=["b7e2"])
    ]
    model: Annotated[
        str, Meta(description="The model that ranked, `name@version`.", examples=["cp2rec@1"])
    ]
    tradeoff: Annotated[float, Meta(description="The tradeoff that was applied.", examples=[0.5])]
    tradeoff_from: Annotated[
        Literal["target", "user", "arm"] | None,
        Meta(
            description="What named the tradeoff, if neither the request nor the model's default: "
            "the request's target, the user's own setting or the arm."
        ),
    ] = None
    target_missed: Annotated[
        bool,
        Meta(description="true: no tradeoff reaches the target. The nearest end was applied."),
    ] = False
    arm: Annotated[str | None, Meta(description="The user's arm, only during an experiment.")] = (
        None
    )
    items: Annotated[
        list[RankedItem] | ItemColumns,
        Meta(description="At most `top_k` items, best first, in the request's `format`."),
    ]
    degraded: Annotated[
        list[Degraded],
        Meta(
            description="Empty unless the ranking is degraded. unknown_user: no "
            "record and no usable history, ranked for an average user. store_unavailable: Redis "
            "did not answer, ranked from memory, or titles are missing. "
            "deadline: `deadline_ms` ran out before Redis answered. corrupt_record: the user's "
            "record or stored history was refused. overloaded: too many "
            "reads wait for Redis, or the request names too many items that are not in memory, "
            "ranked without the records that were not read. partial_catalog: the catalogue does "
            "not fit in memory, ranked the items that do. lost_items: Redis has lost records of "
            "these items, ranked with the states in memory.",
            examples=[[]],
        ),
    ]
    timing_ms: Annotated[Timing, Meta(description="The time of each stage.")]
    explored: Annotated[Explored | None, Meta(description="Only if the ranking was explored.")] = (
        None
    )


def request_schema() -> dict[str, Any]:
    """Return the JSON schema of ``RankRequest``, which the decoder of the wire enforces."""
    schemas: dict[str, Any] = msgspec.json.schema(RankRequest)["$defs"]
    schema, target = (schemas[kind.__name__] for kind in (RankRequest, Target))
    target |= {"minProperties": 1, "maxProperties": 1}
    options = schema["properties"]["target"]["anyOf"]
    schema["properties"]["target"]["anyOf"] = [target if "$ref" in o else o for o in options]
    left_out = {"type": "null", "description": "Left out, because the other one is named."}
    not_both = [{"properties": {name: left_out}} for name in ("tradeoff", "target")]
    return {**schema, "anyOf": not_both, "examples": [REQUEST_EXAMPLE]}


def response_schemas(ref_template: str) -> dict[str, Any]:
    """Return the JSON schemas of ``RankResponse`` and its parts, by name.

    ``ref_template`` is the reference of a schema, with ``{name}`` in place of its name.
    """
    _, schemas = msgspec.json.schema_components([RankResponse], ref_template=ref_template)
    return schemas
