"""Who feeds a symbol, when another takes over, and what comes through; which group a symbol is of, what is saved, and
what a changed configuration makes of it."""

from typing import Any

import pytest

from marketpulse.errors import ParameterError
from marketpulse.failover import state as saved
from marketpulse.failover.config import FailoverConfig, Group
from marketpulse.failover.owners import NEVER, owner_at
from marketpulse.failover.rules import due_switches, hand_over, move_time
from marketpulse.failover.state import stretches_of
from refused import assert_raises
from selecting_rows import CONFIG, Selecting, at, goodbye, heartbeat, heartbeats, trade


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["trade_id"] for row in rows if row["type"] == "trade"]


def started(config: FailoverConfig = CONFIG) -> Selecting:
    """Both sources bring the trades of ten seconds; x, the preferred one, feeds the symbol."""
    selecting = Selecting(config)
    for second in range(10):
        rows = [trade(s, second, f"{s}{second}") for s in "xy"] + [heartbeat(s, second) for s in "xy"]
        found = selecting.feed(*rows)
        assert ids(found) == [f"x{second}"]
        assert [row["source"] for row in found if row["type"] == "heartbeat"] == ["x", "y"]
    return selecting


def test_the_preferred_source_alone_feeds_a_symbol_until_it_is_lost_quiet_or_gone_and_then_the_next() -> None:
    selecting = started()
    missed = [row for s in range(10, 15) for row in (trade("y", s, f"y{s}"), heartbeat("y", s))]
    assert ids(selecting.feed(*missed)) == []
    found = selecting.feed(trade("y", 14.5, "y14.5"), heartbeat("y", 15))
    assert [row["type"] for row in found] == [*["trade"] * 6, "switch", "heartbeat"]
    assert ids(found) == ["y10", "y11", "y12", "y13", "y14", "y14.5"]
    switch = found[-2]
    assert (switch["from"], switch["source"], switch["reason"]) == ("x", "y", "lost")
    assert (switch["event_time_ns"], switch["rows"]) == (at(9) + 1, 6)
    assert ids(selecting.feed(trade("y", 16, "y16"))) == ["y16"]
    selecting = started()
    rows = [r for s in range(10, 42) for r in (heartbeat("x", s), trade("y", s, f"y{s}"), heartbeat("y", s))]
    assert selecting.switches(*rows[:-3]) == []
    assert selecting.switches(*rows[-3:]) == [("x", "y", 9 + 1e-9, "quiet")]
    found = started().feed(trade("y", 10, "y10"), goodbye("x", 10.1))
    assert ([row["type"] for row in found], found[1]["reason"]) == (["trade", "switch", "goodbye"], "goodbye")


def test_a_quiet_night_or_a_silence_of_all_is_no_failure_and_what_only_one_brings_is_its_own() -> None:
    selecting = started()
    assert selecting.switches(*heartbeats("xy", 10, 10_000, 5)) == []
    selecting.feed(trade("y", 10_000, "y"), heartbeat("y", 10_000.5), trade("x", 10_001, "x"))
    assert selecting.switches(*heartbeats("xy", 10_001, 10_100, 1)) == []
    selecting = started()  # then the broker is away for an hour, and y's records are the first behind it
    assert selecting.switches(heartbeat("y", 3_610), trade("y", 3_610, "y"), heartbeat("y", 3_611)) == []
    assert ids(selecting.feed(trade("x", 3_610, "x"))) == ["x"]
    selecting = started()
    rows = [r for s in range(10, 45) for r in (trade("y", s, f"b{s}", "B"), heartbeat("x", s), heartbeat("y", s))]
    found = selecting.feed(*rows)
    assert ids(found) == [f"b{s}" for s in range(10, 45)]
    assert [r["symbol"] for r in found if r["type"] == "switch"] == ["B"]
    selecting = Selecting(FailoverConfig((Group(("x", "y"), frozenset({"A"})),)))
    found = selecting.feed(trade("y", 1, "yB", "B"), trade("w", 1, "wA"), trade("x", 1, "xA"), trade("y", 1, "yA"))
    assert ids(found) == ["yB", "wA", "xA"]


