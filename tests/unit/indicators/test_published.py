"""Values that Stock.Indicators publishes for `default_502.csv`, rounded as published where they are given as texts.

Its Supertrend counts the first bar's range too, so that early bars differ in the last decimal: only later ones are here.
Its shifted spans of Ichimoku belong to bars 26 earlier.
"""

import json

import numpy as np
import pytest

from unit.indicators.contract import DATA, compute, every_daily

PUBLISHED: dict[tuple[str, int], dict[int, str]] = {
    ("alma(10,0.85,6)", 0): {9: "214.1839", 24: "216.0619", 149: "235.8609", 249: "257.5787", 501: "242.1871"},
    ("hma(20)", 0): {149: "236.0835", 501: "235.6972"},
    ("vwma(10)", 0): {9: "213.981942", 99: "226.302760", 249: "257.053654", 501: "242.101548"},
    ("rma(20)", 0): {19: "214.52500", 20: "214.55125", 21: "214.58319", 100: "225.78071", 501: "255.67462"},
    ("keltner(20,10,2)", 0): {485: "275.4260", 501: "262.1873"},
    ("keltner(20,10,2)", 1): {485: "265.4599", 501: "249.3519"},
    ("keltner(20,10,2)", 2): {485: "255.4938", 501: "236.5165"},
    ("supertrend(14,3)", 0): {249: "253.8008", 501: "250.7954"},
    ("supertrend(14,3)", 1): {151: "1", 152: "-1", 249: "1", 501: "-1"},
    ("ichimoku", 0): {51: "224.465", 249: "257.150", 475: "265.575", 501: "241.260"},
    ("ichimoku", 1): {51: "221.940", 249: "253.085", 475: "263.965", 501: "251.505"},
    ("ichimoku", 2): {25: "214.8325", 223: "246.3125", 449: "274.9475", 475: "264.7700"},
    ("ichimoku", 3): {223: "241.685", 449: "274.950", 475: "269.820"},
}


@pytest.mark.parametrize(("text", "column"), list(PUBLISHED))
def test_the_published_values_come_out(text: str, column: int) -> None:
    found = compute(text, every_daily()["default_502"]).reshape(502, -1)[:, column]
    for bar, published in PUBLISHED[text, column].items():
        decimals = len(published.partition(".")[2])
        assert f"{found[bar]:.{decimals}f}" == published, bar


@pytest.mark.parametrize("name", ["ema", "sma"])
def test_the_published_series_comes_out(name: str) -> None:
    rows = json.loads((DATA / "indicator_values" / f"{name}.standard.json").read_text())
    published = np.array([row[name] for row in rows], np.float64)
    np.testing.assert_allclose(compute(f"{name}(20)", every_daily()["default_502"]), published, rtol=1e-9, atol=1e-9)
