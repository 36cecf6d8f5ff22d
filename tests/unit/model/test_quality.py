from marketpulse.model import quality
from marketpulse.model.market import REASONS


def test_every_rule_has_a_severity_and_is_a_reason_for_a_dead_letter() -> None:
    assert set(quality.DEFAULT_SEVERITY) == set(quality.RULES)
    assert set(quality.DEFAULT_SEVERITY.values()) <= set(quality.SEVERITIES)
    assert set(quality.RULES) <= set(REASONS)


def test_the_numbers_of_the_rules_and_limits_are_their_places() -> None:
    assert list(quality.RULES)[quality.SPLIT] == "split"
    assert list(quality.RULES)[quality.OUT_OF_HOURS] == "out_of_session"
    assert list(quality.DEFAULT_LIMITS)[quality.DIVIDEND_MAX] == "dividend_max"
    assert list(quality.DEFAULT_LIMITS)[quality.VOLUME_FACTOR] == "volume_factor"


def test_what_is_never_dropped_is_a_rule() -> None:
    assert set(quality.RULES) >= quality.NEVER_DROPPED
    assert not any(quality.DEFAULT_SEVERITY[rule] == "drop" for rule in quality.RULES)
