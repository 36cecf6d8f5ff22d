"""The spool keeps its entries in order over restarts and kills, within its bound, and goes when it is empty."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.spool import Entry, Spool

ROOM = 1 << 30


def spool_of(tmp_path: Path, bytes_max: int = ROOM) -> Spool:
    return Spool(tmp_path / "s.sqlite", "s", bytes_max)


def entry(number: int, size: int = 10) -> Entry:
    return Entry(number, 2, 1_000 + number, bytes([number % 256]) * size)


def test_entries_come_back_in_order_from_any_number_on_and_another_process_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.sqlite"
    before = Spool(path, "s", ROOM)
    before.append([entry(5), entry(6)], "abc")
    before.append([entry(7)], "abc")
    assert [before.after(number) for number in (0, 6, 7)] == [[entry(5), entry(6), entry(7)], [entry(7)], []]
    assert (before.first, before.last, before.rows, before.bytes, before.oldest_ns) == (5, 7, 6, 30, 1_005)
    before.drop_to(5)
    before.close()
    spool = Spool(path, "s", ROOM)
    assert (spool.owner, spool.after(0)) == ("abc", [entry(6), entry(7)])
    assert (spool.first, spool.last, spool.rows, spool.bytes, spool.oldest_ns) == (6, 7, 4, 20, 1_006)


def test_the_file_goes_with_its_last_entry_and_comes_with_the_next(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.drop_to(9)
    spool.append([entry(1), entry(2)], "abc")
    spool.drop_to(2)
    assert (spool.last, spool.rows, spool.bytes, list(tmp_path.iterdir())) == (0, 0, 0, [])
    spool.append([entry(3)], "abc")
    assert spool.after(0) == [entry(3)]


def test_a_chunk_is_about_a_mebibyte_however_much_waits(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.append([entry(n, 300_000) for n in range(1, 11)], "abc")
    assert [e.number for e in spool.after(0)] == [1, 2, 3, 4]
    assert [e.number for e in spool.after(4)] == [5, 6, 7, 8]


def test_what_does_not_fit_is_refused_whole_and_fits_once_others_are_gone(tmp_path: Path) -> None:
    spool = spool_of(tmp_path, 100)
    spool.append([entry(1, 60)], "abc")
    with pytest.raises(Retryable, match=r"s\.sqlite is full .*spool_mb"):
        spool.append([entry(2, 30), entry(3, 30)], "abc")
    assert (spool.last, spool.rows) == (1, 2)
    spool.append([entry(2, 40)], "abc")
    spool.drop_to(1)
    spool.append([entry(3, 30), entry(4, 30)], "abc")
    assert [e.number for e in spool.after(0)] == [2, 3, 4]


def test_a_full_disk_refuses_and_keeps_what_there_is(tmp_path: Path) -> None:
    spool = spool_of(tmp_path)
    spool.append([entry(1)], "abc")
    assert spool._file is not None
    pages = spool._file.execute("PRAGMA page_count").fetchone()[0]
    spool._file.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(Retryable, match=r"cannot be written .*full.*make space"):
        spool.append([entry(2, 1_000_000)], "abc")
    assert spool.after(0) == [entry(1)]


def test_a_file_that_is_none_of_ours_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(Fatal, match=r"s\.sqlite cannot be read as a spool .*move it away"):
        Spool(path, "s", ROOM)
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(Fatal, match="another version"):
        Spool(path, "s", ROOM)


KILLED = """
import sys
from pathlib import Path
from marketpulse.kafka.spool import Entry, Spool
spool = Spool(Path(sys.argv[1]), "s", 1 << 30)
for number in range(1, 1_000_000):
    spool.append([Entry(number, 1, number, b"%d" % number)], "abc")
    print(number, flush=True)
"""


def test_what_was_appended_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = next(number for line in child.stdout if (number := int(line)) >= 200)
    os.kill(child.pid, signal.SIGKILL)
    rest = child.communicate()[0].split()
    said = int(rest[-1]) if rest and rest[-1].isdecimal() else said
    spool = Spool(path, "s", ROOM)
    assert spool.last >= said - 1  # the last line may have been cut
    found: list[Entry] = []
    while chunk := spool.after(found[-1].number if found else 0):
        found += chunk
    assert found == [Entry(n, 1, n, b"%d" % n) for n in range(1, spool.last + 1)]
