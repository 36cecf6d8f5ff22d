"""What is said of what is refused."""

from collections.abc import Callable
from typing import Any

import pytest

from marketpulse.errors import ParameterError


def refusal(made: Callable[..., Any], *given: Any, **more: Any) -> str:
    """The text of the ParameterError that this raises."""
    with pytest.raises(ParameterError) as caught:
        made(*given, **more)
    return str(caught.value)


def assert_raises(error: type[BaseException], said: str, made: Callable[..., Any], *given: Any, **more: Any) -> None:
    """Raises AssertionError unless the call raises this error with a text in which the regular expression is found."""
    with pytest.raises(error, match=said or None):
        made(*given, **more)
