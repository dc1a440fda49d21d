import msgspec
import pytest

from service.contract import feedback, keys

DECISION = feedback.Decision(
    request_id="r1",
    time_ms=1_790_000_000_000,
    user_id="u1",
    model="cp2rec@3",
    tradeoff=0.5,
    pool="candidates",
    pool_size=7,
    item_ids=["a", "b"],
    scores=[0.25, 0.125],
    propensities=[1.0, 0.5],
)


def test_a_decision_survives_the_stream_without_its_defaults() -> None:
    record = feedback.encode(DECISION)
    assert feedback.decode_decision(record) == DECISION
    assert b"arm" not in record


@pytest.mark.parametrize("change", [{"kind": "Click!"}, {"item_id": ""}, {"value": 1e10}])
def test_an_event_out_of_bounds_is_refused(change: dict[str, object]) -> None:
    event = {"request_id": "r1", "item_id": "a", "kind": "click", "time_ms": 5}
    assert feedback.decode_event(msgspec.json.encode(event)).value == 1.0
    with pytest.raises(msgspec.DecodeError):
        feedback.decode_event(msgspec.json.encode(event | change))


def test_shards_take_equal_parts_of_the_requests() -> None:
    counts = [0] * 4
    for n in range(4000):
        counts[feedback.shard_of(f"request-{n}", 4)] += 1
    assert min(counts) > 900


def test_a_history_is_no_record_of_a_space() -> None:
    for user_id in ("u7", "u:7", "x:u:7"):
        assert keys.split_key("rank", feedback.history_key("rank", user_id).encode()) is None
