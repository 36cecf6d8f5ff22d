"""Blocks of properties as people paste them: Java's dotted names, which TOML reads as tables in tables, or the text of a
`.properties` file."""

import re
from collections.abc import Iterator
from typing import Any

Value = str | int | float | bool

_PRODUCER_NAMES = {"compression.type": "compression", "compression.codec": "compression", "linger.ms": "linger_ms",
                   "queue.buffering.max.ms": "linger_ms", "batch.size": "batch_bytes"}  # fmt: skip
"""Java's names and librdkafka's, and what they are here."""


def flatten(block: Any, *, once: bool = False) -> dict[str, Any]:
    """`{"linger": {"ms": 5}}`, `{"linger.ms": 5}` and the text `linger.ms=5` are `{"linger.ms": 5}`; lists are joined by commas.

    Of a name that stands twice, also once as `linger_ms`, the last one counts; `once`: ValueError.
    """
    names: dict[str, str] = {}  # by their dotted form
    flat: dict[str, Any] = {}
    for name, value in _read_properties(block) if isinstance(block, str) else _leaves(block):
        earlier = names.setdefault(dotted(name), name)
        if earlier in flat:
            if once:
                raise ValueError(f"{earlier} is set twice, once as {name}: keep one")
            del flat[earlier]
        names[dotted(name)] = name
        flat[name] = value
    return flat


def dotted(name: str) -> str:
    """The name by which two spellings are compared: `linger_ms` and `compression` are `linger.ms` and `compression.type`."""
    plain = name.replace("_", ".")
    ours = _PRODUCER_NAMES.get(plain)
    return plain if ours is None else ours.replace("_", ".")


def producer_settings(block: dict[str, Any], ours: set[str]) -> dict[str, Any]:
    """The block with our settings by our names, and all others in `properties`."""
    settings: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for given, value in block.items():
        given = given.removeprefix("properties.")
        name = _PRODUCER_NAMES.get(given.replace("_", "."), given)
        (settings if name in ours - {"properties"} else properties)[name] = value
    return settings | {"properties": properties}


def take_servers(blocks: dict[str, dict[str, Any]]) -> str | None:
    """The cluster's address in the first block that has one; it is taken out of all of them."""
    servers = [str(block.pop(name)) for block in blocks.values() for name in list(block)
               if name.replace("_", ".") in ("bootstrap.servers", "metadata.broker.list")]  # fmt: skip
    return servers[0] if servers else None


def is_login(name: str) -> bool:
    """Whether a property says how to sign in to the cluster: every client has to, whoever's block has it."""
    return name.replace("_", ".").startswith(("security.", "sasl.", "ssl."))


def _leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            joined = isinstance(value, list | tuple)
            yield f"{prefix}{name}", ",".join(map(str, value)) if joined else value


def _read_properties(text: str) -> Iterator[tuple[str, str]]:
    """The names and values of a Java properties file: `=`, `:` or a space between them, `#` and `!` before a comment, and a
    backslash at the end of a line that goes on."""
    for line in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        if (line := line.strip()) and line[0] not in "#!":
            name, _, value = re.sub(r"\s*[=:]\s*|\s+", "\0", line, count=1).partition("\0")
            yield name, re.sub(r"\\(.)", r"\1", value)
