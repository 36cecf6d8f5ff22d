"""What the rules of data quality find: nothing in clean series, and the faults that are put into them.

    python bench/quality.py [--folder DIRECTORY …] [--rounds 5] [--pairs DIRECTORY]

Clean: the bundled files and those of each folder, and a simulated market of a day. Then, from a seed, one fault at a time
is put into each clean series at a random place behind its first 60 bars. A fault is caught when `marketpulse check`
would exit with 1, and named when the rule that was meant has found it. Pairs, instead of all that: files of faults that
happened, X.csv, each beside its repair, X-fixed.csv. A fault is caught when there is a finding that the repair does not have.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from results import report

from marketpulse.app.checking import Report, check_dataset, check_file
from marketpulse.settings import Mapping, Settings
from marketpulse.sources.dataset import load_frame, read_blocks
from marketpulse.sources.sim_market import Market, symbol_names

BUNDLED = Path(__file__).parents[1] / "src" / "marketpulse" / "data"
PRICES = ("open", "high", "low", "close")
MOST_BARS = 1_500  # of a series that faults are put into
BEHIND = 60
_PAIRS = "quality_pairs"
Fault = Callable[[pl.DataFrame, int, np.random.Generator], pl.DataFrame]


def scaled(factor: float, bars: int = 1, columns: tuple[str, ...] = PRICES) -> Fault:
    """Prices of so many bars times a factor; 0 bars: of all that come before."""

    def put(frame: pl.DataFrame, at: int, _: np.random.Generator) -> pl.DataFrame:
        rows = pl.int_range(pl.len())
        where = rows < at if bars == 0 else (rows >= at) & (rows < at + bars)
        return frame.with_columns(
            pl.when(where).then(pl.col(name) * factor).otherwise(pl.col(name)) for name in columns
        )

    return put


def split(ratio: float) -> Fault:
    """Everything before is not adjusted for a split: its prices are so many times larger, its volume smaller."""

    def put(frame: pl.DataFrame, at: int, random: np.random.Generator) -> pl.DataFrame:
        whole = scaled(ratio, 0)(frame, at, random)
        return scaled(1 / ratio, 0, ("volume",))(whole, at, random)

    return put


def swapped(frame: pl.DataFrame, at: int, _: np.random.Generator) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == at
    return frame.with_columns(
        pl.when(here).then(pl.col("low")).otherwise(pl.col("high")).alias("high"),
        pl.when(here).then(pl.col("high")).otherwise(pl.col("low")).alias("low"),
    )


def stale(frame: pl.DataFrame, at: int, _: np.random.Generator) -> pl.DataFrame:
    """A bar's values four times again, in place of the next ones."""
    place = pl.int_range(pl.len())
    source = pl.when((place > at) & (place <= at + 4)).then(at).otherwise(place)
    return frame.with_columns(pl.col(name).gather(source) for name in (*PRICES, "volume"))


def missing(bars: int) -> Fault:
    return lambda frame, at, _: pl.concat([frame[:at], frame[at + bars :]])


def twice(frame: pl.DataFrame, at: int, _: np.random.Generator) -> pl.DataFrame:
    """The bar's time again, with other values."""
    return pl.concat(
        [frame[: at + 1], frame[at - 3 : at - 2].with_columns(frame["date"][at : at + 1]), frame[at + 1 :]]
    )


def dividend(part: float) -> Fault:
    """A payment of this part of the price, of which the price shows nothing."""

    def put(frame: pl.DataFrame, at: int, _: np.random.Generator) -> pl.DataFrame:
        paid = frame["dividend"] if "dividend" in frame.columns else pl.repeat(0.0, len(frame), eager=True)
        return frame.with_columns(paid.scatter(at, frame["close"][at - 1] * part).alias("dividend"))

    return put


FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "one bar x100": (scaled(100), ("price_unit",)),
    "one bar /100": (scaled(0.01), ("price_unit",)),
    "twenty bars x100": (scaled(100, 20), ("price_unit",)),
    "all before x100": (scaled(100, 0), ("price_unit",)),
    "one high x100": (scaled(100, 1, ("high",)), ("price_unit",)),
    "one low /100": (scaled(0.01, 1, ("low",)), ("price_unit",)),
    "one close x100": (scaled(100, 1, ("close",)), ("price_unit",)),
    "one bar +30 %": (scaled(1.3), ("price_band", "price_spike")),
    "one bar -30 %": (scaled(0.7), ("price_band", "price_spike")),
    "one high +50 %": (scaled(1.5, 1, ("high",)), ("bar_range",)),
    "split 2:1": (split(2), ("split",)),
    "split 3:1": (split(3), ("split",)),
    "split 3:2": (split(1.5), ("split", "price_band")),
    "split 1:10": (split(0.1), ("split",)),
    "high and low swapped": (swapped, ("bad_bar",)),
    "negative volume": (scaled(-1, 1, ("volume",)), ("bad_size",)),
    "volume x10,000": (scaled(10_000, 1, ("volume",)), ("size_outlier",)),
    "five times the same bar": (stale, ("stale",)),
    "one bar missing": (missing(1), ("missing_bars",)),
    "five bars missing": (missing(5), ("missing_bars",)),
    "a time twice": (twice, ("duplicate_bar",)),
    "dividend of half the price": (dividend(0.5), ("dividend",)),
    "dividend of 10 % unseen": (dividend(0.1), ("dividend",)),
}


