"""Asking vendors by REST: one polite client that all of them share.

    client = RestClient("coinbase", "https://api.exchange.coinbase.com", Rate(10, 1.0, burst=5))
    answer = client.get("/products/BTC-USD/trades", {"limit": "1000"}, patience_s=60)   # .body .headers .received_ns

Raises TryLater (a Retryable that says in how many seconds), WrongKey (a Fatal), Refused (this question is wrong).
"""

from marketpulse.errors import WrongKey
from marketpulse.sources.rest.answer import Answer, Judge, Judgement, Taken
from marketpulse.sources.rest.backoff import Backoff
from marketpulse.sources.rest.budget import Allowance, Budget, budget_file
from marketpulse.sources.rest.client import RestClient
from marketpulse.sources.rest.faults import Refused, TryLater
from marketpulse.sources.rest.limits import Rate
from marketpulse.sources.rest.secret import Key, Veil

__all__ = [
    "Allowance",
    "Answer",
    "Backoff",
    "Budget",
    "Judge",
    "Judgement",
    "Key",
    "Rate",
    "Refused",
    "RestClient",
    "Taken",
    "TryLater",
    "Veil",
    "WrongKey",
    "budget_file",
]
