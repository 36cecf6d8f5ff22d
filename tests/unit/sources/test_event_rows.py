import json

from marketpulse.model.market import EVENT
from marketpulse.sources.event_rows import event_rows


def test_the_whole_record_stands_in_the_body() -> None:
    bodies = [{"type": "split", "symbol": s, "source": "a", "event_time_ns": 7, "ratio": 2.0} for s in "AB"]
    rows = event_rows(bodies)
    assert rows.schema == EVENT
    assert [json.loads(body) for body in rows["body"].to_pylist()] == bodies
    assert rows["symbol"].to_pylist() == ["A", "B"]
