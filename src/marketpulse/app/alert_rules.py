"""The alert rules that run, and changes of them: what `marketpulse alerts` and the page read, check and write.

the engine's newest snapshot (else the configuration) -> the changes of `control` behind it -> the rules that run
"""

import hashlib
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from marketpulse.alerts.program import CompiledRule
from marketpulse.alerts.rule import Rule
from marketpulse.alerts.rule_json import change_from_json, rule_from_json, rule_to_json
from marketpulse.alerts.rule_set import RuleSet, computes_of
from marketpulse.app.engine_config import engine_config
from marketpulse.app.receipts.running_rules import newest_state
from marketpulse.engine.config import EngineConfig
from marketpulse.errors import ChangedMeanwhile, MarketPulseError, ParameterError
from marketpulse.foreign_json import parse_json
from marketpulse.kafka.control_record import ControlRecord
from marketpulse.kafka.control_writer import write_change
from marketpulse.kafka.log_reader import LogReader
from marketpulse.kafka.snapshot import Pointer
from marketpulse.settings import Settings

_PARTITION = 0  # a change stands in all of them
ANY, NEW = "*", ""
"""Versions to expect: whatever runs, and that no rule of this name does."""


def read_fields(text: str, where: str) -> dict[str, Any]:
    """A rule's fields out of one JSON object or a TOML table. Raises ParameterError that says where it cannot be read."""
    try:
        found = parse_json(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (orjson.JSONDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParameterError(f"{where}: neither a JSON object nor TOML: {error}") from None
    return dict(found)


def version_of(rule: Rule) -> str:
    """Another one for every other rule."""
    return hashlib.sha256(orjson.dumps(rule_to_json(rule), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Change:
    """What was written: in words, and where it stands in `market`, by partition. No offsets: nothing needed to be."""

    said: str
    offsets: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules that run once the engine has come to the log's end, the newest change of each name, and by partition of
    `market` the next offset that the engine takes (None: it has committed nothing there)."""

    rules: RuleSet
    changes: Mapping[str, ControlRecord]
    engine_at: Sequence[int | None]

    def compiled(self, name: str) -> CompiledRule | None:
        return next((one for one in self.rules.compiled if one.rule.name == name), None)

    def began(self, name: str) -> Sequence[int]:
        """From which offset of each partition of `market` the rule tells; those before are of another one of its name."""
        record = self.changes.get(_key(name))
        if record is None:
            return [0] * len(self.engine_at)
        return record.begins_offsets or record.market_offsets

    def taken(self, record: ControlRecord) -> int:
        """In how many partitions the engine has taken the change."""
        pairs = zip(self.engine_at, record.market_offsets, strict=False)
        return sum(at is not None and at > offset for at, offset in pairs)


class RuleBook:
    """Reads what stands, again and again. Its calls raise Retryable while the broker is away, EnvironmentProblem when
    there is none; they may come from any thread, one at a time is answered."""

    def __init__(self, settings: Settings, config: EngineConfig) -> None:
        self._settings, self._config = settings, config
        self._turn = threading.Lock()
        self._log: LogReader | None = None
        self._pointer: Pointer | None = None
        self._base: tuple[RuleSet, int] | None = None

    def read(self) -> Standing:
        with self._turn:
            if self._log is None:
                self._log = LogReader(self._settings)
            try:
                return self._read(self._log)
            except MarketPulseError:
                self._close()
                raise

    def close(self) -> None:
        with self._turn:
            self._close()

    def _read(self, log: LogReader) -> Standing:
        committed = log.committed()
        pointer = committed.get(_PARTITION, (0, None))[1]
        if self._base is None or pointer != self._pointer:
            self._base, self._pointer = _newest_rules(log, self._config), pointer
        rules, covered = self._base
        changes = [record for record in log.changes() if record.key.startswith(_key(""))]
        for record in changes:
            if record.is_behind(_PARTITION, covered):
                rules = _after(rules, record.change)
        engine_at = [committed.get(p, (None, None))[0] for p in range(log.partitions())]
        return Standing(rules, {record.key: record for record in changes}, engine_at)

    def _close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._log = self._base = None


def standing(settings: Settings, config: EngineConfig) -> Standing:
    """What stands now, read once. Raises as RuleBook."""
    book = RuleBook(settings, config)
    try:
        return book.read()
    finally:
        book.close()


def rules_that_run(settings: Settings, config: EngineConfig) -> RuleSet:
    """Those that run once the engine has come to the log's end, were it started with this configuration. Raises as
    RuleBook."""
    return standing(settings, config).rules


def put_rule(settings: Settings, fields: dict[str, Any], version: str = ANY) -> Change:
    """Have the rule run. Nothing is written for one that already runs just so. Whether it is muted stays as it is where
    the fields do not say.

    Raises ParameterError, before anything is written, for a rule that cannot be read, ChangedMeanwhile where not this
    `version` of it runs; else as RuleBook.
    """
    rule, config = rule_from_json(fields), engine_config(settings.engine)
    config.alert_rules().with_rule(rule)  # what is wrong with it is said without a broker

    def decide(now: Standing, known: Rule | None) -> tuple[str, Rule | None]:
        wanted = replace(rule, muted=known.muted) if known is not None and "muted" not in fields else rule
        now.rules.with_rule(wanted)
        if known == wanted:
            return f"rule {rule.name!r} runs already, just so", None
        if known is None:
            return f"rule {rule.name!r} is put: it sees the bars that close from now on", wanted
        if computes_of(known) == computes_of(wanted):
            if known.muted != wanted.muted:
                return _voice(wanted), wanted
            return f"rule {rule.name!r} goes on, with another severity or message", wanted
        return (
            f"rule {rule.name!r} takes the place of the one of its name, and begins anew with the bars that close from now on",
            wanted,
        )

    return _put(settings, config, rule.name, version, decide)


def mute_rule(settings: Settings, name: str, *, muted: bool, version: str = ANY) -> Change:
    """Have the rule tell with the severity `muted`, or with its own again. Raises ParameterError when there is none of
    this name; else as `put_rule`."""

    def decide(_: Standing, known: Rule | None) -> tuple[str, Rule | None]:
        if known is None:
            raise ParameterError(f"alert rules: there is no rule {name!r}")
        if known.muted == muted:
            return f"rule {name!r} is {'muted' if muted else 'not muted'} already", None
        wanted = replace(known, muted=muted)
        return _voice(wanted), wanted

    return _put(settings, engine_config(settings.engine), name, version, decide)


def remove_rule(settings: Settings, name: str, version: str = ANY) -> Change:
    """Have the rule run no more. Raises ParameterError when there is none of this name; else as `put_rule`."""
    config = engine_config(settings.engine)

    def check() -> Sequence[int]:
        now = standing(settings, config)
        _expect(now, name, version)
        now.rules.without_rule(name)
        return ()

    offsets = write_change(settings, _key(name), {"action": "remove_rule", "name": name}, check)
    said = f"rule {name!r} is removed: nothing is told of it any more, and its raised alerts are not cleared"
    return Change(said, offsets)


class _NothingToDo(Exception):
    """Leaves a transaction in which nothing is to be written."""


_Decide = Callable[[Standing, Rule | None], tuple[str, Rule | None]]
"""What stands and the rule of this name -> what is said, and the rule to be written (None: it runs already)."""


def _put(settings: Settings, config: EngineConfig, name: str, version: str, decide: _Decide) -> Change:
    """Decide and write as one: between the two nobody else does."""
    change: dict[str, Any] = {"action": "put_rule"}
    said = ""

    def check() -> Sequence[int]:
        nonlocal said
        now = standing(settings, config)
        _expect(now, name, version)
        compiled = now.compiled(name)
        known = None if compiled is None else compiled.rule
        said, wanted = decide(now, known)
        if wanted is None:
            raise _NothingToDo
        change["rule"] = rule_to_json(wanted)
        goes_on = known is not None and computes_of(known) == computes_of(wanted)
        return now.began(name) if goes_on else ()

    try:
        offsets = write_change(settings, _key(name), change, check)
    except _NothingToDo:
        offsets = []
    return Change(said, offsets)


def _expect(now: Standing, name: str, version: str) -> None:
    """Raises ChangedMeanwhile where another version of the rule runs than was expected."""
    compiled = now.compiled(name)
    found = NEW if compiled is None else version_of(compiled.rule)
    if version in (ANY, found):
        return
    if version == NEW:
        raise ChangedMeanwhile(f"there is a rule {name!r} already: open it to edit it, or choose another name")
    what = "removed" if compiled is None else "changed"
    raise ChangedMeanwhile(f"somebody else has {what} rule {name!r} meanwhile: look at what runs now, then save again")


def _voice(rule: Rule) -> str:
    if rule.muted:
        return f"rule {rule.name!r} is muted: it is evaluated as before, and tells with the severity `muted`"
    return f"rule {rule.name!r} is not muted any more: it tells with the severity {rule.severity}"


def described(settings: Settings) -> list[dict[str, Any]]:
    """The rules that run, each with its fields, the name of its timeframe, and in `from` who has put it."""
    config = engine_config(settings.engine)
    return [
        {
            **rule_to_json(compiled.rule),
            "timeframe": config.frames[compiled.frame].name,
            "severity": compiled.rule.severity,
            "from": origin_of(compiled.rule, config),
        }
        for compiled in rules_that_run(settings, config).compiled
    ]


def origin_of(rule: Rule, config: EngineConfig) -> str:
    """Who has put the rule; one of the configuration stays so when it is muted."""
    return "configuration" if any(replace(one, muted=rule.muted) == rule for one in config.alerts) else "control"


def _key(name: str) -> str:
    """What a change of this rule has as its key in `control`."""
    return f"rule/{name}"


def _newest_rules(log: LogReader, config: EngineConfig) -> tuple[RuleSet, int]:
    """The rules of the engine's newest snapshot, and the offset that it covers; of an engine without one that can be
    gone on from, what it begins with: the configured rules, where the log begins."""
    found = newest_state(log, config, _PARTITION)
    if found is None:
        return config.alert_rules(), log.span(_PARTITION).first
    state, covered = found
    return state.alerts.rules, covered


def _after(rules: RuleSet, change: dict[str, Any]) -> RuleSet:
    """The rules after a change; the same where the engine has set it aside."""
    try:
        return change_from_json(change, rules)
    except ParameterError:
        return rules
