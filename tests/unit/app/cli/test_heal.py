"""`heal SYMBOL FROM TO` beside its options."""

import pytest

from marketpulse.app.cli.heal import _positional
from marketpulse.errors import ParameterError


def test_words_stand_for_the_options() -> None:
    assert _positional(["A", "2026-01-05", "2026-01-06"], None, None, None) == (
        ["A"], "2026-01-05", "2026-01-06",
    )  # fmt: skip
    assert _positional(["A"], None, "2026-01-05", None) == (["A"], "2026-01-05", None)
    assert _positional([], ["A", "B"], None, None) == (["A", "B"], None, None)


def test_what_is_said_twice_or_too_much_is_refused() -> None:
    with pytest.raises(ParameterError, match="--symbol is given twice"):
        _positional(["A"], ["B"], None, None)
    with pytest.raises(ParameterError, match="SYMBOL FROM TO"):
        _positional(["A", "1", "2", "3"], None, None, None)
