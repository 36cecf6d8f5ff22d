"""csp: a graph with one node that holds a closure per symbol; the Kafka adapter is C++."""

from datetime import UTC, datetime, timedelta

import csp
from arithmetic import new_indicators
from counting_sink import CountingSink, given
from csp import ts
from csp.adapters.kafka import JSONTextMessageMapper, KafkaAdapterManager, KafkaStartOffset

ASKED = given()
SINK = CountingSink(ASKED)


class Event(csp.Struct):
    type: str
    symbol: str
    price: float
    size: float


@csp.node
def counted(event: ts[Event]):
    with csp.state():
        s_symbols = {}
    if csp.ticked(event) and event.type == "trade":
        update = s_symbols.get(event.symbol)
        if update is None:
            update = s_symbols[event.symbol] = new_indicators()
        SINK.take(event.symbol, update(event.price, event.size))


@csp.graph
def graph():
    kafka = KafkaAdapterManager(ASKED.bootstrap, start_offset=KafkaStartOffset.EARLIEST)
    fields = {name: name for name in ("type", "symbol", "price", "size")}
    mapper = JSONTextMessageMapper()
    counted(kafka.subscribe(Event, mapper, ASKED.topic, field_map=fields, push_mode=csp.PushMode.NON_COLLAPSING))


if __name__ == "__main__":
    now = datetime.now(UTC).replace(tzinfo=None)
    csp.run(graph, starttime=now, endtime=timedelta(hours=1), realtime=True)
