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
