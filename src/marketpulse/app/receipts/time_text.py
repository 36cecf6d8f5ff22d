"""Times as people write them at the command line, and as they read them."""

import datetime as dt
import re

from marketpulse.errors import ParameterError

_SECOND_NS = 10**9
_FRACTION = re.compile(r"(.*:\d\d)\.(\d{1,9})(.*)")


def parse_time(text: str, what: str) -> int:
    """`2026-01-05T14:30:00Z`, `2026-01-05 14:30`, `2026-01-05` (UTC where no zone is written) or nanoseconds
    since 1970 -> nanoseconds. Raises ParameterError that names `what`."""
    stripped = text.strip()
    if re.fullmatch(r"\d{16,19}", stripped):
        return int(stripped)
    fraction = 0
    if found := _FRACTION.fullmatch(stripped):
        fraction = int(found[2].ljust(9, "0"))
        stripped = found[1] + found[3]
    try:
        moment = dt.datetime.fromisoformat(stripped)
    except ValueError:
        raise ParameterError(
            f"{what} {text!r} is no time: write one such as 2026-01-05T14:30:00Z, 2026-01-05, or nanoseconds"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * _SECOND_NS + fraction


def show_time(time_ns: int) -> str:
    """Nanoseconds -> `2026-01-05T14:30:00.25Z`: UTC, no digit lost, none without meaning."""
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=time_ns // _SECOND_NS)
    fraction = f"{time_ns % _SECOND_NS:09d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"