def test_the_old_owners_rows_of_its_own_time_come_through_and_sound_for_long_it_is_back_at_a_whole_second() -> None:
    selecting = started()
    assert len(selecting.switches(trade("y", 10, "y10"), *heartbeats("y", 10, 17))) == 1
    assert ids(selecting.feed(trade("x", 8.5, "x8.5"), trade("y", 8.5, "y8.5"), trade("x", 10.5, "x10.5"))) == ["x8.5"]
    found = []
    for second in range(17, 320):
        rows = [trade("y", second + 0.3, f"y{second}"), trade("x", second + 0.4, f"x{second}")]
        found += selecting.feed(*rows, heartbeat("x", second + 0.5), heartbeat("y", second + 0.5))
    (switch,) = [row for row in found if row["type"] == "switch"]
    assert (switch["source"], switch["reason"], switch["event_time_ns"] % 10**9) == ("x", "back", 0)
    seam = (switch["event_time_ns"] - at(0)) // 10**9
    assert 317 <= seam <= 319
    assert ids(found) == [f"{'y' if second < seam else 'x'}{second}" for second in range(17, 320)]


def test_a_preferred_one_that_fails_again_must_be_sound_anew_and_of_two_that_stand_by_it_takes_over() -> None:
    selecting = started()
    selecting.feed(trade("y", 10, "y10"), *heartbeats("y", 10, 17))
    selecting.feed(trade("x", 17, "x17"), trade("y", 17, "y17"), *heartbeats("xy", 17, 200), *heartbeats("y", 200, 210))
    back = [trade("x", 210, "x210"), trade("y", 210, "y210"), *heartbeats("xy", 210, 509)]
    assert selecting.switches(*back) == []
    assert [s[3] for s in selecting.switches(*heartbeats("xy", 509, 512))] == ["back"]
    selecting = Selecting(FailoverConfig((Group(("x", "y", "z")),)))
    selecting.feed(*(trade(s, 1, f"{s}1") for s in "xyz"), *heartbeats("xyz", 1, 2))
    assert [s[1] for s in selecting.switches(*heartbeats("yz", 2, 9))] == ["y"]
    assert [s[1] for s in selecting.switches(*heartbeats("z", 9, 17))] == ["z"]


def test_a_gap_goes_with_its_source_and_a_correction_with_any_that_has_fed_the_symbol() -> None:
    def told(kind: str, source: str, seconds: float, **more: Any) -> dict[str, Any]:
        return {"type": kind, "symbol": "A", "source": source, "event_time_ns": at(seconds), **more, "log": seconds}

    def gap(source: str, seconds: float) -> dict[str, Any]:
        return told("gap", source, seconds, from_ns=at(seconds - 1), to_ns=at(seconds))

    def cancel(source: str, seconds: float) -> dict[str, Any]:
        return told("cancel", source, seconds, trade_id="t")

    selecting = started()
    assert [r["source"] for r in selecting.feed(gap("x", 8), gap("y", 8), cancel("y", 8), cancel("x", 8))] == ["x", "x"]
    selecting.feed(trade("y", 10, "y10"), *heartbeats("y", 10, 17))
    passed = selecting.feed(gap("x", 16), gap("y", 16), gap("x", 9), cancel("x", 16))
    assert [r["source"] for r in passed] == ["y", "x", "x"]


