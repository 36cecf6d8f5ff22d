import io
from pathlib import Path

from marketpulse.app.console import Opening, PlainScreen, Status, farewell, health_parts, latency
from marketpulse.app.supervisor import Event

HEALTH = {
    "events_per_s": 1212.4, "bars_per_s": 31.0, "latency_p50_ms": 6.14, "latency_p99_ms": 18.26, "lag_records": 0,
    "dead_letters": 2, "broker_reachable": True,
}  # fmt: skip
OPENING = Opening(
    url="http://127.0.0.1:8080/", bootstrap_servers="127.0.0.1:9092 (embedded)", topics=["market", "bars"],
    sources=["daily", "simulate"], data_dir=Path("/data"), default_sources=True,
)  # fmt: skip


def test_the_status_line_reads_as_a_person_would_say_it() -> None:
    line = Status(starting=[], troubled=[], restarts=0, health=HEALTH).text()
    assert line == "1,212 events/s · 31 bars/s · 6.1 ms p50, 18 ms p99 · lag 0 · dead letters 2"


def test_latencies_are_written_in_the_unit_that_reads_well() -> None:
    assert [latency(ms) for ms in (0.04, 9.96, 12.4, 999, 2_449)] == ["0.0 ms", "10.0 ms", "12 ms", "999 ms", "2.4 s"]


def test_what_is_in_trouble_comes_first() -> None:
    line = Status(starting=["serve"], troubled=["sink-lake"], restarts=3, health=None).text()
    assert line == "in trouble: sink-lake · starting: serve · restarts 3"


def test_figures_that_are_not_known_yet_are_left_out() -> None:
    assert health_parts({**HEALTH, "events_per_s": None, "latency_p50_ms": None, "bars_per_s": None}) == [
        "lag 0",
        "dead letters 2",
    ]
    assert health_parts({**HEALTH, "broker_reachable": False}) == ["the broker does not answer"]


def test_the_first_screen_says_what_runs_where_and_how_to_stop() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.starting(["broker", "serve"])
    screen.opened(OPENING)
    text = out.getvalue()
    for wanted in ("http://127.0.0.1:8080/", "127.0.0.1:9092", "market, bars", "/data/logs", "Ctrl-C", "bundled"):
        assert wanted in text


def test_a_fault_is_shown_with_the_childs_last_words_a_return_too_and_a_first_readiness_is_not() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.opened(OPENING)
    before = out.getvalue()
    screen.event(Event("serve", "is ready"))
    assert out.getvalue() == before
    screen.event(Event("serve", "ended with exit code 1", bad=True, details=["port 8080 is taken"]))
    assert out.getvalue() == before + "serve ended with exit code 1\n    | port 8080 is taken\n"
    screen.event(Event("serve", "is back"))
    assert out.getvalue().endswith("\nserve is back\n")


def test_off_a_terminal_the_status_is_printed_rarely() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.opened(OPENING)
    before = out.getvalue().count("\n")
    for _ in range(100):
        screen.status(Status([], [], 0, HEALTH))
    assert out.getvalue().count("\n") == before + 1


def test_the_last_line_says_where_the_data_or_the_fault_is() -> None:
    assert "change what is said above" in farewell(2, Path("/data"))
    assert "/data" in farewell(0, Path("/data"))
    assert "/data/logs" in farewell(1, Path("/data"))
