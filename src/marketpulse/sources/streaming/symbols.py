"""Names of pairs: ours are BTC-USD, base and quote currency with a dash; Binance joins them, BTCUSDT.

And who offers what: which vendor feeds a symbol that names none.
"""

import re
from collections.abc import Iterable

from marketpulse.errors import ParameterError

# The longer first: USDT before any name that ends like it.
QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "USD", "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "PLN",
          "ARS", "MXN", "ZAR", "UAH", "RON", "CZK", "IDR", "COP", "BTC", "ETH", "BNB", "SOL", "XRP", "DOGE", "TRX",
          "DAI")  # fmt: skip
"""Quote currencies of spot markets, to cut a joined pair in two."""

_SAME = {"XBT": "BTC", "XDG": "DOGE"}
"""Codes after ISO 4217's rule for what is no state's money, as some exchanges write them."""

_AT_COINBASE = frozenset({"USD", "EUR", "GBP", "USDC", "BTC", "ETH"})
_PAIR = re.compile(r"[A-Z0-9]{1,20}([-/_][A-Z0-9]{2,10})?")
VENDORS = ("coinbase", "binance")


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


def by_vendor(wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Vendor -> our symbols, from words such as `BTC-USD`, `BTC-USD,ETH-USD` and `binance:BTCUSDT`.

    A symbol without a vendor goes to Coinbase if it is quoted in what Coinbase trades in, else to
    Binance. Raises ParameterError.
    """
    found: dict[str, dict[str, None]] = {}
    for word in (part.strip() for words in wanted for part in words.split(",")):
        if not word:
            continue
        vendor, colon, symbol = word.rpartition(":")
        plain = dashed(symbol)
        vendor = vendor.lower() if colon else _offering(plain)
        if vendor not in VENDORS:
            raise ParameterError(f"there is no vendor {vendor!r} in {word!r}: write {' or '.join(VENDORS)}")
        found.setdefault(vendor, {})[plain] = None
    if not found:
        raise ParameterError("no symbol was named: write one such as BTC-USD")
    return {vendor: tuple(symbols) for vendor, symbols in found.items()}


def _offering(symbol: str) -> str:
    return "coinbase" if symbol.rpartition("-")[2] in _AT_COINBASE else "binance"
