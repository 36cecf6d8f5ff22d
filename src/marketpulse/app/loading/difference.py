"""What a load computes held against what the lake has: what is there stays, what differs gets the next revision.

So it does not matter in how many loads the rows came, nor what a run that died had stored: only what is not there is stored.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from marketpulse.app.loading.engine import Rows
from marketpulse.catalog.visible import StoredFile
from marketpulse.model.tables import LOADED_TOPIC
from marketpulse.model.timeframe import is_by_count
from marketpulse.query.stored_rows import StoredRows

Table = Literal["bars", "indicators", "alerts"]
RESULTS: tuple[Table, ...] = ("bars", "indicators", "alerts")
_SERIES = ("symbol", "timeframe")
_KEYS = {
    "bars": (*_SERIES, "open_time_ns"),
    "indicators": (*_SERIES, "open_time_ns"),
    "alerts": (*_SERIES, "rule", "event_time_ns"),
}
_NO_VALUES = ("revision", "receipt", "late", "was", "message", "severity")
_FOR_EVER = 2**62
_Spans = pl.DataFrame  # by symbol and timeframe, between which open times (`since`, `until`) rows are computed again


class StoredResults:
    """The bars, indicator rows and alerts that the lake had when the load began. `topic` is the load's own."""

    def __init__(self, stored: StoredRows, topic: str) -> None:
        self._stored, self._topic = stored, topic
        self._files: Mapping[str, Sequence[StoredFile]] = stored.files()
        self._reached: dict[tuple[str, str], int] = {}  # by series, up to which open time its bars have come

    def what_differs(self, rows: Rows) -> Rows:
        """Those of computed rows that are to be stored, with their revisions, and withdrawals of what is no more."""
        if not any(self._files[table] for table in RESULTS) or "bars" not in rows:
            return rows
        spans = self._spans(rows["bars"])
        return {
            **rows,
            **{table: self._compare(table, rows.get(table), spans) for table in RESULTS if self._files[table]},
        }

    def what_is_left(self) -> Rows:
        """Withdrawals of bars cut by count that lie behind the last that were computed."""
        series = [(*key, at + 1, _FOR_EVER) for key, at in self._reached.items() if is_by_count(key[1])]
        if not series:
            return {}
        spans = pl.DataFrame(series, [*_SERIES, "since", "until"], orient="row")
        return {table: self._compare(table, None, spans) for table in RESULTS if self._files[table]}

    def last_close_ns(self, symbols: Sequence[str], after_ns: int) -> int:
        """Up to where loads have closed bars of time of these symbols, where that is later than `after_ns`. (One that is cut by
        count closes with its last trade, ahead of the watermark.)"""
        chosen = (
            pc.field("symbol").isin(symbols) & (pc.field("close_time_ns") > after_ns) & pc.is_valid(pc.field("close"))
        )
        last = after_ns
        for file in self._files["bars"]:
            if file.may_hold("close_time_ns", after_ns + 1, _FOR_EVER) and any(
                file.may_hold("symbol", s, s) for s in symbols
            ):
                rows = self._stored.read(file, chosen)
                mine = rows.filter(pc.starts_with(pc.struct_field(rows["receipt"], "topic"), LOADED_TOPIC))
                timed = [frame for frame in mine["timeframe"].unique().to_pylist() if not is_by_count(frame)]
                mine = mine.filter(pc.is_in(mine["timeframe"], pa.array(timed, pa.string())))
                last = max(last, pc.max(mine["close_time_ns"]).as_py() or last)
        return last

    def _spans(self, bars: pa.RecordBatch) -> _Spans:
        """What these bars, but for revised ones, are all of: from behind those before them to the last of them."""
        firsts = pl.DataFrame(bars.select([*_KEYS["bars"], "revision"])).filter(pl.col("revision") == 0)
        spans = firsts.group_by(*_SERIES).agg(low=pl.col("open_time_ns").min(), high=pl.col("open_time_ns").max())
        rows = []
        for symbol, frame, low, high in spans.iter_rows():
            rows.append((symbol, frame, self._reached.get((symbol, frame), low - 1) + 1, high))
            self._reached[symbol, frame] = max(high, self._reached.get((symbol, frame), high))
        return pl.DataFrame(
            rows, {"symbol": pl.String, "timeframe": pl.String, "since": pl.Int64, "until": pl.Int64}, orient="row"
        )

    def _compare(self, table: Table, computed: pa.RecordBatch | None, spans: _Spans) -> pa.RecordBatch:
        there = self._there(table, computed, spans)
        schema = there.schema if computed is None else computed.schema
        if computed is None:
            computed = pa.RecordBatch.from_pylist([], schema)
        if not there.num_rows:
            return computed
        keys = list(_KEYS[table])
        mine, theirs = _counted(computed, keys), _counted(_current(there, keys), keys)
        names = [name for name in computed.schema.names if name not in (*keys, *_NO_VALUES)]
        values, more = [n for n in names if n in theirs.columns], [n for n in names if n not in theirs.columns]
        both = mine.join(theirs, on=[*keys, "nth"], how="left", suffix="_there", maintain_order="left")
        newest = theirs.group_by(keys).agg(
            newest=pl.col("revision").max(), number=pl.len(), is_live=pl.col("is_live").any()
        )
        both = both.join(newest, on=keys, how="left", maintain_order="left")
        same = pl.all_horizontal(
            pl.col("revision") == 0, pl.col("number") == pl.len().over(keys),
            *(pl.col(name).eq_missing(pl.col(f"{name}_there")) for name in values), *(pl.col(name).is_null() for name in more),
        )  # fmt: skip
        both = both.select(
            stays=~same.fill_null(False).all().over(keys) & ~pl.col("is_live").fill_null(False),
            revision=pl.col("revision") + (pl.col("newest") + 1).fill_null(0),
        )
        stays = both["stays"].to_arrow()
        again = computed.set_column(
            computed.schema.get_field_index("revision"), computed.schema.field("revision"), both["revision"].to_arrow()
        ).filter(stays)
        gone = self._withdrawn(table, there, theirs, mine, spans, keys)
        if not gone.num_rows:
            return again
        return (
            pa.concat_tables([pa.Table.from_batches([again]), gone], promote_options="default")
            .combine_chunks()
            .to_batches()[0]
        )

    def _withdrawn(
        self, table: Table, there: pa.Table, theirs: pl.DataFrame, mine: pl.DataFrame, spans: _Spans, keys: list[str]
    ) -> pa.Table:
        """The stored rows of the spans that were not computed again, withdrawn: alerts, and bars cut by count. With more rows no bar
        of time is less than it was."""
        gone = theirs.filter(pl.col("nth") == 0, ~pl.col("is_live")).join(spans, on=list(_SERIES))
        gone = gone.filter(pl.col("open_time_ns").is_between(pl.col("since"), pl.col("until")))
        gone = gone.join(mine, on=keys, how="anti").filter(_is_there(table))
        if table != "alerts":
            gone = gone.filter([is_by_count(frame) for frame in gone["timeframe"]])
        rows = there.take(gone["place"].to_arrow())
        for name in rows.column_names:
            column = self._withdrawn_column(table, name, rows)
            if column is not None:
                rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), column)
        return rows

    def _withdrawn_column(self, table: Table, name: str, rows: pa.Table) -> pa.Array | None:
        """What a withdrawn row says in this column; None: what it has said."""
        kind, n = rows.schema.field(name).type, rows.num_rows
        if name == "revision":
            return pc.add(rows[name], 1)
        if name == "receipt":
            parts = rows[name].combine_chunks()
            nothing = {"topic": pa.array([self._topic] * n, pa.string()), **{
                f"{end}_{part}": pa.nulls(n, kind.field(f"{end}_{part}").type) for end in ("first", "last") for part in ("offset", "row")
            }}  # fmt: skip
            fields = [nothing.get(field.name, parts.field(field.name)) for field in kind]
            return pa.StructArray.from_arrays(fields, fields=list(kind))
        if table == "alerts":
            said = {"state": ["withdrawn"] * n, "was": rows["state"].to_pylist(), "late": [True] * n}
            return pa.array(said[name], kind) if name in said else None
        if name in (*_KEYS[table], "close_time_ns", "source", "venue", "session_date"):
            return None
        return pa.array([0] * n, kind) if name in ("volume", "trade_count") else pa.nulls(n, kind)

    def _there(self, table: Table, computed: pa.RecordBatch | None, spans: _Spans) -> pa.Table:
        """The stored rows of the spans, and those that have the keys of computed ones: every revision."""
        by_frame = {
            frame: (low, high)
            for frame, low, high in spans.group_by("timeframe")
            .agg(pl.col("since").min(), pl.col("until").max())
            .iter_rows()
        }
        symbols = set(spans["symbol"])
        if computed is not None and computed.num_rows:
            symbols |= set(pc.unique(computed["symbol"]).to_pylist())
            own = pl.DataFrame(computed.select(["timeframe", "open_time_ns"])).group_by("timeframe")
            for frame, low, high in own.agg(
                low=pl.col("open_time_ns").min(), high=pl.col("open_time_ns").max()
            ).iter_rows():
                before = by_frame.get(frame, (low, high))
                by_frame[frame] = min(low, before[0]), max(high, before[1])
        parts = []
        for file in self._files[table]:
            frames = {
                f: span
                for f, span in by_frame.items()
                if file.may_hold("timeframe", f, f) and file.may_hold("open_time_ns", *span)
            }
            if not (frames and any(file.may_hold("symbol", symbol, symbol) for symbol in symbols)):
                continue
            chosen = pc.scalar(False)
            for frame, (low, high) in frames.items():
                chosen |= (
                    (pc.field("timeframe") == frame)
                    & (pc.field("open_time_ns") >= low)
                    & (pc.field("open_time_ns") <= high)
                )
            parts.append(self._stored.read(file, chosen & pc.field("symbol").isin(sorted(symbols))))
        if parts:
            return pa.concat_tables(parts, promote_options="default")
        return pa.table({}) if computed is None else pa.Table.from_batches([], computed.schema)


def _counted(rows: pa.RecordBatch | pa.Table, keys: list[str]) -> pl.DataFrame:
    """The rows, and which of those that share a key each is: of bars cut by count several may."""
    frame = pl.DataFrame(rows.drop_columns(["receipt"]))
    return frame.with_columns(nth=pl.int_range(pl.len()).over(keys))


def _current(there: pa.Table, keys: list[str]) -> pa.Table:
    """The newest revision of each row, with its `place` among all, and whether it `is_live`: the pipeline has stored it."""
    live = pc.invert(pc.starts_with(pc.struct_field(there["receipt"], "topic"), LOADED_TOPIC))
    there = there.append_column("is_live", live).append_column("place", pa.array(range(there.num_rows), pa.int64()))
    revisions = pl.DataFrame(there.select([*keys, "revision"]))
    newest = revisions.select(pl.col("revision") == pl.col("revision").max().over(keys))["revision"]
    return there.filter(newest.to_arrow())


def _is_there(table: Table) -> pl.Expr:
    return pl.col("state") != "withdrawn" if table == "alerts" else pl.col("close").is_not_null()
