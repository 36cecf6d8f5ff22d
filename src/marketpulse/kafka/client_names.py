"""The client's properties by the names people have in their notes: Java's, kafka-python's and librdkafka's own.

Pure: names and texts in, librdkafka's names out. What is unknown is refused with the nearest name.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from marketpulse.errors import SettingsError
from marketpulse.settings.blocks import Value

Role = Literal["producer", "consumer", "admin"]
MESSAGE_BYTES_MAX = 16 * 1024 * 1024  # the largest topic's max.message.bytes (dead-letters)

_OURS = {
    "acks": "every write waits for all replicas",
    "auto.commit.enable": "offsets are stored with the results",
    "auto.offset.reset": "where reading starts follows from what is stored",
    "check.crcs": "a corrupt batch is stepped over",
    "compression.gzip.level": "write compression.level, for the codec that is set",
    "compression.lz4.level": "write compression.level, for the codec that is set",
    "compression.zstd.level": "write compression.level, for the codec that is set",
    "delivery.timeout.ms": "a row waits for the broker as long as it takes",
    "enable.auto.commit": "offsets are stored with the results",
    "enable.auto.offset.store": "offsets are stored with the results",
    "enable.gapless.guarantee": "every write is idempotent",
    "enable.idempotence": "every write is idempotent",
    "enable.partition.eof": "the readers decide it",
    "group.id": "set process.group for the engine's group",
    "group.instance.id": "set process.static_membership",
    "group.protocol": "the engine's loop depends on it",
    "isolation.level": "readers that store read committed rows only",
    "message.timeout.ms": "a row waits for the broker as long as it takes",
    "partition.assignment.strategy": "the engine's loop depends on it",
    "partitioner": "a symbol must be in the partition where Java clients put it",
    "request.required.acks": "every write waits for all replicas",
    "transaction.timeout.ms": "it follows from how often results are committed",
    "transaction.two.phase.commit.enable": "results and offsets are one transaction of the cluster",
    "transactional.id": "it follows from the process's name",
}
"""Properties that correctness rests on, with the reason why we set them ourselves."""

_AS_WE_DO = {
    ("acks", "all"),
    ("acks", "-1"),
    ("enable.idempotence", "true"),
    ("enable.auto.commit", "false"),
    ("check.crcs", "true"),
}
"""What is so anyway: nothing has to be said of it."""

_SAME_AS = {
    "fetch.max.wait.ms": "fetch.wait.max.ms",
    "ssl.truststore.certificates": "ssl.ca.pem",
    "ssl.keystore.certificate.chain": "ssl.certificate.pem",
    "ssl.keystore.key": "ssl.key.pem",
    "sasl.plain.username": "sasl.username",
    "sasl.plain.password": "sasl.password",
    "ssl.cafile": "ssl.ca.location",
    "ssl.certfile": "ssl.certificate.location",
    "ssl.keyfile": "ssl.key.location",
    "ssl.password": "ssl.key.password",
}
_WITHOUT_MEANING = re.compile(
    r"(key|value)\.(de)?serializer(\..*)?|specific\.avro\.reader|schema\.registry\..*|basic\.auth\..*|auto\.register\.schemas"
    r"|interceptor\.classes|metric\.reporters|metrics\..*|partitioner\.(class|ignore\.keys|adaptive\..*|availability\..*)"
    r"|default\.api\.timeout\.ms|exclude\.internal\.topics|api\.version(\.auto\.timeout\.ms)?|group\.remote\.assignor"
    r"|ssl\.(protocol|enabled\.protocols|provider|trustmanager\.algorithm|keymanager\.algorithm|secure\.random\.implementation)"
    r"|ssl\.(truststore|keystore)\.type|ssl\.truststore\.password|sasl\.login\..*|security\.providers|auto\.include\.jmx\.reporter"
    r"|max\.poll\.records|consumer\.timeout\.ms|share\.acknowledgement\.mode|metadata\.max\.idle\.ms"
    r"|config\.providers(\..*)?|ssl\.engine\.factory\.class|sasl\.client\.callback\.handler\.class"
    r"|sasl\.kerberos\.ticket\..*|sasl\.oauthbearer\.(clock|expected|header|jwks|iat|jti|scope\.claim|sub\.claim)\..*"
    r"|socket\.connection\.setup\.timeout\.max\.ms"
)
"""Understood, and of no use to this client (a Java class, or something that is set elsewhere)."""

_JAAS = re.compile(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"')
_ROLE_PREFIXES: tuple[Role, ...] = ("producer", "consumer", "admin")


@dataclass(slots=True)
class Understood:
    """What a table of properties comes to: librdkafka's properties, and what was left out and why."""

    properties: dict[str, Value] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    oauth_cb: str | None = None


