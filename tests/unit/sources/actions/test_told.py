import pytest

from marketpulse.kafka.market_contract import checked
from marketpulse.model.market import Kind
from marketpulse.sources.actions.told import Action, Unfit, day_of, iso, positive

SPLIT = Action("split", 18_505, 4.0)  # 2020-08-31


def test_a_record_keeps_the_contract_of_the_log() -> None:
    body = SPLIT.body("AAPL", "alpaca", 5 * 10**17)
    assert checked(body) is Kind.SPLIT
    assert (body["ratio"], body["ex_time_ns"]) == (4.0, 1_598_832_000 * 10**9)
    assert checked(SPLIT._replace(type="dividend").body("AAPL", "alpaca", 5 * 10**17)) is Kind.DIVIDEND


def test_dates_and_numbers_are_read_as_vendors_write_them() -> None:
    assert day_of({"ex": "2020-08-31"}, "ex") == day_of({"ex": "2020-08-31T00:00:00Z"}, "ex") == 18_505
    assert iso(18_505) == "2020-08-31"
    assert positive({"n": "0.25"}, "n") == positive({"n": 0.25}, "n") == 0.25


@pytest.mark.parametrize(
    "value", [None, True, "", "None", [], {}, -1, 0, "inf", "nan", "1e40", "2020-13-01", "1969-12-31"]
)
def test_what_is_none_is_unfit(value: object) -> None:
    with pytest.raises(Unfit):
        day_of({"x": value}, "x")
    with pytest.raises(Unfit):
        positive({"x": value}, "x")
