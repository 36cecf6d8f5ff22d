from marketpulse.model.adjusting import Action, Adjustments, adjustments
from marketpulse.web.rest.adjusting import adjusted
from marketpulse.web.rest.seamless import Stretch
from marketpulse.web.series import BAR_COLUMNS

BAR = [1.0, 2.0, 60.0, 66.0, 54.0, 63.0, 10.0, 61.0, 5.0, 0.0]
FOUND = Stretch([*BAR_COLUMNS, "sma_20", "rsi_14"], [[*BAR, 60.0, 55.0], [7.0, 8.0, *BAR[2:], 60.0, 55.0]], False, None)
BY = adjustments([Action("split", 5_000_000, 2.0)], None, {})


def test_prices_are_divided_volumes_multiplied_and_the_rest_is_left() -> None:
    first, second = adjusted(FOUND, BY, "split", lambda name: name == "sma_20").rows
    assert first == [1.0, 2.0, 30.0, 33.0, 27.0, 31.5, 20.0, 30.5, 5.0, 0.0, 30.0, 55.0]
    assert second == FOUND.rows[1], "behind the split"
    assert FOUND.rows[0][2] == 60.0, "what was given is as it was"


def test_nothing_is_done_where_nothing_was_told() -> None:
    assert adjusted(FOUND, Adjustments(), "all", lambda _: True) is FOUND
    assert adjusted(FOUND, BY, "none", lambda _: True) is FOUND
