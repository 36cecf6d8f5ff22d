"""Which column of a kernel's `bars` array (n, 6) holds what.

Prices are in quote currency, volume in units of the instrument. NOTIONAL is Σ price·size of the bar's
trades; for bars of a source that gives no vwap it is the typical price (high + low + close) / 3 × volume.
"""

OPEN = 0
HIGH = 1
LOW = 2
CLOSE = 3
VOLUME = 4
NOTIONAL = 5

WIDTH = 6
NAMES = ("open", "high", "low", "close", "volume", "notional")
