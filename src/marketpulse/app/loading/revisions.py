"""How often the lake's rows were revised, for a state that goes on behind them: what it emits later must have higher revisions."""

from typing import Any

import numpy as np
import pyarrow.compute as pc

from marketpulse.engine.alerting import RETOLD
from marketpulse.engine.config import EngineConfig
from marketpulse.engine.late_bars import bar_symbols
from marketpulse.engine.records import matches
from marketpulse.engine.state import REVISED, PartitionState
from marketpulse.query.stored_rows import StoredRows


def learn_revisions(state: PartitionState, config: EngineConfig, stored: StoredRows) -> None:
    """Of the bars, indicator rows and events of alerts that the state may emit again."""
    frames = {frame.name: number for number, frame in enumerate(config.frames)}
    places: dict[tuple[int, int, int], list[int]] = {}
    for column, table in enumerate(("bars", "indicators")):
        for row in _revised(state, stored, table):
            if row["timeframe"] in frames:
                key = state.symbols.find(row["symbol"]), frames[row["timeframe"]], row["open_time_ns"]
                times = places.setdefault(key, [0, 0])
                times[column] = max(times[column], row["revision"])
    rows = np.array([(*key, *times) for key, times in sorted(places.items())], REVISED)
    if len(rows):
        bars, values, revisions = state.told.rows(len(config.columns()))
        mine, theirs = matches(len(config.frames), bars, rows)
        bars["revision"][mine], revisions[mine] = rows["bar"][theirs], rows["row"][theirs]
        state.told.replace(bars, values, revisions)
    rules = dict(zip((rule.name for rule in state.alerts.rules.rules), state.alerts.rules.numbers, strict=True))
    events: dict[tuple[int, int, int, int], int] = {}
    for row in _revised(state, stored, "alerts"):
        if row["rule"] in rules:
            place = (state.symbols.find(row["symbol"]), rules[row["rule"]], row["event_time_ns"], row["open_time_ns"])
            events[place] = max(events.get(place, 0), row["revision"])
    retold = np.array([(*place, times) for place, times in sorted(events.items())], RETOLD)
    of_bars = bar_symbols(state, np.arange(len(state.symbols)))
    state.revised.rows, state.revised.events = (known[np.isin(known["symbol"], of_bars)] for known in (rows, retold))
    state.alerts.retold = retold[~np.isin(retold["symbol"], of_bars)]


def _revised(state: PartitionState, stored: StoredRows, table: str) -> list[dict[str, Any]]:
    """Rows of the state's symbols that have come more than once."""
    symbols = state.symbols.texts()
    chosen = (pc.field("revision") > 0) & pc.field("symbol").isin(symbols)
    return [
        row
        for rows in stored.scan(table, chosen, lambda file: file.revised)
        for row in rows.drop_columns(["receipt"]).to_pylist()
    ]
