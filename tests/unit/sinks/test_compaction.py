"""Which files become one."""

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.commit_log import StoredFile
from marketpulse.sinks.compaction import CLASS_BYTES, FILES_MAX, MERGES_MAX, SERIES_PER_MERGE, Merge, plan

SMALL, MIDDLE, LARGE = 1_000, CLASS_BYTES[0], CLASS_BYTES[1]


def files(
    count: int, size: int = SMALL, period: str = "2024-05-01", table: str = "trades", rows: int = 500
) -> list[StoredFile]:
    return [
        StoredFile(f"{table}/{period}/{size}/{n}", table, period, n * 10, n * 10 + 10, rows, size) for n in range(count)
    ]


def test_nothing_is_due_while_files_are_few() -> None:
    assert plan([]) == []
    assert plan(files(FILES_MAX - 1) + files(FILES_MAX - 1, period="2024-05-02")) == []


def test_a_days_small_files_are_merged_oldest_first() -> None:
    own = files(FILES_MAX)
    assert plan(reversed(own)) == [Merge("trades", "2024-05-01", tuple(own))]
    assert plan(own)[0].span == (0, FILES_MAX * 10)


def test_size_classes_and_tables_are_merged_apart() -> None:
    merges = plan(files(FILES_MAX) + files(FILES_MAX, MIDDLE) + files(FILES_MAX, table="quotes"))
    assert [(m.table, {f.size_bytes for f in m.sources}) for m in merges] == [
        ("quotes", {SMALL}), ("trades", {SMALL}), ("trades", {MIDDLE}),
    ]  # fmt: skip


def test_files_of_a_sensible_size_are_left_alone() -> None:
    assert plan(files(100, LARGE)) == []


def test_one_flush_does_not_merge_a_whole_history() -> None:
    many = [f for n in range(50) for f in files(FILES_MAX, period=str(date(2024, 1, 1) + timedelta(n)))]
    assert len(plan(many)) == MERGES_MAX


def test_sparse_days_move_into_the_file_of_their_year() -> None:
    days = [files(1, period=str(date(2023, 3, 1) + timedelta(n)), rows=1)[0] for n in range(40)]
    year = replace(days[0], period="2023", path="year", first_offset=7)
    (merge,) = plan([*days, year])
    assert merge.period == "2023"
    assert set(merge.sources) == {*days[:-3], year}  # the last three days are not settled


@given(sizes=st.lists(st.integers(10_000, 2_000_000), min_size=1, max_size=400))
def test_a_days_files_stay_few_and_every_row_is_kept_however_many_are_flushed(sizes: list[int]) -> None:
    visible: list[StoredFile] = []
    for n, size in enumerate(sizes):
        visible.append(StoredFile(f"f{n}", "trades", "2024-05-01", n, n + 1, 1, size))
        for number, merge in enumerate(plan(visible)):
            first, end = merge.span
            whole = sum(f.size_bytes for f in merge.sources)
            visible = [f for f in visible if f not in merge.sources]
            visible.append(
                StoredFile(
                    f"m{n}-{number}", "trades", "2024-05-01", first, end, sum(f.rows for f in merge.sources), whole
                )
            )
        assert sum(f.rows for f in visible) == n + 1
    assert sum(f.size_bytes < LARGE for f in visible) < 2 * FILES_MAX


# A directory for each symbol.


def of_symbol(symbol: str, period: str, first: int, size: int = SMALL) -> StoredFile:
    path = f"table=trades/symbol={symbol}/date={period}/{first}-{size}"
    return StoredFile(path, "trades", period, first, first + 1, 500, size)


def test_each_symbol_is_merged_by_itself() -> None:
    ours = [of_symbol("A", "2024-05-01", n) for n in range(FILES_MAX)]
    few = [of_symbol("B", "2024-05-01", n) for n in range(FILES_MAX - 1)]
    assert plan(few + ours) == [Merge("trades", "2024-05-01", tuple(ours), "symbol=A/")]


def test_a_symbols_day_that_is_over_becomes_one_file() -> None:
    over = [of_symbol("A", "2024-05-01", n) for n in range(2)]
    single, large = of_symbol("A", "2024-05-02", 5), of_symbol("A", "2024-05-01", 9, LARGE)
    newest = [of_symbol("A", "2024-05-05", n) for n in range(6, 8)]
    assert plan([*over, single, large, *newest]) == [Merge("trades", "2024-05-01", tuple(over), "symbol=A/")]


def test_with_many_symbols_merging_keeps_up() -> None:
    """Each symbol's files are due every FILES_MAX flushes, so a flush must merge that part of the symbols."""
    symbols = 1_000
    many = [of_symbol(str(s), "2024-05-01", n) for s in range(symbols) for n in range(FILES_MAX)]
    assert len(plan(many)) == symbols // SERIES_PER_MERGE > symbols / FILES_MAX
