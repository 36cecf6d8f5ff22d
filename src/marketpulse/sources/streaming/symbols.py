"""Names of pairs: ours are BTC-USD, base and quote currency with a dash; Binance joins them, BTCUSDT.

And who offers what: which vendor feeds a symbol that names none.
"""

import re
from collections.abc import Iterable, Sequence

from marketpulse.errors import ParameterError
from marketpulse.sources import symbols as shares

# The longer first: USDT before any name that ends like it.
QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "USD", "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "PLN",
          "ARS", "MXN", "ZAR", "UAH", "RON", "CZK", "IDR", "COP", "BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "TRX",
          "DAI")  # fmt: skip
"""Quote currencies of spot markets, to cut a joined pair in two."""

_SAME = {"XBT": "BTC", "XDG": "DOGE"}
"""Codes after ISO 4217's rule for what is no state's money, as some exchanges write them."""

_AT_COINBASE = frozenset({"USD", "EUR", "GBP", "USDC", "BTC", "ETH"})
_PAIR = re.compile(r"[A-Z0-9]{1,20}([-/_][A-Z0-9]{2,10})?")
_STOCK = re.compile(r"[A-Z]{1,6}(\.[A-Z])?")
_SHORT = 4  # letters: a pair's name has more
VENDORS = ("coinbase", "binance")
KEYED: dict[str, tuple[str, ...]] = {
    "alpaca": ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
    "polygon": ("POLYGON_API_KEY",),
    "finnhub": ("FINNHUB_API_KEY",),
}
"""Vendors that need a key, with where it stands; a stock without a vendor goes to the first whose key is set."""


def dashed(symbol: str) -> str:
    """BTCUSDT, btc/usdt and XBT/USDT as BTC-USDT; a pair that cannot be cut stays joined. Raises ParameterError."""
    plain = _checked(symbol)
    parts = re.split(r"[-/_]", plain)
    if len(parts) == 1:
        cuts = [(plain.removesuffix(q), q) for q in (*QUOTES, *_SAME) if plain.endswith(q) and plain != q]
        parts = list(next((cut for cut in cuts if cut[0] in _SAME), cuts[0] if cuts else parts))
    return "-".join(_SAME.get(part, part) for part in parts)


def joined(symbol: str) -> str:
    """BTC-USDT as BTCUSDT. Raises ParameterError."""
    return re.sub(r"[-/_]", "", _checked(symbol))


def is_pair(symbol: str) -> bool:
    """Whether this is a pair, BTC-USD or BTC/USD, and no share's class such as BRK-B."""
    return bool(re.fullmatch(r"[A-Za-z0-9]{2,20}[-/][A-Za-z0-9]{2,10}", symbol.strip()))


def _checked(symbol: str) -> str:
    plain = symbol.strip().upper()
    if not _PAIR.fullmatch(plain):
        raise ParameterError(f"{symbol[:60]!r} is not a pair: write one such as BTC-USD or BTCUSDT")
    return plain


def by_vendor(wanted: Iterable[str], with_key: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Vendor -> our symbols, from words such as `BTC-USD`, `BTC-USD,ETH-USD`, `binance:BTCUSDT`, `AAPL` and `alpaca:AAPL`.

    A pair without a vendor goes to Coinbase if it is quoted in what Coinbase trades in, else to Binance; a stock to the
    first of KEYED that is in `with_key`. Raises ParameterError.
    """
    found: dict[str, dict[str, None]] = {}
    for word in (part.strip() for words in wanted for part in words.split(",")):
        if not word:
            continue
        named, colon, symbol = word.partition(":")
        vendor = named.strip().lower() if colon else None
        if vendor in KEYED:
            plain = _of_keyed(symbol)
        elif vendor is None and is_stock(word):
            vendor, plain = _fed_by(word, with_key), shares.ours(word)
        else:
            plain = dashed(symbol if colon else word)
            vendor = vendor or _offering(plain)
        if vendor not in (*VENDORS, *KEYED):
            raise ParameterError(
                f"there is no vendor {vendor!r} in {word!r}: write one of {', '.join((*VENDORS, *KEYED))}"
            )
        found.setdefault(vendor, {})[plain] = None
    if not found:
        raise ParameterError("no symbol was named: write one such as BTC-USD or AAPL")
    return {vendor: tuple(symbols) for vendor, symbols in found.items()}


def is_stock(word: str) -> bool:
    """Whether a word without a vendor is a stock's symbol: AAPL, BRK.B; what can be cut in two currencies is a pair."""
    plain = shares.ours(word)
    if " " in word.strip() or not _STOCK.fullmatch(plain):
        return False
    return "." in plain or len(plain) <= _SHORT or "-" not in dashed(plain)


def _of_keyed(symbol: str) -> str:
    """A symbol whose vendor is named: as it stands, but for its spelling. Raises ParameterError."""
    if is_pair(symbol):
        return dashed(symbol)
    plain = shares.ours(symbol)
    if not plain or not plain.isascii() or not plain.isprintable() or " " in symbol.strip():
        raise ParameterError(f"{symbol[:60]!r} is no symbol: write one such as AAPL or BRK.B")
    return plain


def _fed_by(symbol: str, with_key: Sequence[str]) -> str:
    vendor = next((name for name in KEYED if name in with_key), None)
    if vendor is None:
        keys = "; ".join(f"{' and '.join(names)} for {name}" for name, names in KEYED.items())
        raise ParameterError(
            f"{symbol.strip()[:60]} is a stock, and whoever feeds stocks wants a key: set {keys}, in the environment or in "
            "`.env`; or write a pair such as BTC-USD"
        )
    return vendor


def _offering(symbol: str) -> str:
    return "coinbase" if symbol.rpartition("-")[2] in _AT_COINBASE else "binance"
