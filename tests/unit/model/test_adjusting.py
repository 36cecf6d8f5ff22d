"""What bars are multiplied by. That it is what SQL says stands in unit/query/test_adjusted.py."""

from marketpulse.model.adjusting import Action, Step, adjustments

# Yahoo's published example: Microsoft closed at 46.99 and 48.30, split 2 for 1, closed at 24.96, and paid 0.08.
SPLIT, PAID = Action("split", 50, 2.0), Action("dividend", 60, 0.08)


def test_the_published_adjusted_closes() -> None:
    found = adjustments([PAID, SPLIT], "files", {60: (24.96, "files")})
    closes = {0: (46.99, 23.42), 10: (48.30, 24.07), 50: (24.96, 24.88), 60: (24.53, 24.53)}
    for at, (close, published) in closes.items():
        step = found.step("all", at)
        assert round(close * (step.price if step else 1), 2) == published
    assert found.step("split", 49) == Step(50, 0.5, 2.0)
    assert found.step("split", 50) is None
    assert found.step("none", 0) is None
    assert [action.ex_time_ns for action in found.actions] == [50, 60]


def test_what_a_source_has_adjusted_itself_is_left_to_its_own_bars() -> None:
    split = SPLIT._replace(adjusted_by=("yahoo",))
    assert adjustments([split], "yahoo", {}).step("split", 0) is None
    assert adjustments([split], "alpaca", {}).step("split", 0) == Step(50, 0.5, 2.0)
    assert adjustments([split], None, {}).step("split", 0) == Step(50, 0.5, 2.0)


def test_a_dividend_of_a_splits_day_is_one_for_the_new_shares() -> None:
    paid = Action("dividend", 50, 2.0)
    assert adjustments([SPLIT, paid], "files", {50: (100.0, "files")}).step("all", 0) == Step(50, 0.48, 2.0)


def test_a_dividend_with_nothing_before_it_or_as_large_as_the_price_changes_nothing() -> None:
    assert adjustments([PAID], "files", {}).step("all", 0) in (None, Step(60, 1.0, 1.0))
    assert adjustments([PAID], "files", {60: (0.08, "files")}).steps["all"] == []
