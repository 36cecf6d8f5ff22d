"""What the configuration says about the embedded broker: Kafka's own properties, and the heap. Pure: nothing is started.

One broker on loopback is the whole cluster. What that rests on is not for anybody to set; everything else is.
"""

import difflib
import json
import re
from functools import cache
from importlib import resources

from marketpulse.errors import SettingsError
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.settings import BrokerSettings, Settings

_OWNED_FOR = {
    "it listens on 127.0.0.1 for this machine alone: set broker.port, or use a cluster with KAFKA_BOOTSTRAP_SERVERS":
        "advertised.listeners early.start.listeners inter.broker.listener.name listener.security.protocol.map listeners "
        "security.inter.broker.protocol",
    "this one node is broker, controller and quorum":
        "broker.id controller.listener.names controller.quorum.auto.join.enable controller.quorum.bootstrap.servers "
        "controller.quorum.voters node.id process.roles zookeeper.connect",
    "its data stand in the data directory: set MARKETPULSE_DATA_DIR": "log.dir log.dirs metadata.log.dir",
    "a killed worker's partitions and transactions have to be free again within seconds":
        "group.consumer.min.session.timeout.ms group.max.session.timeout.ms group.min.session.timeout.ms transaction.max.timeout.ms",
    "its clients have no login": "authorizer.class.name",
}  # fmt: skip
_OWNED = {name: reason for reason, names in _OWNED_FOR.items() for name in names.split()}
_OF_COPIES = re.compile(r".*(replication\.factor|min\.isr|min\.insync\.replicas)")
_AT_LEAST = {"message.max.bytes": MESSAGE_BYTES_MAX, "socket.request.max.bytes": 2 * MESSAGE_BYTES_MAX}
_HEAP_OPTION = re.compile(r"-Xm([sx])(\d+)([kKmMgGtT]?)")
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def check_embedded(settings: Settings) -> None:
    """Raises SettingsError for what one broker cannot be or do; before anything is started."""
    copies = settings.kafka.replication_factor
    if copies > 1:
        raise SettingsError(
            f"kafka.replication_factor is {copies}, and the embedded broker is one broker, which keeps one copy: remove the "
            "setting, or name a cluster with KAFKA_BOOTSTRAP_SERVERS"
        )
    heap_options(settings.broker)
    broker_properties(settings.broker)


def broker_properties(broker: BrokerSettings) -> dict[str, str]:
    """The lines of `[broker.properties]` as Kafka reads them. Raises SettingsError that names all that cannot be set."""
    faults = []
    lines: dict[str, str] = {}
    for name, value in broker.properties.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if fault := _fault(name, text.strip()):
            faults.append(f"broker.properties.{name}: {fault}")
        lines[name] = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    if faults:
        raise SettingsError("\n".join(faults))
    return lines


def _fault(name: str, text: str) -> str:
    """Why this property cannot be set so, and what to do; empty when it can."""
    if name in _OWNED:
        return f"MarketPulse decides it, {_OWNED[name]}; remove this line"
    if _OF_COPIES.fullmatch(name) and text != "1":
        return "one broker keeps one copy; write 1, or remove this line"
    if name in _AT_LEAST and text.isdigit() and int(text) < _AT_LEAST[name]:
        return f"records of up to {MESSAGE_BYTES_MAX} bytes have to fit; write {_AT_LEAST[name]} or more, or remove this line"
    if not re.fullmatch(r"[\w.-]+", name):
        return "this is no name of a property; correct it"
    if name not in known_properties() and (near := difflib.get_close_matches(name, known_properties(), 1, 0.85)):
        return f"Kafka has no such property; did you mean {near[0]}?"
    return ""


@cache
def known_properties() -> tuple[str, ...]:
    """The names of all properties that a broker of our Kafka reads; plugins may have others."""
    return tuple(json.loads(resources.files("marketpulse.kafka").joinpath("broker_properties.json").read_bytes()))


def heap_options(broker: BrokerSettings) -> list[str]:
    """Java's options for the heap: of `heap_mb` where it was set, else of `heap_opts` (KAFKA_HEAP_OPTS), else the default's.

    Raises SettingsError for a heap that cannot be.
    """
    by_size = [f"-Xmx{broker.heap_mb}m"]
    words = (broker.heap_opts or "").split()
    sizes = {"x": broker.heap_mb << 20}
    options = []
    for word in words:
        if word.startswith(("-Xmx", "-Xms")):
            match = _HEAP_OPTION.fullmatch(word)
            if match is None:
                raise SettingsError(f"broker.heap_opts: {word} is no size: write one such as -Xmx512m or -Xmx1G")
            sizes[match[1]] = int(match[2]) * _UNITS[match[3].lower()]
            options.append(word)
    if sizes.get("s", 0) > sizes["x"]:
        raise SettingsError(
            f"broker.heap_opts: {' '.join(options)} begins with more than the largest heap: lower -Xms, or raise -Xmx"
        )
    if not options or "heap_mb" in broker.model_fields_set:
        return by_size
    return options if any(word.startswith("-Xmx") for word in options) else [*by_size, *options]


def describe_heap(broker: BrokerSettings) -> str | None:
    """Which heap the broker has and who said so; None where nobody set KAFKA_HEAP_OPTS."""
    if broker.heap_opts is None:
        return None
    options = heap_options(broker)
    if "heap_mb" in broker.model_fields_set:
        return f"has a heap of {options[0]}: broker.heap_mb goes before KAFKA_HEAP_OPTS"
    left = [word for word in broker.heap_opts.split() if word not in options]
    return f"has a heap of {' '.join(options)}, from KAFKA_HEAP_OPTS" + (f" without {' '.join(left)}" if left else "")
