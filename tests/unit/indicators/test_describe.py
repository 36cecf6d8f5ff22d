"""The catalogue in words, and the formula pages that must agree with it."""

import json
from pathlib import Path

import pytest

from marketpulse.errors import ParameterError
from marketpulse.indicators.catalogue import CATALOGUE
from marketpulse.indicators.declaration import Indicator
from marketpulse.indicators.describe import catalogue_table, describe, page_head

PAGES = Path(__file__).parents[3] / "docs" / "formulas"
EVERY = pytest.mark.parametrize("indicator", list(CATALOGUE.values()), ids=list(CATALOGUE))


@EVERY
def test_every_indicator_has_a_page_that_begins_with_its_declaration(indicator: Indicator) -> None:
    page = (PAGES / f"{indicator.name}.md").read_text(encoding="utf-8")
    assert page.startswith(page_head(indicator))
    for heading in ("Exactly", "Warm-up", "Edge cases", "Where libraries disagree", "Checked against"):
        assert f"\n## {heading}\n" in page


def test_every_page_belongs_to_an_indicator() -> None:
    assert {p.stem for p in PAGES.glob("*.md")} - {"README"} == set(CATALOGUE)


@EVERY
def test_the_index_lists_every_indicator(indicator: Indicator) -> None:
    line = f"| [`{indicator.name}`]({indicator.name}.md) | {indicator.title} | {indicator.group} |"
    assert line in (PAGES / "README.md").read_text(encoding="utf-8").splitlines()


def test_the_table_is_plain_data_with_columns_and_warm_up() -> None:
    rows = {row["name"]: row for row in catalogue_table()}
    assert json.loads(json.dumps(rows)) == rows
    assert list(rows) == list(CATALOGUE)
    assert rows["macd"]["notation"] == "macd(12,26,9)"
    assert rows["macd"]["columns"] == ["macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist"]
    assert rows["macd"]["warm_up"] == 33
    assert rows["macd"]["parameters"][0] == {
        "name": "fast",
        "kind": "int",
        "default": 12,
        "minimum": 2,
        "maximum": 10_000,
    }
    assert rows["vwap"]["parameters"] == []


def test_describe_takes_the_parameters_given() -> None:
    text = describe("bbands(10,2.5)")
    assert text.startswith("bbands(10,2.5): Bollinger bands (volatility)\n")
    assert "bbands_10_2p5_upper, bbands_10_2p5_middle, bbands_10_2p5_lower" in text
    assert "9 bars without a value" in text
    assert "docs/formulas/bbands.md" in text


@pytest.mark.parametrize("text", ["", "sma,rsi", "nonsense"])
def test_describe_refuses_what_is_not_one_indicator(text: str) -> None:
    with pytest.raises(ParameterError):
        describe(text)
