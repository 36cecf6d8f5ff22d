import math

import pyarrow as pa
import pytest
from starlette.requests import Request

from marketpulse.web.rest.answers import form_of, has_already, next_link, tell, tell_rows


def request(path: str = "/api/bars", query: str = "", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": raw})


@pytest.mark.parametrize(
    ("known", "found"),
    [("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"ab"', False), ("*", True), ("a", False)],
)
def test_an_etag_is_found_as_a_whole_and_compared_weakly(known: str, found: bool) -> None:
    assert has_already(request(if_none_match=known), '"a"') is found


def test_the_form_is_the_one_that_is_wished_for_most() -> None:
    assert form_of(request(), None) == "json"
    assert form_of(request(accept="text/html, text/csv;q=0.5, */*;q=0.1"), None) == "csv"
    assert form_of(request(accept="application/vnd.apache.arrow.stream"), None) == "arrow"
    assert form_of(request(accept="text/html"), None) == "json"
    assert form_of(request(accept="text/csv"), "json") == "json"


def test_the_next_page_is_the_same_question_from_elsewhere() -> None:
    assert (
        next_link(request(query="symbol=A%26B&cursor=1&limit=5"), cursor="2")
        == "/api/bars?symbol=A%26B&cursor=2&limit=5"
    )


def test_a_missing_number_is_null_empty_and_null() -> None:
    rows = [[1.0, math.nan], [2.0, 3.5]]
    head = {"symbol": "A"}
    assert bytes(tell_rows(request(), "json", head, ["a", "b"], rows).body) == (
        b'{"symbol":"A","columns":["a","b"],"rows":[[1.0,null],[2.0,3.5]]}'
    )
    assert bytes(tell_rows(request(), "csv", head, ["a", "b"], rows).body) == b'"a","b"\n1,\n2,3.5\n'
    arrow = pa.ipc.open_stream(bytes(tell_rows(request(), "arrow", head, ["a", "b"], rows).body)).read_all()
    assert arrow.to_pydict() == {"a": [1.0, 2.0], "b": [None, 3.5]}


def test_another_answer_has_another_etag() -> None:
    one, same, other = (tell(request(), value).headers["etag"] for value in ([1], [1], [2]))
    assert one == same != other
    again = tell(request(if_none_match=one), [1])
    assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", one)


def test_times_in_csv_are_whole_where_they_are() -> None:
    def lines(*times: float) -> bytes:
        return bytes(tell_rows(request(), "csv", {}, ["open_time_ms"], [[time] for time in times]).body)

    assert lines(1_734_553_800_000.0) == b'"open_time_ms"\n1734553800000\n'
    assert lines(1.5, 2.0) == b'"open_time_ms"\n1.5\n2\n'
