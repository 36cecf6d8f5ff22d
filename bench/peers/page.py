"""bench/results/peers.md: the table of what was measured and promised."""

from typing import Any

from peers.arithmetic import VALUES
from peers.peer_list import PEERS, Peer

HEAD = """# Peers on the same work

Written by `make bench-peers ARGS=--write-docs` from what `bench/results/peers_*.json` holds; one row a peer.

The work: JSON trades of 500 symbols are read from a topic of 12 partitions, and each trade gives a row with eight
indicators of its symbol: sma(20), ema(12), ema(26), rsi(14), macd(12,26,9), bbands(20,2), roc(10) and vwap. Each peer runs
alone, in one process where it lets us choose, in an environment of its own, beside the same broker on the same machine.
Rows per second count from the first result row to the last, or to the end of a minute. A loop of the C client's `consume()`
that looks at nothing is timed right before and after each; the ratio is to that loop, and what to compare between machines.
The last values of 25 symbols, or of those that came in time, are compared with ours, to 1e-9 of the value: who computes
something else is not listed.

Rates of different promises are not the same good. `yes` is as run here; `can` is what the peer offers by a setting or
connector that is not on here, and would cost it something; ours runs with all of its promises on, and writes its rows to Kafka.
"""

FOOT = """
Peers whose arithmetic is by hand run the same plain Python (`bench/peers/arithmetic.py`); it gives a symbol's first 34 trades
no values, where ours gives each indicator as soon as it is known.
Where rows come in batches, the first batch is not timed; but Deephaven reads on while its tables are made, and is timed
with that, from before them, as is every row of it.
"""


def page(figures: dict[str, dict[str, Any]]) -> str:
    """`figures`: a peer's name -> its row of results; a peer without one is left out."""
    lines = [
        HEAD,
        "| peer | version | trades/s | ratio to `consume()` | exactly once | revises late trades | restart without loss | receipts | what it does not do here |",
        "| --- | --- | ---: | ---: | --- | --- | --- | --- | --- |",
    ]
    measured = [peer for peer in PEERS if peer.name in figures]
    measured.sort(key=lambda peer: -figures[peer.name]["ratio"])
    lines += [_line(peer, figures[peer.name]) for peer in measured]
    others = [peer.title for peer in PEERS if peer.name not in figures]
    if others:
        lines += ["", f"Not in this run: {'; '.join(others)}."]
    machines = sorted({figure["machine"] for figure in figures.values()})
    commands = sorted({figure["command"] for figure in figures.values()})
    lines += [FOOT, "Measured on: " + "; ".join(machines) + ".", "", "Commands:", ""]
    lines += [f"- `{command}`" for command in commands]
    return "\n".join(lines) + "\n"


def _line(peer: Peer, figure: dict[str, Any]) -> str:
    said = peer.promises
    missing = [name for name in VALUES if peer.values and name not in peer.values]
    not_done = f"no {', '.join(missing)}; {said.not_done}" if missing else said.not_done
    cells = (
        peer.title, peer.version, f"{figure['value']:,}", f"{figure['ratio']:.3f}", said.exactly_once,
        said.revises_late_trades, said.restart_without_loss, said.receipts, not_done,
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"
