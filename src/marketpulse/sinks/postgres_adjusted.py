"""The views of splits and dividends, and of bars adjusted for them, as SQL. `{s}` is our schema, quoted.

The same rules as in the lake: the last record of a type and an ex time counts, and one that says that there was nothing
takes it back; a split that a source has told as `adjusted` is in that source's own prices already; a dividend d takes the
part d / close off all prices before it, a split of the same moment taken first.
"""

PRODUCT = """
CREATE OR REPLACE AGGREGATE {s}.product(double precision) (SFUNC = float8mul, STYPE = double precision, INITCOND = '1')"""

CORPORATE_ACTIONS = """
CREATE OR REPLACE VIEW {s}.corporate_actions AS
WITH told AS (
    SELECT e.symbol, e.type, (e.body::json ->> 'ex_time_ns')::bigint AS ex_time_ns,
           CASE WHEN e.type = 'split' THEN (e.body::json ->> 'ratio')::double precision END AS ratio,
           CASE WHEN e.type = 'dividend' THEN (e.body::json ->> 'amount')::double precision END AS amount,
           coalesce((e.body::json ->> 'adjusted')::boolean, false) AS adjusted, e.source, e.event_time_ns,
           ARRAY[(e.topic NOT LIKE 'file:%')::int::text, e.topic] AS log, e."partition", e."offset", e."row"
    FROM {s}.events e WHERE e.type IN ('split', 'dividend')
), own AS (
    SELECT DISTINCT ON (symbol, type, ex_time_ns, source) * FROM told
    ORDER BY symbol, type, ex_time_ns, source, log DESC, "partition" DESC, "offset" DESC, "row" DESC
), last AS (
    SELECT DISTINCT ON (symbol, type, ex_time_ns) * FROM own
    ORDER BY symbol, type, ex_time_ns, log DESC, "partition" DESC, "offset" DESC, "row" DESC
)
SELECT to_timestamp(l.ex_time_ns / 1000000000) AS ex_time, l.symbol, l.type, l.ex_time_ns, l.ratio, l.amount, l.source,
       l.event_time_ns, coalesce(a.adjusted_by, '{}') AS adjusted_by
FROM last l LEFT JOIN (
    SELECT symbol, type, ex_time_ns, array_agg(source ORDER BY source) AS adjusted_by FROM own WHERE adjusted GROUP BY 1, 2, 3
) a USING (symbol, type, ex_time_ns)
WHERE coalesce(l.ratio, 1) <> 1 OR coalesce(l.amount, 0) > 0"""

# Each with the ex times between which it holds; `source` is null for those that have adjusted nothing themselves.
_SPLITS = """
WITH kinds AS (
    SELECT t.symbol, t.adjusting, unnest(t.adjusting || NULL::text) AS source FROM (
        SELECT a.symbol, array_remove(array_agg(DISTINCT one.source), NULL) AS adjusting
        FROM {s}.corporate_actions a LEFT JOIN LATERAL unnest(a.adjusted_by) AS one(source) ON true
        WHERE a.type = 'split' GROUP BY a.symbol
    ) t
), splits AS (
    SELECT k.symbol, k.adjusting, k.source, a.ex_time_ns AS before_ns,
           coalesce(lead(a.ex_time_ns) OVER newest_first, '-9223372036854775807'::bigint) AS from_ns,
           {s}.product(a.ratio) OVER newest_first AS ratio
    FROM kinds k JOIN {s}.corporate_actions a ON a.symbol = k.symbol AND a.type = 'split'
    WHERE k.source IS NULL OR NOT (k.source = ANY (a.adjusted_by))
    WINDOW newest_first AS (PARTITION BY k.symbol, k.source ORDER BY a.ex_time_ns DESC ROWS UNBOUNDED PRECEDING)
)"""
_SPLIT_OF = """
LEFT JOIN splits x ON x.symbol = b.symbol AND x.from_ns <= b.open_time_ns AND b.open_time_ns < x.before_ns
    AND (x.source = b.source OR (x.source IS NULL AND NOT coalesce(b.source = ANY (x.adjusting), false)))"""
_BEFORE = "b.open_time, b.close_time, b.symbol, b.timeframe, b.open_time_ns, b.close_time_ns"
_BEHIND = "b.trade_count, b.revision, b.source, b.venue, b.session_date"


def _bars(kept: str) -> str:
    prices = ", ".join(f"b.{name} / coalesce(x.ratio, 1){kept} AS {name}" for name in ("open", "high", "low", "close"))
    return f"""
SELECT {_BEFORE}, {prices}, b.volume * coalesce(x.ratio, 1) AS volume, b.vwap / coalesce(x.ratio, 1){kept} AS vwap, {_BEHIND}"""


BARS_ADJUSTED = "\nCREATE OR REPLACE VIEW {s}.bars_adjusted AS" + _SPLITS + _bars("") + "\nFROM {s}.bars b" + _SPLIT_OF

# The series are found by the index, as the close before each payment is.
BARS_TOTAL_RETURN = (
    "\nCREATE OR REPLACE VIEW {s}.bars_total_return AS"
    + _SPLITS
    + """, part AS (
    SELECT d.symbol, series.timeframe, d.ex_time_ns,
           d.amount * CASE WHEN before.source = ANY (s.adjusted_by) THEN 1 ELSE coalesce(s.ratio, 1) END / before.close AS part
    FROM {s}.corporate_actions d
    LEFT JOIN {s}.corporate_actions s ON s.symbol = d.symbol AND s.ex_time_ns = d.ex_time_ns AND s.type = 'split'
    JOIN (SELECT symbol, timeframe FROM {s}.latest_bars) series ON series.symbol = d.symbol
    CROSS JOIN LATERAL (
        SELECT c.close, c.source FROM {s}.bars c
        WHERE c.symbol = d.symbol AND c.timeframe = series.timeframe
            AND c.open_time <= d.ex_time AND c.open_time_ns < d.ex_time_ns
        ORDER BY c.open_time DESC, c.tick DESC LIMIT 1
    ) before
    WHERE d.type = 'dividend'
), paid AS (
    SELECT symbol, timeframe, ex_time_ns AS before_ns,
           coalesce(lead(ex_time_ns) OVER newest_first, '-9223372036854775807'::bigint) AS from_ns,
           {s}.product(1 - part) OVER newest_first AS kept
    FROM part WHERE part < 1
    WINDOW newest_first AS (PARTITION BY symbol, timeframe ORDER BY ex_time_ns DESC ROWS UNBOUNDED PRECEDING)
)"""
    + _bars(" * coalesce(p.kept, 1)")
    + "\nFROM {s}.bars b"
    + _SPLIT_OF
    + """
LEFT JOIN paid p ON p.symbol = b.symbol AND p.timeframe = b.timeframe AND p.from_ns <= b.open_time_ns
    AND b.open_time_ns < p.before_ns"""
)

ADJUSTED = {
    "corporate_actions": CORPORATE_ACTIONS,
    "bars_adjusted": BARS_ADJUSTED,
    "bars_total_return": BARS_TOTAL_RETURN,
}
"""By name, in the order in which they need each other. They need PRODUCT."""
