import pytest

from marketpulse.app.cli.columns import Record, mapping_of, parse_columns
from marketpulse.errors import ParameterError
from marketpulse.settings import Mapping


def test_pairs_map_our_fields_to_their_columns() -> None:
    assert parse_columns(["price=last", "size = qty", "symbol=a=b"]) == {
        "price": "last",
        "size": "qty",
        "symbol": "a=b",
    }


@pytest.mark.parametrize("pair", ["price", "=last", "price="])
def test_half_a_pair_is_refused(pair: str) -> None:
    with pytest.raises(ParameterError, match="price=last"):
        parse_columns([pair])


def test_only_what_was_given_enters_the_mapping() -> None:
    assert mapping_of(None, None, None, None, timeframe=None) == {}
    found = mapping_of(Record.TRADE, "AAPL", None, ["price=last"], venue="XNYS")
    assert Mapping(**found) == Mapping(record="trade", symbol="AAPL", columns={"price": "last"}, venue="XNYS")
