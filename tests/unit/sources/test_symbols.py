import pytest

from marketpulse.sources.symbols import ours, theirs


@pytest.mark.parametrize("written", ["BRK.B", "BRK-B", "BRK/B", "brk.b", " BRK B "])
def test_a_share_class_has_one_spelling(written: str) -> None:
    assert ours(written) == "BRK.B"


@pytest.mark.parametrize(
    ("symbol", "mark", "written"),
    [("BRK.B", "-", "BRK-B"), ("BRK/B", "-", "BRK-B"), ("BF-A", ".", "BF.A"), ("AAPL", "-", "AAPL")],
)
def test_each_vendor_gets_its_own(symbol: str, mark: str, written: str) -> None:
    assert theirs(symbol, mark) == written


@pytest.mark.parametrize(
    "other", ["VOD.L", "RY.TO", "BTC-USD", "^GSPC", "7203.T", "EURUSD=X", "BAC-PL", "SHOP.V", "TSCO.LON"]
)
def test_what_is_no_share_class_stays(other: str) -> None:
    assert ours(other) == other
    assert theirs(other, "-") == other
