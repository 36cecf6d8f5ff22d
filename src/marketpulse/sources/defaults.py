"""What feeds a first run, where nothing is configured: bundled real bars, and a simulated market."""

from pathlib import Path

from marketpulse.errors import ParameterError
from marketpulse.settings import AnySource, Mapping, ReplaySettings, SimulateSettings

_DATA = Path(__file__).parents[1] / "data"


def bundled(name: str) -> Path:
    """The path of a bundled file or folder, such as `daily`, `daily/AAPL.csv` or `minutes/SPY.csv`.

    Raises ParameterError for a name that there is not.
    """
    path = _DATA / name
    if not path.exists():
        there = ", ".join(sorted(str(p.relative_to(_DATA)) for p in _DATA.rglob("*.csv")))
        raise ParameterError(f"no bundled data {name!r}: there is {there}")
    return path


def default_sources() -> dict[str, AnySource]:
    """The sources of `up` when the configuration names none.

    `daily` fills the page at once and ends; `minutes` goes on in rounds, five minutes of market a
    second; `market` is simulated, tick by tick, and says so.
    """
    return {
        "daily": ReplaySettings(files=(str(bundled("daily")),), mapping=Mapping(split_adjusted=True), speed="max"),
        "minutes": ReplaySettings(
            files=(str(bundled("minutes/SPY.csv")),),
            mapping=Mapping(symbol="SPY", venue="XNYS", timezone="America/New_York", timeframe="1m"),
            speed="5/s",
            loop=True,
        ),
        "market": SimulateSettings(),
    }


def source_name(kind: str, name: str) -> str:
    """The `source` that rows of the configured source `name` carry.

    Watermarks are per source, so two replays never share one; what starts with `simulate` is shown
    as simulated.
    """
    return name if name == kind or name.startswith(f"{kind}-") else f"{kind}-{name}"
