"""What the views mean."""

from marketpulse.query.duck import VIEWS
from marketpulse.query.meanings import MEANINGS


def test_every_view_has_a_meaning() -> None:
    assert set(MEANINGS) == set(VIEWS)