@cache
def known_properties() -> dict[str, str]:
    """Every property of the client library by name: `both`, `producer` or `consumer`."""
    raw = resources.files("marketpulse.kafka").joinpath("client_properties.json").read_bytes()
    return {name: scope for scope, names in json.loads(raw).items() for name in names}


def understand(given: Mapping[str, Value], role: Role, where: str = "[kafka.client]") -> Understood:
    """Sort the properties of `where` for a client of this role.

    A name may carry the prefix `producer.`, `consumer.` or `admin.` and is then for that role only.
    Raises SettingsError for a name that nobody knows, or a value that this client cannot use.
    """
    result = Understood()
    for full_name, value in given.items():
        scope, name = _split_role(full_name.strip())
        if scope is not None and scope != role:
            result.left_out[full_name] = f"for {scope}s"
            continue
        _take(_normal(name), value, result, role, f"{where} {full_name}")
    return result


def _split_role(name: str) -> tuple[Role | None, str]:
    for role in _ROLE_PREFIXES:
        if name.startswith(f"{role}."):
            return role, name.removeprefix(f"{role}.")
    return None, name


def _normal(name: str) -> str:
    """`linger_ms`, as kafka-python has it, is `linger.ms`; `log_level` is the library's own spelling."""
    return name if name in known_properties() or name == "oauth_cb" else name.replace("_", ".")


def _take(name: str, value: Value, result: Understood, role: Role, where: str) -> None:
    if (name, str(value).lower()) in _AS_WE_DO:
        return
    if name in _OURS:
        result.left_out[name] = f"decided by MarketPulse: {_OURS[name]}"
    elif name == "oauth_cb":
        result.oauth_cb = str(value)
    elif translate := _TRANSLATE.get(name):
        ours = translate(value, where)
        if isinstance(ours, str):
            result.left_out[name] = ours
        else:
            _add(ours, result, role)
    elif name in _SAME_AS:
        _add({_SAME_AS[name]: value}, result, role)
    elif _WITHOUT_MEANING.fullmatch(name):
        result.left_out[name] = "has no meaning for this client"
    elif name in known_properties():
        _add({name: value}, result, role)
    else:
        raise SettingsError(f"{where}: unknown property{_nearest(name)} (librdkafka's names and Java's are understood)")


def _add(properties: dict[str, Value], result: Understood, role: Role) -> None:
    for name, value in properties.items():
        scope = known_properties()[name]
        if scope in ("both", role):
            result.properties[name] = value
        else:
            result.left_out[name] = f"for {scope}s"


def _nearest(name: str) -> str:
    names = [*known_properties(), *_SAME_AS, *_TRANSLATE]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f", did you mean {near[0]}?" if near else ""


