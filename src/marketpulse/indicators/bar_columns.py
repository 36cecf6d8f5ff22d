"""Which column of a kernel's `bars` array (n, 10) holds what.

Prices are in quote currency, volume and sizes in units of the instrument. NOTIONAL is Σ price·size of the bar's
trades; for bars of a source that gives no vwap it is the typical price (high + low + close) / 3 × volume.
BID to ASK_SIZE are of the quote that prevails at the bar's close (docs/semantics.md, 17), NaN where none does.
"""

OPEN = 0
HIGH = 1
LOW = 2
CLOSE = 3
VOLUME = 4
NOTIONAL = 5
BID = 6
BID_SIZE = 7
ASK = 8
ASK_SIZE = 9

WIDTH = 10
NAMES = ("open", "high", "low", "close", "volume", "notional", "bid", "bid_size", "ask", "ask_size")
OF_QUOTE = frozenset(NAMES[BID:])
