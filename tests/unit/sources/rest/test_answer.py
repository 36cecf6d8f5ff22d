import pytest

from marketpulse.sources.rest.answer import Taken, by_the_status, judge_status


@pytest.mark.parametrize(
    ("status", "is_json", "taken"),
    [(200, True, "good"), (204, False, "failed"), (200, False, "failed"), (301, False, "refused"), (400, True, "refused"),
     (401, True, "key"), (401, False, "key"), (403, True, "key"), (403, False, "failed"), (404, True, "refused"),
     (408, True, "failed"), (418, True, "limit"), (429, False, "limit"), (500, True, "failed"), (503, False, "failed")],
)  # fmt: skip
def test_a_status_is_taken_as(status: int, is_json: bool, taken: str) -> None:
    assert judge_status(status, is_json).taken == Taken(taken)


def test_without_a_vendors_own_reading_the_status_decides() -> None:
    assert by_the_status(200, {}) is None
