from marketpulse.sources.rest.question import Question


def test_an_answer_is_whole_unless_it_is_said_otherwise() -> None:
    assert not Question("/query", {"symbol": "AAPL"}).truncated
