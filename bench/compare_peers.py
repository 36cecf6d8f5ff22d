"""What peers do on the same work: each trade of a topic becomes a row of eight indicators, beside a bare `consume()`.

    python bench/compare_peers.py [--trades 3000000] [--slow-trades 300000] [--write-docs] [peer …]

Each peer is a script of bench/peers, run in an environment of its own on the same embedded broker; slow ones
get fewer of the same trades. Its last values are compared with the rows that our engine wrote. One JSON object per
figure, which bench/results/peers_<name>.json keeps; --write-docs writes peers.md beside them from all of them.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
from catchup import bare, write
from confluent_kafka import Consumer, Producer, TopicPartition
from own_broker import own_broker
from peers.arithmetic import VALUES
from peers.environment import environment, jars_of, python_of
from peers.page import page
from peers.peer_list import PEERS, Peer
from results import FOLDER, report

from marketpulse.kafka.topics import ensure_topics
from marketpulse.model.market import COMPLETE
from marketpulse.settings import Settings

HERE = Path(__file__).resolve().parent
PAGE = HERE / "results" / "peers.md"
SYMBOLS = 500
COMPARED = tuple(f"SYM{i:03d}" for i in range(0, SYMBOLS, 20))
TOLERANCE = 1e-9
FEWEST = 300_000  # 600 a symbol: by then it no longer matters how an average began
LIMIT_S = 240  # to start, to measure for a minute, to end
GOODBYE = orjson.dumps({"type": "goodbye", "source": "bench", "run_id": "1", "watermark_ns": COMPLETE})

Rows = dict[str, list[tuple[float, ...]]]
"""A compared symbol's VALUES after each of its trades, as our engine wrote them."""


class Unlike(Exception):
    """A peer that failed, or computes something else."""


def main() -> int:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", choices=[[], *names], metavar="peer", help=", ".join(names))
    parser.add_argument("--trades", type=int, default=3_000_000)
    parser.add_argument("--slow-trades", type=int, default=300_000)
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args()
    if min(given.trades, given.slow_trades) < FEWEST or given.slow_trades > given.trades:
        parser.error(f"--trades and --slow-trades must be {FEWEST} or more, the slow ones no more than the others")
    failed = measure(given, [peer for peer in PEERS if not given.peers or peer.name in given.peers])
    if given.write_docs:
        files = {peer.name: FOLDER / f"peers_{peer.name}.json" for peer in PEERS}
        PAGE.write_text(page({name: json.loads(f.read_text())[0] for name, f in files.items() if f.is_file()}))
    return 1 if failed else 0


def measure(given: argparse.Namespace, wanted: list[Peer]) -> int:
    """Ours first, whose rows the others' are compared with. Returns how many failed."""
    failed = 0
    with own_broker() as full:
        kafka = full.kafka.model_copy(update={"topic_prefix": "slow."})
        slow = full.model_copy(update={"kafka": kafka})
        records = fill(full, given.trades)
        fill(slow, given.slow_trades)
        ours: Rows = {}
        for peer in [PEERS[0], *(peer for peer in wanted if peer is not PEERS[0])]:
            settings, count = (slow, given.slow_trades) if peer.slow else (full, given.trades)
            try:
                before = bare(full, records)
                found = run(peer, settings, count, full.data_dir / "work" / peer.name)
                beside = 2 * given.trades / (before + bare(full, records))
                if peer is PEERS[0]:
                    ours = rows_of_ours(full, given.trades)
                else:
                    compare(peer, found, ours)
                if peer in wanted:
                    keep(peer, found["timed"] / found["seconds"], beside)
            except (Unlike, subprocess.SubprocessError) as error:
                if peer is PEERS[0]:
                    raise
                print(f"{peer.name}: {error}", file=sys.stderr, flush=True)
                failed += 1
    return failed


def fill(settings: Settings, trades: int) -> int:
    """Writes the trades, and a goodbye that closes all that they leave open. Returns the records."""
    ensure_topics(settings)
    records = write(settings, trades, SYMBOLS, "json")
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for partition in range(settings.kafka.partitions):
        producer.produce(settings.topic("market"), GOODBYE, partition=partition)
    producer.flush(60)
    return records + settings.kafka.partitions


def run(peer: Peer, settings: Settings, trades: int, work: Path) -> dict[str, Any]:
    """What the peer's script says at its end: seconds, rows timed, rows in all, last values."""
    work.mkdir(parents=True)
    command = [
        python_of(peer), str(HERE / "peers" / peer.script), "--bootstrap", str(settings.kafka.bootstrap_servers),
        "--topic", settings.topic("market"), "--partitions", str(settings.kafka.partitions), "--trades", str(trades),
        "--compared", ",".join(COMPARED), "--work", str(work), "--jars", ",".join(map(str, jars_of(peer))),
    ]  # fmt: skip
    with (work / "said").open("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment(), cwd=work, start_new_session=True
        )  # fmt: skip
        try:
            out, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            out = ""
        finally:
            end(process)
        lines = [line for line in out.splitlines() if line.startswith('{"seconds"')]
        if not lines:
            said.seek(0)
            raise Unlike(f"no result (exit status {process.returncode}):\n{said.read()[-3_000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    if 2 * found["timed"] < found["rows"]:
        raise Unlike("most rows came in the first batch, which is not timed: give it more trades")
    return found


def end(process: "subprocess.Popen[str]") -> None:
    """The peer and what it started: its session is its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def rows_of_ours(settings: Settings, trades: int) -> Rows:
    """Our rows of the compared symbols. Raises Unlike where the topic does not hold one row per trade."""
    consumer = Consumer({
        "bootstrap.servers": settings.kafka.bootstrap_servers, "group.id": "ours-read", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "isolation.level": "read_committed",
    })  # fmt: skip
    topic = settings.topic("indicators")
    consumer.assign([TopicPartition(topic, p, 0) for p in range(settings.kafka.partitions)])
    kept: Rows = {symbol: [] for symbol in COMPARED}
    rows = 0
    while found := consumer.consume(50_000, 5):
        rows += len(found)
        for message in found:
            symbol = (message.key() or b"").decode()
            if symbol in kept:
                row = orjson.loads(message.value() or b"")
                kept[symbol].append(tuple(math.nan if row[v] is None else row[v] for v in VALUES))
    consumer.close()
    if rows != trades:
        raise Unlike(f"ours wrote {rows} rows for {trades} trades")
    return kept


def compare(peer: Peer, found: dict[str, Any], ours: Rows) -> None:
    """Raises Unlike where a last value of the peer is not ours."""
    names = peer.values or VALUES
    known = {symbol: last for symbol, last in found["last"].items() if last[0] >= FEWEST // SYMBOLS // 2}
    if not known:
        raise Unlike(f"{found['rows']} rows came in time, too few of each symbol to compare")
    for symbol, (count, values) in known.items():
        expected = dict(zip(VALUES, ours[symbol][count - 1], strict=True))
        for name, value in zip(names, values, strict=True):
            scale = max(abs(expected[name]), abs(expected["sma_20"]) if name.startswith("macd") else 0.0)
            if not abs(value - expected[name]) <= TOLERANCE * scale:
                raise Unlike(f"{name} of {symbol} after {count} trades is {value!r}, ours {expected[name]!r}")


def keep(peer: Peer, rate: float, beside: float) -> None:
    report(
        {
            "name": f"peers: {peer.title}", "value": round(rate), "unit": "trades/s", "ratio": round(rate / beside, 4),
            "ratio_to": f"consume(), {beside:,.0f} trades/s",
        },
        f"peers_{peer.name}",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
