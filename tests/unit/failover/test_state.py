"""Which group a symbol is of, what is saved, and what a changed configuration makes of it."""

import pytest

from marketpulse.errors import ParameterError
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.owners import NEVER, owner_at
from marketpulse.failover.rules import due_switches, hand_over, move_time
from marketpulse.failover.state import (
    ForeignSelection,
    SelectionState,
    add_symbol,
    known_symbols,
    make_room,
    new_state,
    state_from_bytes,
    state_to_bytes,
    stretches_of,
)

CONFIG = FailoverConfig((Group(("x", "y")),))


def filled() -> SelectionState:
    """A hundred symbols; the last one has gone to and fro often."""
    state = new_state(CONFIG)
    for number in range(100):
        assert add_symbol(state, CONFIG, f"S{number}", "y") == number
    for turn in range(9):
        make_room(state)
        state.owners.reach_ns[99] = 10 * turn
        hand_over(state.owners, 99, 1 - turn % 2, 10 * turn + 1)
    state.log_ns, state.hold_from = 77, 5
    return state


def test_a_state_comes_back_as_it_was_saved_and_bytes_of_something_else_are_refused() -> None:
    state = filled()
    again = state_from_bytes(state_to_bytes(state), CONFIG)
    assert (again.sources, again.symbols.texts()) == (state.sources, state.symbols.texts())
    assert (again.log_ns, again.hold_from) == (77, 5)
    for name, table in known_symbols(state)._asdict().items():
        assert (getattr(again.owners, name) == table).all(), name
    assert stretches_of(again.owners, 99, again.sources)[-2:] == [(71, "x"), (81, "y")]
    assert stretches_of(again.owners, 0, again.sources) == [(NEVER, "x")]
    assert add_symbol(again, CONFIG, "new", "x") == 100
    with pytest.raises(ForeignSelection):
        state_from_bytes(b"MPS7 and more", CONFIG)


def test_a_source_that_is_grouped_later_stands_by_and_one_that_is_not_any_more_makes_way() -> None:
    state = filled()
    changed = FailoverConfig((Group(("z", "y")),))
    again = state_from_bytes(state_to_bytes(state), changed)
    assert (again.sources, again.owners.rank[0].tolist()) == (["x", "y", "z"], [-1, 1, 0])
    again.owners.last_ns[0, 1] = 0
    move_time(again.owners, changed, 10**9)
    (switch,) = due_switches(known_symbols(again), changed)
    assert (again.sources[switch.to], switch.reason) == ("y", "no candidate")


def test_each_time_has_one_owner_and_what_was_before_all_nobody() -> None:
    owners = filled().owners
    assert [owner_at(owners, 99, time) for time in (-5, 0, 1, 10, 11, 80, 81, 10**9)] == [0, 0, 1, 1, 0, 0, 1, 1]
    owners.begins_ns[99, 0] = -3
    assert owner_at(owners, 99, -4) == -1


STOCKS, PAIRS = Group(("alpaca", "finnhub")), Group(("coinbase", "binance"))
NAMED = Group(("polygon", "alpaca"), frozenset({"AAPL"}))


def test_a_symbol_is_of_the_group_that_names_it_else_of_that_of_its_source() -> None:
    config = FailoverConfig((STOCKS, PAIRS, NAMED))
    assert config.group_of("AAPL", "alpaca") is NAMED
    assert config.group_of("AAPL", "finnhub") is NAMED
    assert config.group_of("MSFT", "finnhub") is STOCKS
    assert config.group_of("BTC-USD", "binance") is PAIRS
    assert config.group_of("MSFT", "polygon") is STOCKS
    assert FailoverConfig((NAMED,)).group_of("MSFT", "alpaca") is None
    assert config.sources() == ["alpaca", "finnhub", "coinbase", "binance", "polygon"]


@pytest.mark.parametrize(("groups", "said"), [
    ((Group(("alpaca",)),), "two or more sources"),
    ((Group(("alpaca", "alpaca")),), "each once"),
    ((NAMED, Group(("a", "b"), frozenset({"AAPL"}))), "AAPL is a symbol of two groups"),
    ((STOCKS, Group(("alpaca", "binance"))), "alpaca is in two groups"),
])  # fmt: skip
def test_groups_that_contradict_each_other_are_refused(groups: tuple[Group, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        FailoverConfig(groups)
