"""Ours, with the rows counted as the others' are: the same worker, which commits its offsets, but writes no row."""

import numpy as np
from arithmetic import VALUES
from counting_sink import CountingSink, given
from marketpulse_worker import settings_of

from marketpulse.app.engine_config import engine_config
from marketpulse.app.partition import OwnedPartition
from marketpulse.app.worker import Worker
from marketpulse.clock import SystemClock
from marketpulse.engine.step import StepResult


def main() -> None:
    asked = given()
    settings = settings_of(asked, "ours-counting")
    config = engine_config(settings.engine)
    sink = CountingSink(asked)
    order = [config.columns().index(name) for name in VALUES]

    class CountingWorker(Worker):
        def _write_rows(self, owned: OwnedPartition, result: StepResult) -> None:
            symbols, names = result.indicated["symbol"], owned.state.symbols.texts()
            last = {}
            for number in np.unique(symbols).tolist():
                if names[number] in asked.compared:
                    rows = np.flatnonzero(symbols == number)
                    last[names[number]] = (len(rows), result.values[rows[-1], order].tolist())
            sink.take_batch(len(symbols), last)

    worker = CountingWorker(settings, config, 0, SystemClock())
    worker.start()
    while True:
        worker.turn()


if __name__ == "__main__":
    main()
