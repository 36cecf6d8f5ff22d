"""`doctor`: what this machine and this configuration lack, and what to do about it."""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from marketpulse.app.observing.readings import DIED, ask_health, read_processes, together
from marketpulse.app.pipeline.report import SHOW
from marketpulse.app.port import is_free
from marketpulse.errors import MarketPulseError, Retryable
from marketpulse.kafka.client import resolve_bootstrap
from marketpulse.kafka.jars import jar_lock
from marketpulse.kafka.java import find_java
from marketpulse.kafka.source_counts import SHARED
from marketpulse.settings import Settings
from marketpulse.sinks import SINKS, open_sink, settings_of
from marketpulse.web.pages import load_assets

PYTHON_MIN = (3, 11)
DISK_FAIL_BYTES = 500_000_000
DISK_WARN_BYTES = 5_000_000_000
DISK_WARN_DAYS, DAY_S = 14, 86_400
BROKER_WITHIN_S = 5.0


class Level(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question. `advice` is empty when all is well."""

    check: str
    level: Level
    found: str
    advice: str = ""


def examine(read: Callable[[], Settings]) -> list[Finding]:
    """All findings, in the order in which a start would meet them."""
    findings = [python_version()]
    try:
        settings = read()
    except MarketPulseError as error:
        findings.append(Finding("configuration", Level.FAIL, str(error), "correct it, then run doctor again"))
        return findings
    findings.append(Finding("configuration", Level.OK, describe_settings(settings)))
    embedded = settings.kafka.bootstrap_servers is None
    checks: list[Callable[[Settings], Finding]] = [data_directory, disk_space, built_pages, page_port]
    if embedded:
        checks += [java, broker_parts, broker_port]
    checks += [broker, processes, pipeline, rows]
    findings += [check(settings) for check in checks]
    findings += [sink(settings, which) for which in SINKS if settings_of(settings, which).enabled]
    return findings


def describe_settings(settings: Settings) -> str:
    where = settings.kafka.bootstrap_servers or "embedded broker"
    return f"valid; {where}, sources: {', '.join(settings.sources) or 'bundled'}"


def python_version() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= PYTHON_MIN:
        return Finding("Python", Level.OK, found)
    return Finding("Python", Level.FAIL, found, f"install Python {'.'.join(map(str, PYTHON_MIN))} or newer")


def data_directory(settings: Settings) -> Finding:
    """Whether files can be made there."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"can this be written?")
    except OSError as error:
        advice = "make it writable, or name another with MARKETPULSE_DATA_DIR"
        return Finding("data directory", Level.FAIL, f"{folder}: {error.strerror}", advice)
    return Finding("data directory", Level.OK, str(folder))


def disk_space(settings: Settings) -> Finding:
    folder = nearest_existing(settings.data_dir)
    free = shutil.disk_usage(folder).free
    sizes, written = data_sizes(settings.data_dir)
    found = f"{free / 1e9:,.1f} GB free at {folder}"
    if sizes:
        parts = ", ".join(f"{part} {size / 1e6:,.0f}" for part, size in sizes.most_common(4))
        found += f"; the data takes {sizes.total() / 1e6:,.0f} MB ({parts}), {written / 1e6:,.0f} of it written in the last day"
    if settings.sinks.lake.enabled:
        found += f"; the lake keeps {settings.sinks.lake.describe_retention()}"
    if free < DISK_FAIL_BYTES:
        return Finding("disk", Level.FAIL, found, "free some space, or move MARKETPULSE_DATA_DIR to another disk")
    if free < DISK_WARN_BYTES or free < DISK_WARN_DAYS * written:
        advice = "let the lake drop old days (`[sinks.lake] retention`), or move MARKETPULSE_DATA_DIR to another disk"
        return Finding("disk", Level.WARN, found, advice)
    return Finding("disk", Level.OK, found)


def data_sizes(data_dir: Path) -> tuple[Counter[str], int]:
    """The bytes that each folder of the data directory takes on the disk, and those of files written in the last day."""
    sizes: Counter[str] = Counter()
    written, since = 0, time.time() - DAY_S
    for folder, _, names in os.walk(data_dir):
        for name in names:
            with contextlib.suppress(OSError):  # it went meanwhile
                path = Path(folder, name)
                file = path.lstat()
                taken = 512 * file.st_blocks
                sizes[path.relative_to(data_dir).parts[0]] += taken
                written += taken if file.st_mtime > since else 0
    return sizes, written


def nearest_existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def built_pages(settings: Settings) -> Finding:  # noqa: ARG001  (one shape for all checks)
    if assets := load_assets():
        return Finding("pages", Level.OK, f"built, {len(assets)} files")
    return Finding("pages", Level.WARN, "not built", "run `make ui`; until then `serve` only has its API")


def java(settings: Settings) -> Finding:
    try:
        found = find_java(settings)
    except MarketPulseError as error:
        return Finding("Java", Level.FAIL, "no Java for the embedded broker", str(error))
    return Finding("Java", Level.OK, f"{found.version} at {found.path}")


def broker_parts(settings: Settings) -> Finding:
    """Whether the broker's jars are in the cache; a missing one is fetched at the next start."""
    lock = jar_lock()
    home = settings.cache_dir / f"kafka-{lock.kafka}"
    missing = sum(not (home / jar.file).is_file() for jar in lock.jars)
    if missing:
        found = f"Apache Kafka {lock.kafka}: {missing} of {len(lock.jars)} jars are not in {home}"
        return Finding("broker's jars", Level.WARN, found, "the next start fetches them; it needs the network once")
    return Finding("broker's jars", Level.OK, f"Apache Kafka {lock.kafka} in {home}")


def page_port(settings: Settings) -> Finding:
    serve = settings.serve
    url = run_facts(settings, "serve").get("url")
    if url:
        return Finding("page's port", Level.OK, f"the page is on {url}")
    if serve.port == 0 or is_free(serve.host, serve.port):
        return Finding("page's port", Level.OK, f"{serve.port or 'a free one'} on {serve.host}")
    if "port" in serve.model_fields_set:
        advice = "stop the program that holds it, or set serve.port to another"
        return Finding("page's port", Level.FAIL, f"{serve.port} on {serve.host} is taken", advice)
    return Finding("page's port", Level.WARN, f"{serve.port} on {serve.host} is taken", "the next free one is used")


def broker_port(settings: Settings) -> Finding:
    port = settings.broker.port
    servers = run_facts(settings, "broker").get("bootstrap_servers")
    if servers:
        return Finding("broker's port", Level.OK, f"the broker is on {servers}")
    if port == 0 or is_free("127.0.0.1", port):
        return Finding("broker's port", Level.OK, f"{port or 'a free one'} on 127.0.0.1")
    advice = "stop the program that holds it, or set broker.port to another, or 0 for a free one"
    return Finding("broker's port", Level.FAIL, f"{port} on 127.0.0.1 is taken", advice)


def broker(settings: Settings) -> Finding:
    """Whether the broker answers, and its topics are as the contract has them."""
    from marketpulse.kafka.topics import inspect_topics

    try:
        servers = resolve_bootstrap(settings)
    except MarketPulseError:
        return Finding("broker", Level.OK, "not running now; `marketpulse up` starts it")
    try:
        missing, differences = inspect_topics(settings, timeout_s=BROKER_WITHIN_S)
    except MarketPulseError as error:
        return Finding("broker", Level.FAIL, f"{servers} does not answer as it should", str(error))
    if differences:
        found = "; ".join(map(str, differences))
        return Finding("topics", Level.WARN, found, "they work, but not as declared: `marketpulse topics --print`")
    if missing:
        found = f"{servers} answers; not there yet: {', '.join(missing)}"
        return Finding("topics", Level.WARN, found, "`marketpulse topics` creates them, and so does the next start")
    return Finding("broker", Level.OK, f"{servers} answers, all topics are there")


def sink(settings: Settings, which: str) -> Finding:
    """Whether the store answers, takes the login, and tells where it stands."""
    name = f"sink {which}"
    try:
        store = open_sink(settings, which)
        try:
            wanted = store.resume()
        finally:
            store.close()
    except Retryable as error:
        return Finding(name, Level.FAIL, str(error), f"what [sinks.{which}] names must run and be reached")
    except MarketPulseError as error:
        return Finding(name, Level.FAIL, str(error), f"correct [sinks.{which}], then run doctor again")
    if wanted is None:
        return Finding(name, Level.OK, f"{store.where} answers")
    held = f"holds rows of {len(wanted)} partitions" if wanted else "is empty"
    return Finding(name, Level.OK, f"{store.where} answers, {held}")


def processes(settings: Settings) -> Finding:
    """What runs on this data directory now, and whether it does its work."""
    found = [reading for reading in read_processes(settings.data_dir / "run") if reading.trouble != DIED]
    if troubled := [f"{reading.name}: {reading.trouble}" for reading in found if reading.trouble]:
        advice = f"look at its log in {settings.data_dir / 'logs'}"
        return Finding("processes", Level.WARN, "; ".join(troubled), advice)
    names = ", ".join(reading.name for reading in found)
    return Finding("processes", Level.OK, f"running and ready: {names}" if names else "none runs now")


def pipeline(settings: Settings) -> Finding:
    """What the page's server says of the whole: the same as its header and `/api/health`."""
    url = run_facts(settings, "serve").get("url")
    if url is None:
        return Finding("pipeline", Level.OK, "does not run now")
    health = ask_health(url, settings.serve)
    if health is None:
        return Finding("pipeline", Level.WARN, f"{url} does not answer", "look at the log of `serve`")
    words = " ".join([health["status"], *(reason["what"] for reason in health["reasons"])])
    advice = " ".join(dict.fromkeys(reason["do"] for reason in health["reasons"]))
    levels = {"down": Level.FAIL, "degraded": Level.WARN}
    return Finding("pipeline", levels.get(health["status"], Level.OK), words.replace(" ", ": ", 1), advice)


def rows(settings: Settings) -> Finding:
    """What the engine that runs here has done with each source's rows since it began."""
    samples = together(reading.samples for reading in read_processes(settings.data_dir / "run"))
    told, refused = [], 0.0
    for source in sorted(samples.labels("source_rows", "source") - {SHARED}):
        read, *fates = (
            samples.total("source_rows", source=source, fate=fate) for fate in ("rows", "duplicates", "late", "refused")
        )
        fates[-1] += samples.total("input_rejected", source=source)
        refused += fates[-1]
        words = [f"{n:,.0f} {what}" for n, what in zip(fates, ("duplicates", "late", "refused"), strict=True) if n]
        told.append(f"{source}: {', '.join([f'{read:,.0f} read', *words])}")
    if not told:
        return Finding("rows", Level.OK, "no engine runs here, or it has read none")
    advice = f"look why: `{SHOW}`" if refused else ""
    return Finding("rows", Level.WARN if refused else Level.OK, "; ".join(told), advice)


def run_facts(settings: Settings, name: str) -> dict[str, Any]:
    """What a process announced; empty when it does not run."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads((settings.data_dir / "run" / f"{name}.json").read_text())
        if psutil.pid_exists(int(facts["pid"])):
            return dict(facts)
    return {}


def lines(findings: list[Finding]) -> Iterator[str]:
    """For a terminal: one line each, and what to do on the next."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        yield f"{finding.level:<5} {finding.check:<{width}}  {finding.found}"
        if finding.advice:
            yield f"{'':<5} {'':<{width}}  -> {finding.advice}"


def as_json(findings: list[Finding]) -> str:
    """The same for a program."""
    return json.dumps([{"check": f.check, "level": f.level, "found": f.found, "advice": f.advice} for f in findings])
