from market_rows import MIDNIGHT_NS, Engine, Row, bar, config_of, hello
from marketpulse.engine.findings import RULE_NAMES, describe
from marketpulse.model.timeframe import DAY_NS

DAY_S = 86_400


def dividend(day: int, amount: float) -> Row:
    at = MIDNIGHT_NS + day * DAY_NS
    return {
        "type": "dividend",
        "symbol": "A",
        "source": "feed",
        "event_time_ns": at,
        "amount": amount,
        "ex_time_ns": at,
    }


def days(first: int, last: int, price: float = 100.0) -> list[Row]:
    return [
        bar(
            "A", "1d", d * DAY_S, (d + 1) * DAY_S, (price, price + 1 + d % 3, price - 1, price + (d % 3) / 2, 100.0 + d)
        )
        for d in range(first, last)
    ]


def found(*rows: Row) -> list[tuple[int, str]]:
    result = Engine(config_of(["1d"])).step([hello(mode="historical", lateness_ns=0), *rows])
    assert all(describe(f).startswith("dividend") for f in result.found)
    return [(int(f["row"]) - 1, RULE_NAMES[f["rule"]]) for f in result.found]


def test_ordinary_dividends_are_left_alone() -> None:
    assert found(*days(0, 30), dividend(30, 0.5), *days(30, 60), dividend(60, 0.6), *days(60, 70)) == []


def test_a_dividend_of_more_than_the_price_is_found_at_once() -> None:
    assert found(*days(0, 30), dividend(30, 150), *days(30, 33)) == [(30, "dividend")]


def test_one_of_half_the_price_is_right_where_the_price_falls_by_it() -> None:
    assert found(*days(0, 30), dividend(30, 50), *days(30, 33)) == [(31, "dividend")]
    assert found(*days(0, 30), dividend(30, 50), *days(30, 33, 51.0)) == []


def test_companies_pay_other_amounts_than_before() -> None:
    rows = [*days(0, 30), dividend(30, 0.755), *days(30, 60), dividend(60, 0.006), *days(60, 90)]
    assert found(*rows, dividend(90, 4.3), *days(90, 95)) == []


def test_a_hundredth_of_the_one_before_is_found() -> None:
    assert found(*days(0, 30), dividend(30, 0.5), *days(30, 60), dividend(60, 0.005), *days(60, 62)) == [
        (61, "dividend")
    ]


def test_nearly_the_same_one_twice_within_days_is_found() -> None:
    assert found(*days(0, 30), dividend(30, 0.5), *days(30, 31), dividend(31, 0.53), *days(31, 33)) == [
        (32, "dividend")
    ]
    assert found(*days(0, 30), dividend(30, 0.5), *days(30, 33), dividend(33, 0.5), *days(33, 35)) == [(34, "dividend")]


def test_a_large_one_must_show_in_the_price() -> None:
    assert found(*days(0, 30), dividend(30, 12), *days(30, 33)) == [(31, "dividend")]
    assert found(*days(0, 30), dividend(30, 12), *days(30, 33, 88.0)) == []


def test_one_of_a_symbol_that_nothing_is_known_of_says_nothing() -> None:
    assert found(dividend(0, 50), *days(0, 3)) == []
