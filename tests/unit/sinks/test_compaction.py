"""Which files become one."""

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from marketpulse.model.commit_log import StoredFile
from marketpulse.sinks.compaction import CLASS_BYTES, FILES_MAX, MERGES_MAX, Merge, plan

SMALL, MIDDLE, LARGE = 1_000, CLASS_BYTES[0], CLASS_BYTES[1]


def files(
    count: int, size: int = SMALL, period: str = "2024-05-01", table: str = "trades", rows: int = 500
) -> list[StoredFile]:
    return [
        StoredFile(f"{table}/{period}/{size}/{n}", table, period, n * 10, n * 10 + 10, rows, size)
        for n in range(count)
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
                    f"m{n}-{number}",
                    "trades",
                    "2024-05-01",
                    first,
                    end,
                    sum(f.rows for f in merge.sources),
                    whole,
                )
            )
        assert sum(f.rows for f in visible) == n + 1
    assert sum(f.size_bytes < LARGE for f in visible) < 2 * FILES_MAX
