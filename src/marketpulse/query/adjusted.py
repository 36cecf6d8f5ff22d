"""The SQL of bars as they would read had there been no splits, or no dividends either. What is stored stays as it is.

    events -> actions (what counts of what was told) -> factors between two ex times -> bars

A bar that opens before a split's ex time is divided by its ratio, its volume multiplied. A split that a source has told as
`adjusted` is in that source's own prices already. A dividend d takes the part d / close off all prices before it, with
the last close before its ex time of the same timeframe, a split of the same moment taken first.
"""

# The last record of a type and an ex time counts; what was loaded stands before all of the log. One that says that there
# was nothing (a ratio of 1, an amount of 0) takes it back.
ACTIONS = """
    SELECT make_timestamp(last.ex_time_ns // 1000) AS ex_time, last.symbol, last.type, last.ex_time_ns, last.ratio,
           last.amount, last.source, last.event_time_ns, last.adjusted_by
    FROM (
        SELECT symbol, type, ex_time_ns, arg_max(ratio, place) AS ratio, arg_max(amount, place) AS amount,
               arg_max(source, place) AS source, arg_max(event_time_ns, place) AS event_time_ns,
               coalesce(list(source ORDER BY source) FILTER (own AND adjusted), []) AS adjusted_by
        FROM (
            SELECT *, row_number() OVER (PARTITION BY symbol, type, ex_time_ns, source ORDER BY place DESC) = 1 AS own
            FROM (
                SELECT symbol, type, source, event_time_ns, row(topic NOT LIKE 'file:%', topic, "partition", "offset", "row") AS place,
                       TRY_CAST(body::JSON ->> 'ex_time_ns' AS BIGINT) AS ex_time_ns,
                       CASE WHEN type = 'split' THEN TRY_CAST(body::JSON ->> 'ratio' AS DOUBLE) END AS ratio,
                       CASE WHEN type = 'dividend' THEN TRY_CAST(body::JSON ->> 'amount' AS DOUBLE) END AS amount,
                       coalesce(TRY_CAST(body::JSON ->> 'adjusted' AS BOOLEAN), false) AS adjusted
                FROM ({events}) WHERE type IN ('split', 'dividend')
            )
        ) GROUP BY symbol, type, ex_time_ns
    ) AS last WHERE last.ex_time_ns IS NOT NULL AND (coalesce(last.ratio, 1) <> 1 OR coalesce(last.amount, 0) > 0)"""

_WITH_SPLITS = """
    WITH actions AS MATERIALIZED ({actions}),
    tellers AS (
        SELECT symbol, list_distinct(flatten(list(adjusted_by))) AS adjusting FROM actions WHERE type = 'split' GROUP BY symbol
    ), kinds AS (
        SELECT symbol, adjusting, unnest(list_append(adjusting, NULL)) AS source FROM tellers
    ), splits AS (
        SELECT kinds.*, ex_time_ns AS before_ns,
               coalesce(lead(ex_time_ns) OVER newest_first, -9223372036854775807) AS from_ns,
               product(ratio) OVER newest_first AS ratio
        FROM kinds JOIN actions USING (symbol)
        WHERE type = 'split' AND (kinds.source IS NULL OR NOT list_contains(adjusted_by, kinds.source))
        WINDOW newest_first AS (PARTITION BY symbol, kinds.source ORDER BY ex_time_ns DESC ROWS UNBOUNDED PRECEDING)
    )"""
_SPLIT_OF = """
    LEFT JOIN splits ON splits.symbol = own.symbol AND splits.from_ns <= own.open_time_ns
        AND own.open_time_ns < splits.before_ns
        AND (splits.source = own.source OR (splits.source IS NULL AND NOT coalesce(list_contains(splits.adjusting, own.source), false)))"""
_PAID_OF = """
    LEFT JOIN paid ON paid.symbol = own.symbol AND paid.timeframe = own.timeframe AND paid.from_ns <= own.open_time_ns
        AND own.open_time_ns < paid.before_ns"""
_PRICES = ("open", "high", "low", "close", "vwap")


def _bars(price: str, ratio: str) -> str:
    replaced = ", ".join(f"own.{name} {price} AS {name}" for name in _PRICES)
    return f"SELECT own.* REPLACE ({replaced}, own.volume * {ratio} AS volume)"


_RATIO = "coalesce(splits.ratio, 1)"
SPLIT_ADJUSTED = f"""{_WITH_SPLITS}
    {_bars(f"/ {_RATIO}", _RATIO)}
    FROM ({{bars}}) AS own {_SPLIT_OF}"""
"""`bars_adjusted`. To be formatted with `actions` and `bars`, each a SELECT."""

TOTAL_RETURN = f"""{_WITH_SPLITS},
    dividends AS (
        SELECT paid.symbol, paid.ex_time_ns, paid.amount, split.ratio, split.adjusted_by
        FROM actions AS paid LEFT JOIN actions AS split
            ON split.symbol = paid.symbol AND split.ex_time_ns = paid.ex_time_ns AND split.type = 'split'
        WHERE paid.type = 'dividend'
    ), before AS (
        SELECT dividends.*, closes.timeframe, arg_max(closes.close, closes.open_time_ns) AS close,
               arg_max(closes.source, closes.open_time_ns) AS source
        FROM dividends JOIN ({{closes}}) AS closes
            ON closes.symbol = dividends.symbol AND closes.open_time_ns < dividends.ex_time_ns
        GROUP BY ALL
    ), part AS (
        SELECT symbol, timeframe, ex_time_ns,
               amount * CASE WHEN list_contains(adjusted_by, source) THEN 1 ELSE coalesce(ratio, 1) END / close AS part
        FROM before
    ), paid AS (
        SELECT symbol, timeframe, ex_time_ns AS before_ns,
               coalesce(lead(ex_time_ns) OVER newest_first, -9223372036854775807) AS from_ns,
               product(1 - part) OVER newest_first AS kept
        FROM part WHERE part < 1
        WINDOW newest_first AS (PARTITION BY symbol, timeframe ORDER BY ex_time_ns DESC ROWS UNBOUNDED PRECEDING)
    )
    {_bars(f"/ {_RATIO} * coalesce(paid.kept, 1)", _RATIO)}
    FROM ({{bars}}) AS own {_SPLIT_OF} {_PAID_OF}"""  # noqa: S608  (our own names)
"""`bars_total_return`. To be formatted with `actions`, `bars` and `closes`, each a SELECT; the last one of all bars."""