def series(folders: list[Path]) -> dict[str, tuple[pl.DataFrame, Mapping]]:
    """The clean files by name; a daily one without a venue is one of New York unless it trades on Sundays."""
    found = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.csv")):
            frame = pl.concat([block.frame for block in read_blocks(path)])
            frame = frame.with_columns(pl.col(*PRICES, "volume").cast(pl.Float64))
            minutes = ":" in str(frame["date"][0])
            if "dividend" in frame.columns:
                frame = frame.with_columns(pl.col("dividend", "split").cast(pl.Float64))
            mapping = Mapping(timezone="America/New_York", venue="XNYS") if minutes else Mapping()
            found[f"{folder.name}/{path.stem}"] = (frame, mapping)
    return found


def checked(settings: Settings, frame: pl.DataFrame, mapping: Mapping) -> Report:
    return check_dataset(settings, load_frame(frame, mapping, "SERIES"), mapping)


def simulated(settings: Settings, trades: int) -> Report:
    """Trades of 24 symbols at 200 a second."""
    market, frames, names = Market(24, 200.0, 7), [], np.array(symbol_names(24))
    while sum(map(len, frames)) < trades:
        block = market.block()
        times = 1_767_225_600_000_000_000 + (block.at_s * 1e9).astype(np.int64)
        frames.append(pl.DataFrame(
            {"time": times, "symbol": names[block.symbol], "price": block.price, "size": block.size}
        ))  # fmt: skip
    mapping = Mapping()
    return checked(settings, pl.concat(frames), mapping)


def tell(name: str, value: float, unit: str, file: str = "quality") -> None:
    report({"name": name, "value": value, "unit": unit}, file)


def judge_pairs(settings: Settings, folder: Path) -> None:
    """Files without a partner that are named `-no-…` are clean as well."""
    repaired = sorted(folder.glob("*-fixed.csv"))
    caught, left = 0, 0
    for path in repaired:
        after = _weighty(check_file(settings, path, Mapping()))
        before = _weighty(check_file(settings, path.with_name(path.name.replace("-fixed", "")), Mapping()))
        tell(f"pair: {path.stem.removesuffix('-fixed')}: only in the faulty one", (before - after).total(), "findings")
        tell(f"pair: {path.stem.removesuffix('-fixed')}: in the repaired one", after.total(), "findings", _PAIRS)
        caught += bool(before - after)
        left += not after
    for path in sorted(folder.glob("*-no-*.csv")):
        tell(f"clean: {path.stem}: findings", _weighty(check_file(settings, path, Mapping())).total(), "findings")
    tell(f"pairs: caught of {len(repaired)}", caught, "series", _PAIRS)
    tell(f"pairs: repaired ones left alone of {len(repaired)}", left, "series", _PAIRS)


def _weighty(result: Report) -> Counter[tuple[str, str]]:
    """Findings that are more than counted, by rule and in its words."""
    return Counter((s.rule, s.detail) for s in result.suspects if s.severity != "count")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trades", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=Path)
    options = parser.parse_args()
    settings = Settings()
    if options.pairs is not None:
        judge_pairs(settings, options.pairs)
        return
    found = series([BUNDLED / "daily", BUNDLED / "minutes", BUNDLED / "reference", *options.folder])
    clean = {}
    for name, (frame, mapping) in found.items():
        result = checked(settings, frame, mapping)
        tell(f"clean: {name}: findings in {result.rows} rows", len(result.suspects), "findings")
        if not result.suspects:
            clean[name] = (frame[-MOST_BARS:], mapping)
    result = simulated(settings, options.trades)
    tell(f"clean: simulated: findings in {result.rows} trades", len(result.suspects), "findings")
    for fault, (put, rules) in FAULTS.items():
        random, caught, named, tries = np.random.default_rng(11), 0, 0, 0
        for frame, mapping in clean.values():
            for _ in range(options.rounds):
                at = int(random.integers(BEHIND, len(frame) - 30))
                if "volume" in fault and frame["volume"][at] == 0:
                    continue
                result = checked(settings, put(frame, at, random), mapping)
                tries += 1
                caught += result.is_suspect
                named += bool({suspect.rule for suspect in result.suspects} & set(rules))
        tell(f"fault: {fault}: caught of {tries}", caught, "series")
        tell(f"fault: {fault}: named of {tries}", named, "series")


if __name__ == "__main__":
    main()