def test_a_person_chooses_and_gives_back_and_rows_that_were_let_go_are_told_with_the_switch() -> None:
    def choose(to: str | None, seconds: float) -> dict[str, Any]:
        return {"type": "control", "change": {"action": "switch", "symbol": "A", "to": to}, "log": seconds}

    selecting = started()
    assert selecting.switches(choose("y", 10)) == [("x", "y", 10, "by hand")]
    rows = [r for s in range(10, 400) for r in (trade("x", s, f"x{s}"), *heartbeats("xy", s, s + 1))]
    assert selecting.switches(*rows) == []  # y brings nothing, and stays
    assert [s[1] for s in selecting.switches(choose(None, 400), heartbeat("x", 400))] == ["x"]
    assert selecting.switches(choose("nobody", 401), choose("y", 402)) == [("x", "y", 400, "by hand")]
    selecting = Selecting(FailoverConfig((Group(("x", "y")),), hold_rows=1_000))
    selecting.feed(trade("x", 0, "x0"), heartbeat("x", 0), heartbeat("y", 0))
    rows = [trade("y", 1 + i / 1_000, f"y{i}") for i in range(3_000)]
    selecting.feed(*rows, heartbeat("y", 4))
    (switch,) = [r for r in selecting.feed(*heartbeats("y", 4.5, 12)) if r["type"] == "switch"]
    assert switch["rows"] == 1_000
    assert (switch["missing_from_ns"], switch["missing_to_ns"]) == (at(0) + 1, rows[1_999]["event_time_ns"])
    assert selecting.selection.counts.fates["let go"] == 2_000


def test_a_kill_between_saves_changes_nothing() -> None:
    selecting = started()
    selecting.feed(trade("y", 10, "y10"), heartbeat("y", 10))
    selecting.save()
    selecting.feed(trade("y", 11, "y11"), heartbeat("y", 12))
    selecting.kill()
    assert ids(selecting.feed(trade("y", 14, "y14"), *heartbeats("y", 15, 19))) == ["y10", "y11", "y14"]
    selecting.kill()  # behind the switch, with a state from before it
    assert ids(selecting.feed(trade("y", 17, "y17"), trade("x", 17, "x17"))) == ["y17"]
    (begins, first), (seam, second) = stretches_of(selecting.selection.state.owners, 0, ["x", "y"])
    assert (first, seam, second) == ("x", at(9) + 1, "y")
    assert begins < seam


@pytest.mark.parametrize("keep_s", [1.0, 1e6])
def test_stretches_that_ended_long_ago_are_forgotten(keep_s: float) -> None:
    selecting = Selecting(FailoverConfig((Group(("x", "y")),), back_after_ns=0, keep_ns=round(keep_s * 10**9)))
    for turn in range(20):
        begin = 20.0 * turn
        selecting.feed(*(trade(s, begin, f"{s}{turn}") for s in "xy"), *heartbeats("xy", begin, begin + 1))
        selecting.feed(*(trade(s, begin + 2, f"{s}{turn}.") for s in "xy"), *heartbeats("xy", begin + 2, begin + 3))
        selecting.feed(trade("y", begin + 3, f"y{turn}+"), *heartbeats("y", begin + 3, begin + 12))
    assert selecting.selection.state.owners.stretches[0] == (2 if keep_s == 1 else 40)


PAIR = FailoverConfig((Group(("x", "y")),))


def filled() -> saved.SelectionState:
    """A hundred symbols; the last one has gone to and fro often."""
    state = saved.new_state(PAIR)
    for number in range(100):
        assert saved.add_symbol(state, PAIR, f"S{number}", "y") == number
    for turn in range(9):
        saved.make_room(state)
        state.owners.reach_ns[99] = 10 * turn
        hand_over(state.owners, 99, 1 - turn % 2, 10 * turn + 1)
    state.log_ns, state.hold_from = 77, 5
    return state


def test_a_state_comes_back_as_saved_and_a_symbol_is_of_the_group_that_names_it_else_of_its_sources() -> None:
    state = filled()
    again = saved.state_from_bytes(saved.state_to_bytes(state), PAIR)
    assert (again.sources, again.symbols.texts()) == (state.sources, state.symbols.texts())
    assert (again.log_ns, again.hold_from) == (77, 5)
    for name, table in saved.known_symbols(state)._asdict().items():
        assert (getattr(again.owners, name) == table).all(), name
    assert saved.stretches_of(again.owners, 99, again.sources)[-2:] == [(71, "x"), (81, "y")]
    assert saved.stretches_of(again.owners, 0, again.sources) == [(NEVER, "x")]
    assert saved.add_symbol(again, PAIR, "new", "x") == 100
    assert_raises(saved.ForeignSelection, "", saved.state_from_bytes, b"MPS7 and more", PAIR)
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
    assert_raises(ParameterError, said, FailoverConfig, groups)
