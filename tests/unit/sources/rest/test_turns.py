from hypothesis import given
from hypothesis.strategies import integers, lists

from marketpulse.sources.rest.turns import Turns


@given(count=integers(1, 12), failing=lists(integers(0, 11), max_size=12), rounds=integers(1, 5))
def test_no_symbol_starves_whatever_the_others_do(count: int, failing: list[int], rounds: int) -> None:
    """Symbols whose questions fail stay due; all the same each of them has one turn a round."""
    symbols = [f"S{i}" for i in range(count)]
    turns = Turns(symbols)
    asked = []
    for step in range(count * rounds):
        symbol = turns.next(float(step))
        assert symbol is not None
        turns.asked(symbol)
        asked.append(symbol)
        if int(symbol[1:]) not in failing:
            turns.again_at(symbol, float(step))
    for begin in range(0, len(asked), count):
        assert sorted(asked[begin : begin + count]) == sorted(symbols)


def test_nobody_is_asked_before_it_is_due() -> None:
    turns = Turns(["A", "B"])
    turns.again_at("A", 10.0)
    turns.again_at("B", 20.0)
    assert turns.next(9.0) is None
    assert turns.wait_s(9.0) == 1.0
    assert turns.next(10.0) == "A"
    assert turns.wait_s(30.0) == 0.0
