import pytest

from marketpulse.web.forms import accepted

OFFERED = {"json": "application/json", "csv": "text/csv; charset=utf-8"}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "json"), ("text/csv", "csv"), ("text/*", "csv"), ("TEXT/CSV", "csv"), ("text/html", None), ("", None),
        ("application/json;q=0.2, text/csv;q=0.9", "csv"), ("text/csv;q=0, */*", "json"), ("text/csv, application/json", "csv"),
        ("text/csv;q=9, application/json", "csv"),
    ],
)  # fmt: skip
def test_the_form_that_is_liked_best_of_those_offered(accept: str, form: str | None) -> None:
    assert accepted(accept, OFFERED) == form
