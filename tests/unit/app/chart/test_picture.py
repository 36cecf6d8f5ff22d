"""A picture: its colours are the page's, what is drawn where, what it is written as, and the stored bars that it shows;
and what a chart may ask for, the bars that it is drawn from, and the desk that answers it, with the engine's values."""

import contextlib
import io
import json
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import talib
from matplotlib.image import imread

import marketpulse
from board_rows import row
from lake_store import LakeRows, daily, store_real_rows
from marketpulse.app.chart.colours import COLOURS, Theme
from marketpulse.app.chart.panes import groups_of
from marketpulse.app.chart.picture import Look, Picture
from marketpulse.app.chart.stored import Span, older_bars, stored_bars, time_ns, with_indicators
from marketpulse.app.charts.catalogue import OF_STORED_BARS, catalogue, in_prices, indicators_of, needs_the_engine
from marketpulse.app.charts.closed_bars import PRICES, REVISION, ClosedBars, forming, merged
from marketpulse.app.charts.closed_bars import stored_bars as closed_bars
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.app.charts.values import ChartValues
from marketpulse.app.frames import with_nanoseconds
from marketpulse.errors import EnvironmentProblem, Fatal, MarketPulseError, ParameterError
from marketpulse.indicators.catalogue import CATALOGUE, parse_indicators
from marketpulse.ports import BarSpan, LiveBars, ReceiptAsk
from marketpulse.query.duck import LakeQuery
from marketpulse.settings import EngineSettings, Settings
from marketpulse.web.series import BAR_COLUMNS
from refused import assert_raises

TOKENS = Path(__file__).parents[4] / "ui" / "src" / "style" / "tokens.css"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_each_colour_is_the_pages(theme: Theme) -> None:
    block = next(b for b in re.findall(r"\{([^}]*)\}", TOKENS.read_text()) if f"color-scheme: {theme};" in b)
    tokens, colours = dict(re.findall(r"--([\w-]+): ([^;]+);", block)), COLOURS[theme]
    for name in ("panel", "grid", "line_strong", "text", "text_soft", "text_faint", "up", "down"):
        assert getattr(colours, name) == tokens[name.replace("_", "-")], name
    assert list(colours.series) == [tokens[f"series-{i}"] for i in range(1, 7)]
    for name in ("volume_up", "volume_down", "band"):
        red, green, blue, share = (round(v * scale) for v, scale in zip(getattr(colours, name), (255, 255, 255, 100), strict=True))  # fmt: skip
        assert f"rgb({red} {green} {blue} / {share}%)" == tokens[name.replace("_", "-")], name


def test_bands_lie_under_lines_falling_candles_are_filled_oscillators_alone_have_panes_and_no_column_is_named() -> None:
    columns = [
        "close", "vwap", "session_vwap", "sma_20", "bbands_20_2_upper", "bbands_20_2_middle", "bbands_20_2_lower",
        "volume_sma_20", "rsi_14", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist",
    ]  # fmt: skip
    groups = groups_of(parse_indicators("rsi(14),sma(20),macd(12,26,9),bbands(20,2),volume_sma(20)"), columns)
    assert [g.label for g in groups] == ["BBANDS 20 2", "SMA 20", "VOLUME SMA 20", "RSI 14", "MACD 12 26 9"]
    assert [g.place for g in groups] == ["price", "price", "volume", "own", "own"]
    assert (groups[0].band, groups[3].levels) == (("bbands_20_2_upper", "bbands_20_2_lower"), (30, 70))
    assert [line.style for line in groups[4].lines] == ["line", "line", "histogram"]

    assert groups_of(parse_indicators("vwap"), columns)[0].lines[0].column == "session_vwap"
    assert_raises(ParameterError, "no column sma_50 to draw", groups_of, parse_indicators("sma(50)"), columns)
    picture = Picture(table(), "AAPL", "1d")
    drawn = [c.get_facecolor() for c in picture.figure.axes[0].collections]
    faces = [tuple(np.round(face[0][:3], 3)) for face in drawn if len(face)]
    for name in (COLOURS["dark"].panel, COLOURS["dark"].down):
        assert tuple(np.round(rgb(name), 3)) in faces
    assert picture.svg() == Picture(table(), "AAPL", "1d").svg()
    values = [float(i) for i in range(40)]
    picture = Picture(table(rsi_14=values, sma_20=values), "AAPL", "1d", parse_indicators("rsi(14),sma(20)"))
    assert len(picture.figure.axes) == 3  # prices, volume, RSI
    assert [list(line.get_ydata()) for line in picture.figure.axes[0].lines if len(line.get_ydata()) == 40] == [values]


