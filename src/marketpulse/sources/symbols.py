"""One spelling for a symbol, whoever says it: a share class is written `BRK.B` here, as the tape does.

Vendors write BRK-B and BRK/B for it. Other marks stay as they are: `VOD.L` is London to Yahoo, `BTC-USD` a pair,
`^GSPC` an index.
"""

import re

_SHARE_CLASS = re.compile(r"([A-Z]{1,5})[.\-/ ]([A-E])")
"""Letters that name classes. L, F, T and V after a dot are places to vendors (London, Frankfurt, Tokyo, Toronto)."""


def ours(symbol: str) -> str:
    """`brk-b`, `BRK/B`, `BRK.B` -> `BRK.B`; anything else in upper case, without blanks around it."""
    plain = symbol.strip().upper()
    match = _SHARE_CLASS.fullmatch(plain)
    return f"{match[1]}.{match[2]}" if match else plain


def theirs(symbol: str, mark: str) -> str:
    """Our symbol as a vendor writes it, whose mark before a share's class is `mark`."""
    match = _SHARE_CLASS.fullmatch(ours(symbol))
    return f"{match[1]}{mark}{match[2]}" if match else ours(symbol)
