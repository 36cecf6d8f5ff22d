"""Pathway: a table grouped by symbol, a stateful reducer that returns the result rows of each of its commits."""

import pathway as pw
from arithmetic import advance, fresh
from counting_sink import CountingSink, given

ASKED = given()
SINK = CountingSink(ASKED)


class Event(pw.Schema):
    type: str
    symbol: str | None
    event_time_ns: int | None
    price: float | None
    size: float | None


@pw.reducers.stateful_many
def indicators(state: pw.PyObjectWrapper | None, rows: list) -> pw.PyObjectWrapper:
    """The symbol's state, and a row for each of its trades of this commit, in the order of their times."""
    kept = fresh() if state is None else state.value[0]
    trades = sorted(row for row, _ in rows)
    return pw.PyObjectWrapper((kept, [advance(kept, price, size) for _, price, size in trades]))


def on_change(key, row, time, is_addition) -> None:  # noqa: ARG001
    if is_addition:
        for values in row["rows"].value[1]:
            SINK.take(row["symbol"], values)


def main() -> None:
    events = pw.io.kafka.read(
        {"bootstrap.servers": ASKED.bootstrap, "group.id": "pathway", "auto.offset.reset": "earliest"},
        ASKED.topic, schema=Event, format="json",
    )  # fmt: skip
    trades = events.filter(pw.this.type == "trade")
    rows = trades.groupby(pw.this.symbol).reduce(
        pw.this.symbol, rows=indicators(pw.this.event_time_ns, pw.this.price, pw.this.size)
    )
    pw.io.subscribe(rows, on_change)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main()
