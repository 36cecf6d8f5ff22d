"""Which group a symbol is of, what is saved, and what a changed configuration makes of it."""

import pytest

from marketpulse.errors import ParameterError
from marketpulse.failover import state as saved
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.owners import NEVER, owner_at
from marketpulse.failover.rules import due_switches, hand_over, move_time

CONFIG = FailoverConfig((Group(("x", "y")),))


def filled() -> saved.SelectionState:
    """A hundred symbols; the last one has gone to and fro often."""
    state = saved.new_state(CONFIG)
    for number in range(100):
        assert saved.add_symbol(state, CONFIG, f"S{number}", "y") == number
    for turn in range(9):
        saved.make_room(state)
        state.owners.reach_ns[99] = 10 * turn
        hand_over(state.owners, 99, 1 - turn % 2, 10 * turn + 1)
    state.log_ns, state.hold_from = 77, 5
    return state


def test_a_state_comes_back_as_saved_and_a_symbol_is_of_the_group_that_names_it_else_of_its_sources() -> None:
    state = filled()
    again = saved.state_from_bytes(saved.state_to_bytes(state), CONFIG)
    assert (again.sources, again.symbols.texts()) == (state.sources, state.symbols.texts())
    assert (again.log_ns, again.hold_from) == (77, 5)
    for name, table in saved.known_symbols(state)._asdict().items():
        assert (getattr(again.owners, name) == table).all(), name
    assert saved.stretches_of(again.owners, 99, again.sources)[-2:] == [(71, "x"), (81, "y")]
    assert saved.stretches_of(again.owners, 0, again.sources) == [(NEVER, "x")]
    assert saved.add_symbol(again, CONFIG, "new", "x") == 100
    with pytest.raises(saved.ForeignSelection):
        saved.state_from_bytes(b"MPS7 and more", CONFIG)
    config = FailoverConfig((STOCKS, PAIRS, NAMED))
    assert config.group_of("AAPL", "alpaca") is NAMED
    assert config.group_of("AAPL", "finnhub") is NAMED
    assert config.group_of("MSFT", "finnhub") is STOCKS
    assert config.group_of("BTC-USD", "binance") is PAIRS
    assert config.group_of("MSFT", "polygon") is STOCKS
    assert FailoverConfig((NAMED,)).group_of("MSFT", "alpaca") is None
    assert config.sources() == ["alpaca", "finnhub", "coinbase", "binance", "polygon"]


def test_a_source_grouped_later_stands_by_one_taken_out_makes_way_and_each_time_has_one_owner() -> None:
    state = filled()
    changed = FailoverConfig((Group(("z", "y")),))
    again = saved.state_from_bytes(saved.state_to_bytes(state), changed)
    assert (again.sources, again.owners.rank[0].tolist()) == (["x", "y", "z"], [-1, 1, 0])
    again.owners.last_ns[0, 1] = 0
    move_time(again.owners, changed, 10**9)
    (switch,) = due_switches(saved.known_symbols(again), changed)
    assert (again.sources[switch.to], switch.reason) == ("y", "no candidate")
    owners = filled().owners
    assert [owner_at(owners, 99, time) for time in (-5, 0, 1, 10, 11, 80, 81, 10**9)] == [0, 0, 1, 1, 0, 0, 1, 1]
    owners.begins_ns[99, 0] = -3
    assert owner_at(owners, 99, -4) == -1


STOCKS, PAIRS = Group(("alpaca", "finnhub")), Group(("coinbase", "binance"))
NAMED = Group(("polygon", "alpaca"), frozenset({"AAPL"}))


@pytest.mark.parametrize(("groups", "said"), [
    ((Group(("alpaca",)),), "two or more sources"),
    ((Group(("alpaca", "alpaca")),), "each once"),
    ((NAMED, Group(("a", "b"), frozenset({"AAPL"}))), "AAPL is a symbol of two groups"),
    ((STOCKS, Group(("alpaca", "binance"))), "alpaca is in two groups"),
])  # fmt: skip
def test_groups_that_contradict_each_other_are_refused(groups: tuple[Group, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        FailoverConfig(groups)