def table(bars: int = 40, **columns: list[float]) -> pa.Table:
    close = [100.0 + (i % 7) - (i % 3) for i in range(bars)]
    return pa.table(
        {"open_time_ns": [(16_000 + i) * 86_400 * 10**9 for i in range(bars)], "open": [c - 0.5 if i % 2 else c + 0.5 for i, c in enumerate(close)],
         "high": [c + 2 for c in close], "low": [c - 2 for c in close], "close": close, "volume": [1e6 + i for i in range(bars)], **columns}
    )  # fmt: skip


def rgb(text: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_png_has_its_size_twice_and_the_colours_of_its_theme_and_a_notebook_gets_it(theme: str) -> None:
    picture = Picture(table(), "AAPL", "1d", look=Look(theme=theme, width=600, height=400))  # type: ignore[arg-type]
    data = picture.png()
    assert struct.unpack(">II", data[16:24]) == (1_200, 800)
    pixels = imread(io.BytesIO(data))[:, :, :3].reshape(-1, 3)
    colours = COLOURS[picture.look.theme]
    for name in (colours.panel, colours.down, colours.up):
        assert (np.abs(pixels - rgb(name)).max(axis=1) < 0.02).sum() > 50, name
    bundle, metadata = picture._repr_mimebundle_()
    assert bundle["image/png"][:4] == b"\x89PNG"
    assert metadata["image/png"] == {"width": 600, "height": 400}
    assert bundle["text/plain"] == "<Picture AAPL 1d, 40 bars>"


def test_a_page_holds_every_value_fetches_nothing_and_escapes_what_is_data() -> None:
    page = Picture(table(), "<b>A&B</b></script>", "1d").html()
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "<b>A" not in page
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data = json.loads(found[1])
    assert (data["names"][4], data["rows"][39][4], len(data["rows"])) == ("close", "104.00", 40)


def test_one_bar_many_flat_prices_and_missing_volumes_are_drawn_and_saved_by_the_names_ending(tmp_path: Path) -> None:
    for bars in (1, 2, 5_000):
        assert Picture(table(bars), "A", "1d", look=Look(width=300, height=200)).png()[:4] == b"\x89PNG", bars
    flat = table(3).drop_columns(["volume"])
    for name in ("open", "high", "low", "close"):
        flat = flat.set_column(flat.schema.get_field_index(name), name, pa.array([7.0] * 3))
    picture = Picture(flat, "A", "1d", look=Look(style="line"))
    assert len(picture.figure.axes) == 1
    assert picture.svg().startswith("<svg")
    picture = Picture(table(), "AAPL", "1d")
    for ending in (".png", ".svg", ".html"):
        assert picture.save(tmp_path / f"chart{ending}").read_bytes()[:5] in (b"\x89PNG\r", b"<svg ", b"<!doc")
    assert_raises(ParameterError, r"end the name with one of \.png, \.svg, \.html", picture.save, "chart.gif")
    assert_raises(EnvironmentProblem, "name another place", picture.save, tmp_path / "none" / "chart.png")


@pytest.mark.parametrize(
    "wrong",
    [lambda: Picture(table(0), "A", "1d"), lambda: Picture(table(5_001), "A", "1d"),
     lambda: Picture(table().drop_columns(["high"]), "A", "1d"), lambda: Look(width=10),
     lambda: Look(theme="red"), lambda: Look(style="pie")],  # type: ignore[arg-type]
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_words(wrong: object) -> None:
    with pytest.raises(ParameterError, match=r"picture|width|theme|style"):
        wrong()  # type: ignore[operator]


# Stored bars and their indicators, from a real lake.


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return store_real_rows(tmp_path_factory.mktemp("lake"))


def test_the_newest_bars_come_oldest_first_with_indicators_of_those_before_and_none_is_none(settings: Settings) -> None:
    rows = stored_bars(settings, "AAPL", "1d", Span(bars=5))
    assert rows.column("close").to_pylist() == daily("AAPL")["close"].tail(5).to_list()
    span = Span(time_ns("2014-12-29", "from"), time_ns("2014-12-31", "to"))
    opened = stored_bars(settings, "AAPL", "1d", span).column("open_time_ns").to_pylist()
    assert opened == [time_ns("2014-12-29", "first"), time_ns("2014-12-30", "second")]
    shown = stored_bars(settings, "IBM", "1d", Span(bars=10))
    older = older_bars(settings, "IBM", "1d", shown.column("open_time_ns")[0].as_py())
    values = with_indicators(pa.concat_tables([older, shown]), "rsi(14),vwap", settings)
    found = values.slice(older.num_rows).column("rsi_14").to_numpy()
    np.testing.assert_allclose(found, talib.RSI(daily("IBM")["close"].to_numpy(), 14)[-10:], rtol=1e-9)
    assert {"vwap", "session_vwap"} <= set(values.column_names)
    bars = stored_bars(settings, "KO", "1d", Span(bars=50))
    once = with_indicators(bars, "sma(20)", settings)
    assert with_indicators(once, "sma(20)", settings).equals(once)
    empty = bars.slice(0, 0)
    assert pl.DataFrame(with_indicators(empty, "sma(20)", settings)).shape == (0, empty.num_columns)


def test_adjusted_bars_and_their_indicators_are_as_if_nothing_had_been_paid(settings: Settings) -> None:
    """The bundled days of KO are adjusted for its split by who made them, and hold its dividends."""
    LakeRows(settings).add("events", [
        {"type": "dividend", "symbol": "KO", "source": "files", "event_time_ns": 1, "topic": "file:KO.csv", "partition": 0,
         "offset": at, "row": 0, "body": json.dumps({"amount": paid, "ex_time_ns": time_ns(day, "day")})}
        for at, (day, paid) in enumerate((("2014-09-11", 0.305), ("2014-11-26", 0.305)))
    ])  # fmt: skip
    whole = Span(time_ns("2014-09-01", "from"), None, None, "all")
    shown = stored_bars(settings, "KO", "1d", whole)
    closes = daily("KO")["close"].tail(90).to_list()
    before = [str(day)[:10] for day in daily("KO")["date"].tail(90).to_list()]
    kept = [1 - 0.305 / closes[before.index(day) - 1] for day in ("2014-09-11", "2014-11-26")]
    found = shown.column("close").to_pylist()
    assert found[0] == pytest.approx(closes[before.index("2014-09-02")] * kept[0] * kept[1], rel=1e-12)
    assert found[-1] == closes[-1]
    split = stored_bars(settings, "KO", "1d", Span(whole.start_ns, None, None, "split"))
    assert split.column("close")[0].as_py() > found[0]
    older = older_bars(settings, "KO", "1d", shown.column("open_time_ns")[0].as_py(), "all")
    values = with_indicators(pa.concat_tables([older, shown]), "sma(20)", settings).column("sma_20").to_numpy()
    adjusted = pa.concat_tables([older, shown]).column("close").to_numpy()
    np.testing.assert_allclose(values[19:], talib.SMA(adjusted, 20)[19:], rtol=1e-12)


@pytest.mark.parametrize(("symbol", "timeframe", "span", "said"), [
    ("XXX", "1d", Span(), "no bars of 'XXX' are stored: there are AAPL, IBM"), ("aapl", "1d", Span(), "there are AAPL$"),
    ("AAPL", "1h", Span(), "AAPL has no bars of '1h': it has 1d"), ("A' OR 1=1 --", "1d", Span(), "no bars of"),
    ("AAPL", "1d", Span(start_ns=2 * 10**18), "choose another --from"),
])  # fmt: skip
def test_the_missing_is_said(
    settings: Settings, tmp_path: Path, symbol: str, timeframe: str, span: Span, said: str
) -> None:
    assert_raises(ParameterError, said, stored_bars, settings, symbol, timeframe, span)
    with pytest.raises(EnvironmentProblem, match="marketpulse up"):  # what fills an empty lake
        stored_bars(Settings(data_dir=tmp_path), symbol, timeframe, span)


def test_times_are_utc_unless_they_have_a_zone_and_what_is_none_is_refused() -> None:
    times = {"1970-01-02": 86_400 * 10**9, "1970-01-01T01:00+01:00": 0, "1970-01-01T00:00:00.5": 5 * 10**8}
    assert {text: time_ns(text, "start") for text in times} == times
    assert_raises(ParameterError, "--from is a time such as", time_ns, "yesterday", "--from")


def test_every_indicator_also_a_users_own_is_listed_and_says_where_bars_are_not_enough(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in catalogue(EngineSettings())}
    assert set(rows) == set(CATALOGUE)
    bands = rows["bbands"]
    assert (bands["stem"], bands["outputs"], bands["pane"]) == ("bbands_20_2", ["upper", "middle", "lower"], "price")
    assert bands["parameters"][0] == {"name": "period", "kind": "int", "default": 20, "minimum": 2, "maximum": 10_000}
    assert "made of quotes" in rows["microprice"]["needs_the_engine"]
    assert "made of trades" in rows["vwap"]["needs_the_engine"]
    assert rows["rsi"]["needs_the_engine"] is None
    enough = [name for name, indicator in CATALOGUE.items() if needs_the_engine(indicator) is None]
    assert all(OF_STORED_BARS.issuperset(CATALOGUE[name].reads) for name in enough)
    assert len(enough) > 60
    names = ("sma_20", "bbands_20_2_upper", "session_vwap", "rsi_14", "volume_sma_20", "macd_12_26_9", "nothing_7")
    assert [in_prices(name, CATALOGUE) for name in names] == [True, True, True, False, False, False, False]
    file = tmp_path / "mine.py"
    file.write_text(
        'from marketpulse.indicators.own import indicator\n@indicator(window="period", pane="price")\n'
        "def middle(high, low, period=10):\n    return (high.max() + low.min()) / 2\n"
    )
    fresh = EngineSettings(indicator_files=(file,))
    assert "middle" in indicators_of(fresh)
    own = next(row for row in catalogue(fresh) if row["name"] == "middle")
    assert (own["group"], own["stem"], own["pane"]) == ("own", "middle_10", "price")


@pytest.fixture
def fresh(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


def of(*bars: tuple[float, float, float]) -> ClosedBars:
    """(open ms, close, revision)."""
    table = np.array(bars, np.float64).reshape(-1, 3)
    return ClosedBars(table[:, 0], np.repeat(table[:, 1:2], 5, axis=1), table[:, 2])


def live(*bars: tuple[float, float, float], gone: dict[float, float] | None = None) -> LiveBars:
    rows = {t: [t, t + 1, close, close, close, close, close, close, 1.0, rev] for t, close, rev in bars}
    return LiveBars(rows, gone or {})


def told(bars: ClosedBars) -> list[tuple[float, float]]:
    return list(zip(bars.open_ms.tolist(), bars.prices[:, 3].tolist(), strict=True))


def test_the_higher_revision_is_the_truth_a_withdrawn_bar_is_gone_and_forming_ones_stand_apart() -> None:
    assert BAR_COLUMNS[2 : 2 + len(PRICES)] == PRICES, "the places of columns are those of the board's rows"
    assert BAR_COLUMNS[REVISION] == "revision"
    stored = of((0, 1, 0), (1, 2, 1), (2, 3, 0))
    assert told(merged(stored, live((1, 9, 0), (2, 8, 1), (3, 7, 0)))) == [(0, 1), (1, 2), (2, 8), (3, 7)]
    later = of((0, 1, 0), (1, 2, 0), (2, 3, 2))
    assert told(merged(later, live((3, 4, 0), gone={1.0: 1.0, 2.0: 1.0}))) == [(0, 1), (2, 3), (3, 4)]
    assert merged(stored, LiveBars()) is stored
    bars = live((0, 1, 0), (1, 2, -1))
    assert (told(merged(of(), bars)), told(forming(bars))) == ([(0, 1)], [(1, 2)])


@pytest.mark.parametrize("timeframe", ["1m", "1t"])
def test_the_lake_gives_the_newest_revisions_and_tells_tick_bars_apart(fresh: Settings, timeframe: str) -> None:
    lake = LakeRows(fresh)
    rows = [row("AAA", timeframe, at, float(i)) for i, at in enumerate((60, 120) if timeframe == "1m" else (60, 60))]
    for place, one in enumerate(rows):
        one["receipt"] = one["receipt"] | {"last_offset": place}
    lake.add("bars", [*rows, row("BBB", timeframe, 60, 5.0)])
    if timeframe == "1m":
        lake.add("bars", [row("AAA", timeframe, 120, 7.0, revision=1)])
    with contextlib.closing(LakeQuery(fresh)) as query:
        found = closed_bars(query, "AAA", timeframe)
    expected = [(60_000, 0), (120_000, 7)] if timeframe == "1m" else [(60_000, 0), (60_000.001, 1)]
    assert told(found) == expected


def test_values_are_computed_over_the_lakes_bars_and_without_a_lake_begin_with_the_board(fresh: Settings) -> None:
    LakeRows(fresh).add("bars", [row("AAA", "1m", 60 * i, float(i)) for i in range(10)])
    with contextlib.closing(LiveDesk(fresh)) as desk:
        columns, rows = desk.values(["sma_3"], BarSpan("AAA", "1m", limit=2), LiveBars())
    assert (columns, rows) == (["sma_3"], [[480_000, 7.0], [540_000, 8.0]])
    without = Settings(data_dir=fresh.data_dir, sinks={"lake": {"enabled": False}})
    board = LiveBars({60_000.0 * i: [60_000.0 * i, 0, *[float(i)] * 5, 0, 1, 0] for i in range(4)})
    with contextlib.closing(LiveDesk(without)) as desk:
        assert desk.values(["sma_3"], BarSpan("AAA", "1m", limit=1), board)[1] == [[180_000, 2.0]]


def test_a_receipt_of_what_is_not_there_says_what_is(fresh: Settings) -> None:
    LakeRows(fresh).add("bars", [row("AAA", "1m", 60, 1.0)])
    with contextlib.closing(LiveDesk(fresh)) as desk:
        with pytest.raises(Fatal, match="no 1m bar of AAA opens at"):
            desk.receipt(ReceiptAsk("AAA", "1m", 0), threading.Event())
        with pytest.raises(MarketPulseError, match="is not computed"):
            desk.receipt(ReceiptAsk("AAA", "1m", 60 * 10**9, "nothing"), threading.Event())


# Indicators of a chart against what the engine itself gives for the same bars, bit for bit.

NOTATION = "sma(20),rsi(14),ema(12),macd(12,26,9),bbands(20,2.5),kama(30),obv,supertrend(10,3)"
STEMS = ["sma_20", "rsi_14", "ema_12", "macd_12_26_9", "bbands_20_2p5", "kama_30", "obv", "supertrend_10_3"]
_HEAD = ("open", "high", "low", "close", "volume")
WHOLE = BarSpan("KO", "1d", limit=10_000)


@pytest.fixture(scope="module")
def engine() -> pl.DataFrame:
    """754 real days with the values that the engine gave, one step for each bar."""
    return with_nanoseconds(marketpulse.compute(daily("KO").select("date", *_HEAD), NOTATION, symbol="KO"))


def engine_bars(rows: pl.DataFrame) -> list[dict[str, Any]]:
    bars = list(rows.select("symbol", "timeframe", "open_time_ns", "close_time_ns", "session_date", *_HEAD).to_dicts())
    return [bar | {"revision": 0, "source": "file", "vwap": None, "trade_count": None} for bar in bars]


def live_bars(rows: pl.DataFrame, *, revision: float = 0.0, newest: float | None = None) -> LiveBars:
    """The board's rows of these bars; the last one has the revision `newest`."""
    found = {}
    for r in rows.iter_rows(named=True):
        at = r["open_time_ns"] / 1e6
        found[at] = [at, r["close_time_ns"] / 1e6, *(r[name] for name in _HEAD), np.nan, np.nan, revision]
    if newest is not None:
        found[max(found)][-1] = newest
    return LiveBars(found)


def expected(engine: pl.DataFrame, columns: list[str]) -> bytes:
    return as_bytes(
        np.column_stack([engine["open_time_ns"].to_numpy() / 1e6, *(engine[c].to_numpy() for c in columns)])
    )


def as_bytes(rows: Any) -> bytes:
    return np.array(rows, np.float64).tobytes()


@pytest.fixture
def lake(tmp_path: Path) -> LakeRows:
    return LakeRows(Settings(data_dir=tmp_path))


@pytest.fixture
def values(lake: LakeRows) -> Iterator[ChartValues]:
    with contextlib.closing(LakeQuery(lake.settings)) as query:
        yield ChartValues(query)


@pytest.mark.parametrize("in_lake", [0, 300, 754])
def test_they_have_the_bits_of_the_engines_wherever_the_lake_ends(
    lake: LakeRows, values: ChartValues, engine: pl.DataFrame, in_lake: int
) -> None:
    if in_lake:
        lake.add("bars", engine_bars(engine.head(in_lake)))
    board = live_bars(engine.slice(min(in_lake, 254))) if in_lake < len(engine) else LiveBars()
    columns, rows = values.values(STEMS, CATALOGUE, WHOLE, board)
    assert as_bytes(rows) == expected(engine, columns)
    assert np.isfinite([row[1] for row in rows]).sum() == len(engine) - 19


def test_bar_after_bar_they_stay_so_and_no_forming_one_moves_them(
    lake: LakeRows, values: ChartValues, engine: pl.DataFrame
) -> None:
    lake.add("bars", engine_bars(engine.head(600)))
    seen: list[list[float]] = []
    for end in range(601, 640):
        board = live_bars(engine.slice(end - 100, 100), newest=-1.0)
        columns, rows = values.values(STEMS, CATALOGUE, BarSpan("KO", "1d", max(board.rows) - 1, limit=5), board)
        seen += rows
    assert as_bytes(seen) == expected(engine.slice(600, 39), columns)


def test_a_past_page_is_cut_from_the_whole_and_a_revision_changes_all_after_it(engine: pl.DataFrame) -> None:
    values, board = ChartValues(None), live_bars(engine)
    whole = values.values(["rsi_14"], CATALOGUE, WHOLE, board)[1]
    times = sorted(board.rows)
    page = values.values(["rsi_14"], CATALOGUE, BarSpan("KO", "1d", times[100], times[200], 50), board)[1]
    assert as_bytes(page) == as_bytes(whole[150:200])
    with pytest.raises(ParameterError, match=r"name it in engine\.indicators"):
        values.values(["spread"], CATALOGUE, BarSpan("KO", "1d"), LiveBars())
    values, bars = ChartValues(None), engine.head(200)
    before = values.values(["ema_12"], CATALOGUE, WHOLE, live_bars(bars))[1]
    board = live_bars(bars.with_columns(close=bars["close"].scatter(20, bars["close"][20] + 1)))
    board.rows[sorted(board.rows)[20]][-1] = 1.0  # type: ignore[index]
    after = values.values(["ema_12"], CATALOGUE, WHOLE, board)[1]
    assert as_bytes(before[:20]) == as_bytes(after[:20])
    assert all(a[1] != b[1] for a, b in zip(before[20:60], after[20:60], strict=True))


def test_bars_that_left_the_board_are_read_again(lake: LakeRows, values: ChartValues, engine: pl.DataFrame) -> None:
    lake.add("bars", engine_bars(engine.head(300)))
    values.values(["ema_12"], CATALOGUE, WHOLE, live_bars(engine.slice(250, 100)))
    lake.add("bars", engine_bars(engine.slice(300, 300)))
    columns, rows = values.values(["ema_12"], CATALOGUE, WHOLE, live_bars(engine.slice(600, 100)))
    assert as_bytes(rows) == expected(engine.head(700), columns)
