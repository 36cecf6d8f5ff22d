"""What the views mean."""

from marketpulse.query.meanings import MEANINGS
from marketpulse.query.views import VIEWS


def test_every_view_has_a_meaning() -> None:
    assert set(MEANINGS) == set(VIEWS)
