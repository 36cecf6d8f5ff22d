"""In which form an answer goes out: by `format`, else by what the client says that it accepts."""

import re
from collections.abc import Mapping

MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


def accepted(accept: str, offered: Mapping[str, str]) -> str | None:
    """The form that the client likes best, of those `offered` (form -> media type); None when it names none of them.

    Equal weights: the first in the header; a wildcard takes the first that is offered."""
    wishes = sorted(
        (-_weight(part), place, part.partition(";")[0].strip()) for place, part in enumerate(accept.lower().split(","))
    )
    for weight, _, wanted in wishes:
        for form, media in offered.items():
            known = media.partition(";")[0]
            if weight and wanted in (known, "*/*", known.partition("/")[0] + "/*"):
                return form
    return None


def _weight(part: str) -> float:
    match = re.search(r";\s*q=([01](?:\.[0-9]{0,3})?)", part)
    return float(match[1]) if match else 1.0
