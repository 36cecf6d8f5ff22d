"""Where values come from, beside the command line and the environment: the file, `.env`, the names of other projects."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, TomlConfigSettingsSource

from marketpulse.errors import SettingsError
from marketpulse.settings.blocks import flatten

SECRET_WORDS = ("password", "secret", "credential", "jaas", "token", "oauthbearer.client.secret")

_KEY_NAMES = {
    "APCA_API_KEY_ID": "alpaca",
    "APCA_API_SECRET_KEY": "alpaca_secret",
    "POLYGON_API_KEY": "polygon",
    "MASSIVE_API_KEY": "polygon",
    "FINNHUB_API_KEY": "finnhub",
}
"""Keys of vendors by the names that their own clients read."""

_file: ContextVar[Path | None] = ContextVar("configuration file", default=None)
_latest: list[Path] = [Path("marketpulse.toml")]


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Trees that are made inside read this file, if it exists; others read none."""
    before = _file.set(file)
    _latest[:] = [file]
    try:
        yield
    finally:
        _file.reset(before)


def latest_file() -> Path:
    """The file that this process read last, or would have."""
    return _latest[0]


class TomlFile(TomlConfigSettingsSource):
    """`marketpulse.toml`, without secrets."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, toml_file=_file.get())

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        kafka, broker = _table(values, "kafka"), _table(values, "broker")
        for role in ("client", "producer", "consumer"):
            for name in _flatten_block(kafka, role, "kafka"):
                if any(word in name.lower() for word in SECRET_WORDS) and "location" not in name.lower():
                    raise SettingsError(
                        f"kafka.{role}.{name} is a secret: remove it from {_file.get()} and set "
                        f'MARKETPULSE_KAFKA__CLIENT=\'{{"{name}": "…"}}\' in the environment or in .env'
                    )
        _flatten_block(broker, "properties", "broker")
        for name, section in _table(values, "sinks").items():
            _refuse_secrets(f"sinks.{name}", section)
        _refuse_secrets("serve", _table(values, "serve"))
        for name, section in _table(values, "sources").items():
            _refuse_secrets(f"sources.{name}", section)
        for name in _table(values, "keys"):
            raise SettingsError(
                f"keys.{name} is a secret: remove it from {_file.get()} and set MARKETPULSE_KEYS__{name.upper()} in the "
                "environment or in .env"
            )
        return values


def _flatten_block(section: dict[str, Any], name: str, place: str) -> dict[str, Any]:
    """Bring a block of properties into one table with dotted names, so that the environment can change one of them."""
    if not isinstance(section.get(name), dict | str):
        return {}
    try:
        section[name] = flatten(section[name], once=True)
    except ValueError as error:
        raise SettingsError(f"{place}.{name}.{error}") from None
    return dict(section[name])


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Empty for what is no table: the checks of the settings say so."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _refuse_secrets(place: str, section: Any) -> None:
    """Raises SettingsError when a section in the file holds a password, or a url with one."""
    for name, value in section.items() if isinstance(section, dict) else ():
        if isinstance(value, dict):
            _refuse_secrets(f"{place}.{name}", value)
            continue
        url = isinstance(value, str) and _has_password(value)
        if not url and not any(word in name.lower() for word in SECRET_WORDS):
            continue
        if isinstance(value, str) and "${" in value and place.startswith("sources."):
            continue  # the name of a variable, which is no secret
        secret = f"{place}.password" if url else f"{place}.{name}"
        variable = f"MARKETPULSE_{secret.replace('.', '__').upper()}"
        raise SettingsError(
            f"{place}.{name} {'has a password in it' if url else 'is a secret'}: remove it from {_file.get()} and set "
            f"{variable} in the environment or in .env"
        )


def _has_password(text: str) -> bool:
    """Whether this is a url with a password in it, before the host or among its parameters."""
    if "://" not in text:
        return False
    parts = urlsplit(text)
    return bool(parts.password or dict(parse_qsl(parts.query)).get("password"))


class DotEnv(DotEnvSettingsSource):
    """Our names in `.env`: others stand there for other programs, but a misspelt one of ours is a mistake."""

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        ours = str(self.env_prefix).lower()
        return {k: v for k, v in super().__call__().items() if k in fields or k.lower().startswith(ours)}


class WellKnownNames(PydanticBaseSettingsSource):
    """The names that existing projects use, from the environment or `.env`."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return read_well_known(environment())


def read_well_known(known: Mapping[str, str]) -> dict[str, Any]:
    """What KAFKA_BOOTSTRAP_SERVERS, KAFKA_HEAP_OPTS, KAFKA_TOPIC, AWS_S3_BUCKET, API_KEY, INFLUX_TOKEN, PGPASSWORD and so on
    set in the tree."""
    found: dict[str, Any] = {}
    if servers := known.get("KAFKA_BOOTSTRAP_SERVERS"):
        found["kafka"] = {"bootstrap_servers": servers}
    if options := known.get("KAFKA_HEAP_OPTS"):
        found["broker"] = {"heap_opts": options}
    if topics := [name for part in known.get("KAFKA_TOPIC", "").split(",") if (name := part.strip())]:
        found["sources"] = {topic: {"kind": "kafka", "topic": topic} for topic in topics}
    if bucket := known.get("AWS_S3_BUCKET"):
        found["sinks"] = {name: {"url": f"s3://{bucket}/marketpulse/{name}"} for name in ("lake", "archive")}
    if key := known.get("ALPHA_VANTAGE_API_KEY") or known.get("API_KEY"):
        found["keys"] = {"alpha_vantage": key}
    for variable, name in _KEY_NAMES.items():
        if word := known.get(variable):
            found.setdefault("keys", {})[name] = word
    if token := known.get("INFLUX_TOKEN"):
        found.setdefault("sinks", {})["influx"] = {"token": token}
    if password := known.get("PGPASSWORD"):
        found.setdefault("sinks", {})["postgres"] = {"password": password}
    return found


def environment() -> dict[str, str]:
    """The variables of `.env`, and those of the process, which win over them."""
    from dotenv import dotenv_values

    return {**{k: v for k, v in dotenv_values(".env").items() if v is not None}, **os.environ}
