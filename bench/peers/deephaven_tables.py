"""Deephaven: `update_by` over a Kafka table; the whole engine runs in this process's JVM.

It reads on while its tables are made, so it is timed from before that, all rows.

Its averages begin with the first trade, ours with a mean: after some hundred trades nothing of that is left.
"""

import math
import os
import time

import numpy as np
from counting_sink import CountingSink, given
from deephaven_server import Server

ASKED = given()
NAMES = (
    "Sma", "Ema12", "Ema26", "Rsi", "Macd", "Signal", "Hist", "Upper", "Middle", "Lower", "Roc", "Vwap",
)  # fmt: skip


def ticks(weight: float) -> float:
    """The decay that gives a new value this weight."""
    return -1 / math.log(1 - weight)


def indicators():
    # Its modules can be imported only once the JVM runs.
    from deephaven import dtypes
    from deephaven import updateby as by
    from deephaven.stream.kafka.consumer import (
        ALL_PARTITIONS_SEEK_TO_BEGINNING,
        KeyValueSpec,
        TableType,
        consume,
        json_spec,
    )

    columns = {"type": dtypes.string, "symbol": dtypes.string, "price": dtypes.double, "size": dtypes.double}
    market = consume(
        {"bootstrap.servers": ASKED.bootstrap}, ASKED.topic, offsets=ALL_PARTITIONS_SEEK_TO_BEGINNING,
        key_spec=KeyValueSpec.IGNORE, value_spec=json_spec(columns), table_type=TableType.append(),
    )  # fmt: skip
    trades = market.where("type == `trade`").update("notional = price * size")
    first = trades.update_by(
        [
            by.rolling_avg_tick("Sma = price", 20), by.rolling_std_tick("Deviation = price", 20),
            by.ema_tick(ticks(2 / 13), "Ema12 = price"), by.ema_tick(ticks(2 / 27), "Ema26 = price"),
            by.delta("change = price"), by.rolling_group_tick("past = price", 11),
            by.cum_sum(["notionals = notional", "volumes = size"]),
        ],
        by="symbol",
    ).update([
        "Macd = Ema12 - Ema26", "rise = isNull(change) ? 0.0 : max(change, 0.0)", "fall = isNull(change) ? 0.0 : max(-change, 0.0)",
        "band = 2 * Deviation * sqrt(19.0 / 20.0)", "Upper = Sma + band", "Middle = Sma", "Lower = Sma - band",
        "Roc = 100 * (price - past[0]) / past[0]", "Vwap = notionals / volumes",
    ])  # fmt: skip
    return first.update_by(
        [by.ema_tick(ticks(0.2), "Signal = Macd"), by.ema_tick(ticks(1 / 14), ["gain = rise", "loss = fall"])],
        by="symbol",
    ).update(["Hist = Macd - Signal", "Rsi = 100 * gain / (gain + loss)"])


def main() -> None:
    os.chdir(ASKED.work)
    Server(port=0, jvm_args=["-Xmx2g", "-DAuthHandlers=io.deephaven.auth.AnonymousAuthenticationHandler"]).start()
    from deephaven.table_listener import listen

    sink = CountingSink(ASKED)

    def rows(update, is_replay) -> None:  # noqa: ARG001
        added = update.added(["symbol", *NAMES])
        if not added:
            return
        symbols, last = np.asarray(added["symbol"]), {}
        for symbol in ASKED.compared:
            (places,) = np.nonzero(symbols == symbol)
            if len(places):
                last[symbol] = len(places), [float(added[name][places[-1]]) for name in NAMES]
        sink.take_batch(len(symbols), last)

    sink.start()
    handle = listen(indicators(), rows, do_replay=True)
    while handle:
        time.sleep(1)


if __name__ == "__main__":
    main()
