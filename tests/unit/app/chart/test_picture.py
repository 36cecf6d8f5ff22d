"""A picture: its colours are the page's, what is drawn where, what it is written as; the stored bars that it shows."""

import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import talib
from matplotlib.image import imread

from lake_store import LakeRows
from marketpulse.app.chart.colours import COLOURS, Theme
from marketpulse.app.chart.panes import groups_of
from marketpulse.app.chart.picture import Look, Picture
from marketpulse.app.chart.stored import Span, older_bars, stored_bars, time_ns, with_indicators
from marketpulse.errors import EnvironmentProblem, ParameterError
from marketpulse.indicators.catalogue import parse_indicators
from marketpulse.settings import Settings
from real_rows import daily, store_real_rows
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
def test_what_is_not_there_is_said(
    settings: Settings, tmp_path: Path, symbol: str, timeframe: str, span: Span, said: str
) -> None:
    assert_raises(ParameterError, said, stored_bars, settings, symbol, timeframe, span)
    with pytest.raises(EnvironmentProblem, match="marketpulse up"):  # what fills an empty lake
        stored_bars(Settings(data_dir=tmp_path), symbol, timeframe, span)


def test_times_are_utc_unless_they_have_a_zone_and_what_is_none_is_refused() -> None:
    times = {"1970-01-02": 86_400 * 10**9, "1970-01-01T01:00+01:00": 0, "1970-01-01T00:00:00.5": 5 * 10**8}
    assert {text: time_ns(text, "start") for text in times} == times
    assert_raises(ParameterError, "--from is a time such as", time_ns, "yesterday", "--from")
