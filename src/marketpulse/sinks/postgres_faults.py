"""What a fault of PostgreSQL means for the reader, and where the database is, without its secrets."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from adbc_driver_manager import Error

from marketpulse.errors import Fatal, ParameterError, Retryable
from marketpulse.telemetry import get_logger

CONNECT_S = 10
UNIQUE, NUL_IN_TEXT = "23505", "22021"


class Conflict(Retryable):
    """A row that was to be new is there already."""


class NotText(Retryable):
    """A text holds the character NUL, which PostgreSQL cannot keep."""


class TablesChanged(Retryable):
    """Our tables are not as we left them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, for the client and for people to read."""

    uri: str  # with the password, for the client alone
    where: str
    user: str
    database: str
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Address({self.where})"

    @classmethod
    def of(cls, url: str, password: str | None) -> "Address":
        """Raises ParameterError for anything but a postgresql:// URL with a database."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
            raise ParameterError(
                "sinks.postgres.url must be like postgresql://marketpulse@127.0.0.1:5432/marketpulse: "
                "a user, a host and a database"
            )
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        given = password or (parts.password and unquote(parts.password)) or query.get("password")
        query.pop("password", None)
        place = parts.netloc.rpartition("@")[2]
        shown = urlunsplit(("postgresql", place, parts.path, "", ""))
        if parts.username is None:
            raise ParameterError(f"sinks.postgres.url names no user: write postgresql://USER@{place}{parts.path}")
        login = parts.username if given is None else f"{parts.username}:{quote(given, safe='')}"
        query = {"application_name": "marketpulse", "connect_timeout": str(CONNECT_S), **query}
        uri = urlunsplit(("postgresql", f"{login}@{place}", parts.path, urlencode(query, quote_via=quote), ""))
        secrets = (given, quote(given, safe="")) if given else ()
        user, database = unquote(parts.username), unquote(parts.path.strip("/"))
        return cls(uri, shown.replace("//", f"//{parts.username}@", 1), user, database, secrets)

    def without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text


_PASSING_LOGIN = re.compile(
    "starting up|shutting down|not yet accepting|recovery|too many|remaining connection slots|terminating connection"
)
_REFUSED_LOGIN = re.compile(
    r"FATAL:|no password supplied|does not support SSL|certificate|invalid (sslmode|URI|port|integer|connection option)"
)
_PASSING = re.compile("08...|40...|53...|55P03|57...|58030|25006")  # SQLSTATE


def explained(fault: Error, address: Address, *, connected: bool) -> Retryable | Fatal:
    """What the reader does next, with the client's words and no secret."""
    words = address.without_secrets(str(fault)).strip()
    words = " ".join(re.sub(r"^[A-Z_]+: (\[libpq\] )?|\. SQLSTATE: \w+$", "", words).split())
    if not connected:
        return _explained_login(words, address)
    where, state = address.where, fault.sqlstate
    own = {
        UNIQUE: Conflict,
        NUL_IN_TEXT: NotText,
        "42P01": TablesChanged,
        "3F000": TablesChanged,
        "42703": TablesChanged,
    }
    if state == "53100":
        return Retryable(
            f"{where} is full ({words}): free some space there; nothing is lost, storing goes on by itself"
        )
    if state in own:
        return own[state](f"{where}: {words}; trying again, nothing is lost")
    if state == "42501":
        return Fatal(
            f"{where} forbids it ({words}); nothing is lost, the rows are still in the topics. {_grants(address)}"
        )
    if state is None and "does not exist" in words:  # COPY looks its table up first, and tells no state
        return TablesChanged(f"{where}: {words}; trying again, nothing is lost")
    if state is None or _PASSING.fullmatch(state):
        get_logger().info("postgres_fault", sqlstate=state, fault=words)
        return Retryable(f"{where} does not answer ({words}): trying again, nothing is lost")
    return Fatal(f"{where} refuses the rows ({words}, SQLSTATE {state}): nothing is lost, they are still in the topics")


def _explained_login(words: str, address: Address) -> Retryable | Fatal:
    """Of a login the client tells no SQLSTATE, so the server's English words must do. Unknown ones are waited on."""
    user, database = identifier(address.user), identifier(address.database)
    if _PASSING_LOGIN.search(words) or not _REFUSED_LOGIN.search(words):
        return Retryable(f"{address.where} does not answer ({words}): trying again, nothing is lost")
    if "database" in words and "does not exist" in words:
        do = f"As its administrator: CREATE DATABASE {database} OWNER {user};"
    elif "does not exist" in words:
        do = f"As its administrator: CREATE ROLE {user} LOGIN PASSWORD '…';"
    elif "permission denied for database" in words:
        do = f"As its administrator: GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {user};"
    elif "not permitted to log in" in words:
        do = f"As its administrator: ALTER ROLE {user} LOGIN;"
    elif "password" in words:
        do = (
            "Set MARKETPULSE_SINKS__POSTGRES__PASSWORD in the environment or in .env, or as its administrator: "
            f"ALTER ROLE {user} PASSWORD '…';"
        )
    else:
        do = "Check sinks.postgres.url, and the server's pg_hba.conf."
    return Fatal(
        f"{address.where} refuses the login ({words}); nothing is lost, the rows are still in the topics. {do}"
    )


def _grants(address: Address) -> str:
    user, database = identifier(address.user), identifier(address.database)
    return (
        f"As its administrator: GRANT CREATE, TEMPORARY ON DATABASE {database} TO {user}; and, where the schema or its tables "
        f"belong to another role: ALTER SCHEMA … OWNER TO {user}; ALTER TABLE … OWNER TO {user};"
    )


def identifier(name: str) -> str:
    """The name as SQL writes it, whatever it is."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """The text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"
