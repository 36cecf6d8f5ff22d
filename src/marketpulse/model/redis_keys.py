"""The names of the keys and channels in Redis (docs/stores.md#redis): what the sink writes and readers ask for."""

from dataclasses import dataclass

RANKINGS = ("change", "value", "volume")
"""What a day is ranked by: change in percent, traded value in quote currency, volume."""

Place = tuple[str, int]  # topic, as the broker names it, and partition


def place_text(place: Place) -> str:
    """A field of the hash `offsets`: `market/3`."""
    return f"{place[0]}/{place[1]}"


def place_of(text: str) -> Place:
    """The inverse."""
    topic, _, partition = text.rpartition("/")
    return topic, int(partition)


@dataclass(frozen=True, slots=True)
class RedisKeys:
    """Names below one prefix."""

    prefix: str

    @property
    def offsets(self) -> str:
        """Hash: topic/partition -> JSON of the next offset of each table."""
        return f"{self.prefix}offsets"

    @property
    def timeframes(self) -> str:
        """Set: every timeframe that has bars."""
        return f"{self.prefix}timeframes"

    @property
    def alerts(self) -> str:
        """Hash: `symbol rule` -> the row that raised it, of the alerts that are raised now."""
        return f"{self.prefix}alerts"

    @property
    def days(self) -> str:
        """Sorted set: session dates that have rankings, by date (yyyymmdd)."""
        return f"{self.prefix}days"

    def price(self, symbol: str) -> str:
        return f"{self.prefix}price:{symbol}"

    def quote(self, symbol: str) -> str:
        return f"{self.prefix}quote:{symbol}"

    def latest(self, table: str, symbol: str, timeframe: str) -> str:
        """Hash: the newest row of a series of `bars` or `indicators`."""
        return f"{self.prefix}{'bar' if table == 'bars' else table}:{symbol}:{timeframe}"

    def recent(self, table: str, symbol: str, timeframe: str) -> str:
        """Sorted set: a series' newest rows as JSON, by open time in milliseconds."""
        return f"{self.prefix}recent:{table}:{symbol}:{timeframe}"

    def changes(self, symbol: str, rule: str) -> str:
        """Sorted set: an alert's newest changes as JSON, by event time in milliseconds."""
        return f"{self.prefix}recent:alerts:{symbol}:{rule}"

    def symbols(self, timeframe: str) -> str:
        """Sorted set: symbols that have bars of this timeframe, by the newest open time in milliseconds."""
        return f"{self.prefix}symbols:{timeframe}"

    def sessions(self, symbol: str) -> str:
        """Hash: session date -> JSON of the day's figures."""
        return f"{self.prefix}sessions:{symbol}"

    def parts(self, symbol: str, date: str) -> str:
        """Hash: open time -> the bar, of a day whose own bar has not come."""
        return f"{self.prefix}parts:{symbol}:{date}"

    def ranking(self, what: str, date: str) -> str:
        """Sorted set: symbols by one of RANKINGS."""
        return f"{self.prefix}ranking:{what}:{date}"

    def channel(self, what: str) -> str:
        """Where rows of `prices`, `quotes`, `bars`, `indicators`, `alerts` and `sessions` are published."""
        return f"{self.prefix}updates:{what}"


def score_ms(time_ns: int) -> float:
    """A time as the score of a sorted set: milliseconds since 1970, with the rest behind the point."""
    return time_ns / 1e6