def _number(value: Value, where: str, what: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise SettingsError(f"{where} is a number{what}, found {value!r}: write one") from None


def _buffer_memory(value: Value, where: str) -> dict[str, Value]:
    """Bytes -> the library's KiB."""
    return {"queue.buffering.max.kbytes": max(1, _number(value, where, " of bytes") // 1024)}


def _max_block(value: Value, where: str) -> dict[str, Value]:
    """Nothing for the library: `max_block_s` reads it."""
    _number(value, where, " of milliseconds")
    return {}


def _record_bytes(value: Value, where: str) -> dict[str, Value] | str:
    if _number(value, where, " of bytes") < MESSAGE_BYTES_MAX:
        return f"records of up to {MESSAGE_BYTES_MAX} bytes have to fit"
    return {"message.max.bytes": value}


def _retries(value: Value, where: str) -> dict[str, Value] | str:
    return {"retries": value} if _number(value, where, "") > 0 else "every write is idempotent, and so is tried again"


def _in_flight(value: Value, where: str) -> dict[str, Value] | str:
    most = 5  # of an idempotent producer
    return {"max.in.flight": value} if _number(value, where, "") <= most else f"an idempotent writer has {most} at most"


def _socket_buffer(name: str) -> "_Translation":
    """Java's -1 is the library's 0: as the system has it."""
    return lambda value, where: {name: max(0, _number(value, where, " of bytes"))}


def _jaas(value: Value, where: str) -> dict[str, Value]:
    """`…LoginModule required username="u" password="p";` -> user and password; a signer's module is refused with the way out."""
    text = str(value)
    found = {key: re.sub(r"\\(.)", r"\1", quoted) for key, quoted in _JAAS.findall(text)}
    if "username" in found and "password" in found:
        return {"sasl.username": found["username"], "sasl.password": found["password"]}
    if "clientId" in found and "clientSecret" in found:
        return {
            "sasl.oauthbearer.client.id": found["clientId"],
            "sasl.oauthbearer.client.secret": found["clientSecret"],
        }
    if "keyTab" in found:
        return {"sasl.kerberos.keytab": found["keyTab"], "sasl.kerberos.principal": found.get("principal", "")}
    raise SettingsError(
        f"{where}: no username and password in it. For a cloud's signer set sasl.mechanism = OAUTHBEARER "
        "and oauth_cb = package.module:function, which returns (token, expiry in seconds since 1970)"
    )


def _truststore(value: Value, where: str) -> dict[str, Value]:
    path = Path(str(value))
    if path.suffix.lower() in (".jks", ".p12", ".pfx", ".truststore"):
        raise SettingsError(
            f"{where}: {path.name} is a Java store; this client reads PEM. Make one with `keytool -exportcert -rfc -keystore "
            f"{path.name} -file ca.pem` and set ssl.ca.location = ca.pem"
        )
    return {"ssl.ca.location": str(path)}


def _keystore(value: Value, where: str) -> dict[str, Value]:
    """PKCS#12 is read as it is; a PEM file holds certificate and key; a Java store is refused."""
    path = Path(str(value))
    if path.suffix.lower() in (".jks", ".keystore"):
        raise SettingsError(
            f"{where}: {path.name} is a Java store; convert it with `keytool -importkeystore -srckeystore {path.name} "
            "-destkeystore client.p12 -deststoretype PKCS12` and set ssl.keystore.location = client.p12"
        )
    if path.suffix.lower() == ".pem":
        return {"ssl.certificate.location": str(path), "ssl.key.location": str(path)}
    return {"ssl.keystore.location": str(path)}


def _endpoint(value: Value, where: str) -> dict[str, Value]:  # noqa: ARG001
    return {"ssl.endpoint.identification.algorithm": str(value).lower() or "none"}


def _check_hostname(value: Value, where: str) -> dict[str, Value]:  # noqa: ARG001
    yes = str(value).lower() not in ("false", "0", "no")
    return {"ssl.endpoint.identification.algorithm": "https" if yes else "none"}


def _mechanism(value: Value, where: str) -> dict[str, Value]:
    if str(value).upper() == "AWS_MSK_IAM":
        raise SettingsError(
            f"{where}: AWS_MSK_IAM exists in Java only; set sasl.mechanism = OAUTHBEARER and "
            "oauth_cb = package.module:function with the signer of your cloud"
        )
    return {"sasl.mechanism": value}


_Translation = Callable[[Value, str], dict[str, Value] | str]
"""(a value, where it stands) -> the library's properties, or why it is left out."""

_TRANSLATE: dict[str, _Translation] = {
    "max.block.ms": _max_block,
    "max.in.flight": _in_flight,
    "max.in.flight.requests.per.connection": _in_flight,
    "max.request.size": _record_bytes,
    "message.max.bytes": _record_bytes,
    "message.send.max.retries": _retries,
    "receive.buffer.bytes": _socket_buffer("socket.receive.buffer.bytes"),
    "retries": _retries,
    "send.buffer.bytes": _socket_buffer("socket.send.buffer.bytes"),
    "buffer.memory": _buffer_memory,
    "sasl.jaas.config": _jaas,
    "sasl.mechanism": _mechanism,
    "sasl.mechanisms": _mechanism,
    "ssl.truststore.location": _truststore,
    "ssl.keystore.location": _keystore,
    "ssl.endpoint.identification.algorithm": _endpoint,
    "ssl.check.hostname": _check_hostname,
}


def max_block_s(given: Mapping[str, Value], default: float = 5.0) -> float:
    """`max.block.ms`: how long a write waits for room before it says Retryable; seconds."""
    for name in ("max.block.ms", "max_block_ms", "producer.max.block.ms"):
        if name in given:
            return _number(given[name], f"[kafka.producer] {name}", " of milliseconds") / 1000
    return default
