import json

import pytest

from marketpulse.errors import ParameterError
from marketpulse.web.frames import Resume, Wish
from marketpulse.web.wish import read_resume, read_wish


def wish(symbol: str = "AAPL", timeframe: str = "1m") -> str:
    return json.dumps({"subscribe": {"chart": {"symbol": symbol, "timeframe": timeframe}, "parts": []}})


def test_a_wish_names_a_chart_and_parts() -> None:
    assert read_wish(wish("BTC-USD", "5m"), ()) == Wish(("BTC-USD", "5m"))
    only_a_part = '{"subscribe": {"chart": null, "parts": ["alerts"]}}'
    assert read_wish(only_a_part, {"alerts", "market"}) == Wish(None, frozenset({"alerts"}))
    for wrong in ('{"subscribe": {"symbol": "AAPL"}}', only_a_part, only_a_part.replace('["alerts"]', '"market"')):
        with pytest.raises(ParameterError, match="subscribe"):
            read_wish(wrong, {"market"})


SAID = {
    "run": "a1",
    "generation": 3,
    "seq": 70,
    "shown": {"chart": {"symbol": "KO", "timeframe": "1h"}, "parts": ["market"]},
}


def test_a_page_that_comes_back_says_where_it_stands() -> None:
    assert read_resume(json.dumps(SAID), {"market"}) == Resume("a1", 3, 70, Wish(("KO", "1h"), frozenset({"market"})))
    assert read_resume(None, ()) is None


@pytest.mark.parametrize(
    "wrong",
    ["", "[]", "7", "nonsense", "{}", json.dumps(SAID | {"seq": "70"}), json.dumps(SAID | {"seq": True}), json.dumps(SAID | {"run": None}),
     json.dumps(SAID | {"shown": {"chart": None, "parts": ["gone"]}}), json.dumps(SAID | {"shown": {"chart": {"symbol": "KO", "timeframe": "9x"}, "parts": []}}),
     json.dumps(SAID | {"run": "x" * 3_000})],
)  # fmt: skip
def test_what_is_no_place_means_the_whole(wrong: str) -> None:
    assert read_resume(wrong, {"market"}) is None
