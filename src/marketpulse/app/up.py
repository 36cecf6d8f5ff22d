"""`up`: everything in one process tree. Decides what to start, shows how it goes, stops it in order."""

import contextlib
import json
import os
import sys
import threading
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from marketpulse.app import patience
from marketpulse.app.console import Opening, Screen, Status, open_screen
from marketpulse.app.disk import Disk, Space, lossy, naming_a_full_disk
from marketpulse.app.exit_codes import FAILED, GOOD, WRONG_USAGE
from marketpulse.app.feeds import configured_sources, live_sources, process_name
from marketpulse.app.healing.automatic import AutomaticHeal
from marketpulse.app.lifecycle import Lifecycle, lifecycle
from marketpulse.app.lock import only_one
from marketpulse.app.nursery import Nursery
from marketpulse.app.observing.readings import ask_health
from marketpulse.app.port import free_port, is_free
from marketpulse.app.selecting.groups import failover_config
from marketpulse.app.supervisor import ChildSpec, Event, Stage, State, Supervisor
from marketpulse.errors import EnvironmentProblem, MarketPulseError, ParameterError, SettingsError
from marketpulse.settings import EngineSettings, ReplaySettings, Settings
from marketpulse.sinks import SINKS, settings_of

TURN_S = 0.1
STARTING_TURN_S = 0.02  # until everything is ready: children wait for each other then
STATUS_EVERY_S = 1.0
CATCH_UP_S = 5.0  # how long the engine may take, at the end, for what the sources had written
READY_WITHIN_S = 120.0  # `--for` counts from here on at the latest
PORTS_TRIED = 20


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line said."""

    config: Path | None = None
    run_for_s: float | None = None  # counted from when everything is ready
    browser: bool = True
    sources: tuple[str, ...] = ()  # empty: all
    live: tuple[str, ...] = ()  # pairs; then only these feeds, and `sources` if some are named
    record: Path | None = None
    port: int | None = None  # the page's; unset: as configured
    create: bool = False  # missing topics of the kafka sources, on a cluster too


def run_up(settings: Settings, options: UpOptions, nursery: Nursery | None = None) -> int:
    """Run everything until Ctrl-C or the end of `--for`. Returns the exit code: 1 when something was failing, 2 when
    a child could not begin with these settings. Raises SettingsError before anything starts where they cannot be."""
    check_settings(settings)
    data_dir = settings.data_dir
    with naming_a_full_disk(data_dir), only_one(data_dir) as closed, lifecycle(settings, "up") as life:
        disk = Disk(settings.data_dir)
        if settings.kafka.bootstrap_servers is None and disk.look(time.monotonic()):
            raise disk.problem()
        screen = open_screen()
        specs = plan(settings, options)
        supervisor = Supervisor(settings.data_dir, specs, screen.event, nursery=nursery)
        healing = None
        if settings.heals_by_itself:
            heal = command(("heal", "--automatic", "--format", "json"), options.config)
            healing = AutomaticHeal(settings.data_dir, heal, screen.event)
        screen.starting([spec.name for spec in specs])
        if closed:
            screen.event(
                Event("data", f"other users could read {data_dir}: {closed:,} entries are its owner's alone now")
            )
        code = GOOD
        try:
            supervisor.start()
            if settings.kafka.bootstrap_servers:
                threading.Thread(target=report_topics, args=(settings, screen), daemon=True).start()
            watch(settings, options, life, supervisor, screen, disk, healing)
        finally:
            code = exit_code(supervisor)
            if healing is not None:
                healing.close()
            if not stop(settings, supervisor, life, screen):
                code = code or FAILED
            supervisor.close()
            screen.closed(code, settings.data_dir)
        return code


def check_settings(settings: Settings) -> None:
    """Find the faults that would end a child, before there is one: it would be started again for nothing.

    Raises SettingsError that names the setting, EnvironmentProblem for a port that is taken.
    """
    check_engine(settings)
    if settings.kafka.bootstrap_servers is None:
        from marketpulse.kafka.broker_settings import check_embedded

        check_embedded(settings)
        check_broker_port(settings)
    if settings.kafka.model_fields_set & {"client", "producer", "consumer"}:
        from marketpulse.kafka.client import check_clients

        check_clients(settings)
    if settings.kafka.bootstrap_servers is not None and settings.kafka.replication_factor > 1:
        from marketpulse.kafka.topics import check_replication

        check_replication(settings)


def check_broker_port(settings: Settings) -> None:
    """Raises EnvironmentProblem when another program has the port that was chosen for the embedded broker."""
    port = settings.broker.port
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        left = json.loads((settings.data_dir / "broker" / "process.json").read_text())
        if port == int(left["port"]) and psutil.pid_exists(int(left["pid"])):
            return  # one that has lost its owner: it is taken over
    if port and not is_free("127.0.0.1", port):
        from marketpulse.kafka.broker_faults import port_taken

        raise port_taken(port)


def check_engine(settings: Settings) -> None:
    """Raises SettingsError that names the engine's setting at fault."""
    if settings.engine == EngineSettings():
        return  # these are good, and the check imports the whole engine
    from marketpulse.app.engine_config import engine_config

    engine_config(settings.engine)


def exit_code(supervisor: Supervisor) -> int:
    """What the children's states come to, before they are stopped."""
    if supervisor.refused():
        return WRONG_USAGE
    bad = (State.FAILING, State.LEFT)
    return FAILED if any(child.state in bad for child in supervisor.children) else GOOD


def plan(settings: Settings, options: UpOptions) -> list[ChildSpec]:
    """The children that these settings ask for. Raises ParameterError for an unknown source."""
    known = configured_sources(settings)
    for name in options.sources:
        if name not in known:
            raise ParameterError(f"there is no source {name!r}: the configuration has {', '.join(known)}")
    names = options.sources or (() if options.live else tuple(known))
    if piped := [name for name in names if known[name].kind == "stdin"]:
        raise ParameterError(
            f"`up` has no standard input to give to source {piped[0]}: run `up` with the other sources (--source), and "
            f"beside it `… | marketpulse produce {piped[0]}`"
        )
    for name in names:
        if known[name].kind == "rest":  # a missing key is said before anything starts
            known[name].read_variables(name)
    creating = [name for name in names if options.create and known[name].kind == "kafka"]
    if options.create and not creating:
        raise ParameterError("--create makes missing topics for sources of the kind kafka, and none of them is fed in")
    check_files(settings, names)
    embedded = settings.kafka.bootstrap_servers is None
    jobs: list[tuple[str, Sequence[str], Stage]] = []
    if embedded:
        jobs.append(("broker", ("broker",), Stage.BROKER))
    jobs += [
        (f"process-{slot}", ("process", "--slot", str(slot)), Stage.ENGINE) for slot in range(settings.process.workers)
    ]
    if settings.failover.groups:
        failover_config(settings)  # what is wrong in it is said before anything starts
        jobs += [
            (f"select-{slot}", ("select", "--slot", str(slot)), Stage.SELECT)
            for slot in range(settings.failover.workers)
        ]
    jobs.append(("serve", ("serve", "--port", str(page_port(settings, options.port))), Stage.READER))
    jobs += [
        (process_name(name), ("produce", "named", name, *(("--create",) if name in creating else ())), Stage.SOURCE)
        for name in names
    ]
    jobs += live_jobs(settings, options)
    jobs += [
        (f"sink-{which}", ("sink", which), Stage.READER) for which in SINKS if settings_of(settings, which).enabled
    ]
    if settings.parity.enabled and settings.sinks.lake.enabled:
        jobs.append(("verify", ("verify", "--follow"), Stage.READER))
    return [
        ChildSpec(
            name,
            command(words, options.config),
            stage,
            environment(settings, number, embedded),
            log="broker-process.log" if stage == Stage.BROKER else "",  # broker.log is Kafka's own
            forked=True,
            light=stage == Stage.BROKER,
            # The log keeps the rows for them; the page comes first.
            patient=name.startswith("sink-") or name == "verify",
        )
        for number, (name, words, stage) in enumerate(jobs, start=1)
    ]


def check_files(settings: Settings, names: Sequence[str]) -> None:
    """Raises SettingsError for a source of files that are not there, or at a speed that is none."""
    from marketpulse.sources.files import expand
    from marketpulse.sources.pace import Speed

    for name in names:
        source = settings.sources.get(name)
        if not isinstance(source, ReplaySettings):
            continue
        local = [file for file in source.files if "://" not in file]
        try:
            Speed.parse(source.speed)
            if local or not source.files:  # what is elsewhere is fetched by the source
                expand(local)
        except SettingsError as error:
            raise SettingsError(f"sources.{name}: {error}") from None


def live_jobs(settings: Settings, options: UpOptions) -> list[tuple[str, Sequence[str], Stage]]:
    """One process a vendor for the pairs of `--live`. Raises ParameterError."""
    if not options.live:
        return []
    record = () if options.record is None else ("--record", str(options.record))
    return [
        (
            process_name(vendor),
            (
                "produce",
                "live",
                *(f"{vendor}:{symbol}" for symbol in source.symbols),
                *(("--with-venue",) if getattr(source, "with_venue", False) else ()),
                *record,
            ),
            Stage.SOURCE,
        )
        for vendor, source in live_sources(settings, options.live, options.record).items()
    ]


def command(words: Sequence[str], config: Path | None) -> list[str]:
    """The command line of one child."""
    named = [] if config is None else ["--config", str(config)]
    return [sys.executable, "-m", "marketpulse", *words, *named]


def environment(settings: Settings, number: int, embedded: bool) -> dict[str, str]:
    """What a child finds in its environment beside ours. A fixed metrics port belongs to `up`; its
    children take the ports behind it, in the order in which they are listed."""
    base = settings.telemetry.metrics_port
    variables = {"MARKETPULSE_TELEMETRY__METRICS_PORT": str(base + number if base else 0)}
    if embedded:
        variables[patience.VARIABLE] = "1"
    return variables


def page_port(settings: Settings, asked: int | None) -> int:
    """The page's port, chosen once, so that a restarted `serve` is where it was.

    A port that someone asked for must be free; the default makes way for what is there.
    Raises EnvironmentProblem.
    """
    host = settings.serve.host
    wanted = settings.serve.port if asked is None else asked
    if (found := free_port(host, wanted)) is not None:
        return found
    if asked is not None or "port" in settings.serve.model_fields_set:
        raise EnvironmentProblem(
            f"port {wanted} on {host} is taken by another program: stop that one, or choose another with --port"
        )
    for number in (*range(wanted + 1, min(wanted + PORTS_TRIED, 65_536)), 0):
        if (found := free_port(host, number)) is not None:
            return found
    raise EnvironmentProblem(f"no port can be opened on {host}: check serve.host")


def watch(
    settings: Settings,
    options: UpOptions,
    life: Lifecycle,
    supervisor: Supervisor,
    screen: Screen,
    disk: Disk,
    healing: AutomaticHeal | None,
) -> None:
    """The long middle: look after the children and show what happens."""
    began = time.monotonic()
    opened = False
    status_at = ends_at = 0.0
    poll = HealthPoll(settings)
    while not life.stop.is_set():
        now = time.monotonic()
        life.health.beat()
        if (space := disk.look(now)) is not None:
            screen.event(disk_event(disk, space))
        if space == Space.NONE and settings.kafka.bootstrap_servers is None:
            rest(life, supervisor, screen, disk)
            continue
        supervisor.tick()
        if supervisor.refused():
            return
        page = supervisor.child("serve")
        url = page.facts.get("url") if page is not None else None
        broker = supervisor.child("broker")
        if not opened and url and (broker is None or broker.facts):
            opened = True
            screen.opened(opening(settings, supervisor, str(url)))
            if options.browser and has_display():
                threading.Thread(target=webbrowser.open, args=(str(url),), daemon=True).start()
        if not ends_at and (supervisor.all_ready() or now - began > READY_WITHIN_S):
            with lossy():
                life.announce(url=url)
            ends_at = now + (options.run_for_s or float("inf"))
        if ends_at and now >= ends_at:
            return
        if now >= status_at:
            status_at = now + STATUS_EVERY_S
            poll.url = str(url) if url else None
            health = poll.latest()
            screen.status(status(supervisor, health))
            if healing is not None:
                healing.look()
        life.stop.wait(TURN_S if ends_at else STARTING_TURN_S)


def rest(life: Lifecycle, supervisor: Supervisor, screen: Screen, disk: Disk) -> None:
    """Stop everything in order, and start it again when there is space: Kafka would die of the full disk."""
    life.health.set_not_ready(str(disk.problem()))
    screen.stopping()
    supervisor.stop()
    while not life.stop.wait(TURN_S):
        life.health.beat()
        if disk.look(time.monotonic()) == Space.ENOUGH:
            screen.event(disk_event(disk, Space.ENOUGH))
            supervisor.start()
            return


def disk_event(disk: Disk, space: Space) -> Event:
    """What to say when the space has changed."""
    if space == Space.ENOUGH:
        return Event("disk", "has space again: going on")
    then = {Space.LITTLE: "below 64 MiB everything stops until then", Space.NONE: "everything rests until then"}
    return Event("disk", f"{disk.problem()}; {then[space]}, and goes on by itself", bad=True)


def report_topics(settings: Settings, screen: Screen) -> None:
    """Say where a cluster's existing topics differ from the contract; the children create what is missing."""
    from marketpulse.kafka.topics import ensure_topics

    try:
        for difference in ensure_topics(settings):
            screen.event(Event("topics", str(difference), bad=True))
    except MarketPulseError as error:
        screen.event(Event("topics", str(error), bad=True))


def opening(settings: Settings, supervisor: Supervisor, url: str) -> Opening:
    """What runs where, for the first screen."""
    broker = supervisor.child("broker")
    servers = broker.facts.get("bootstrap_servers", "starting") if broker else settings.kafka.bootstrap_servers
    prefix = settings.kafka.topic_prefix
    return Opening(
        url=url,
        bootstrap_servers=str(servers) + (" (embedded)" if broker else ""),
        topics=[prefix + name for name in ("market", "bars", "indicators", "alerts", "live", "dead-letters")],
        sources=[c.spec.name.removeprefix("produce-") for c in supervisor.children if c.spec.stage == Stage.SOURCE],
        data_dir=settings.data_dir,
        default_sources=not settings.sources,
        retention=settings.sinks.lake.describe_retention() if settings.sinks.lake.enabled else "",
    )


def status(supervisor: Supervisor, health: dict[str, Any] | None) -> Status:
    """The line that moves."""
    waiting = [child.spec.name for child in supervisor.children if child.waiting_for]
    begun = [child for child in supervisor.children if not child.waiting_for]
    in_state = {state: [child.spec.name for child in begun if child.state == state] for state in State}
    return Status(
        starting=in_state[State.STARTING] + in_state[State.PLANNED],
        troubled=in_state[State.WAITING] + in_state[State.FAILING] + in_state[State.LEFT] + waiting,
        restarts=sum(child.restarts for child in supervisor.children),
        health=health,
    )


def stop(settings: Settings, supervisor: Supervisor, life: Lifecycle, screen: Screen) -> bool:
    """Sources first; then the engine, when it has taken in what they wrote; then the readers; the broker last."""
    screen.stopping()
    life.health.set_not_ready("stopping")
    page = supervisor.child("serve")
    poll = HealthPoll(settings)
    poll.url = str(page.facts["url"]) if page is not None and "url" in page.facts else None

    selects = any(child.spec.stage == Stage.SELECT for child in supervisor.children)
    between_stage = Stage.SELECT if selects else Stage.SOURCE  # the last one that writes what the engine reads

    def between(stage: Stage) -> None:
        if stage == between_stage and poll.url and not supervisor.refused():
            deadline = time.monotonic() + CATCH_UP_S
            while time.monotonic() < deadline:
                health = poll.ask()
                if health is None or not health.get("lag_records"):
                    return
                time.sleep(TURN_S)

    return supervisor.stop(between)


def has_display() -> bool:
    """Whether a browser can show anything to anyone here."""
    if sys.platform == "darwin":
        return not os.environ.get("SSH_CONNECTION")
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))


class HealthPoll:
    """Asks the page's server how the pipeline is, without ever holding up the supervisor."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.serve
        self.url: str | None = None
        self._latest: dict[str, Any] | None = None
        self._asking: threading.Thread | None = None

    def latest(self) -> dict[str, Any] | None:
        """The newest answer; asks for the next one in the background."""
        if self.url and (self._asking is None or not self._asking.is_alive()):
            self._asking = threading.Thread(target=self._ask_once, name="health", daemon=True)
            self._asking.start()
        return self._latest

    def _ask_once(self) -> None:
        self._latest = self.ask()

    def ask(self) -> dict[str, Any] | None:
        """Ask now, waiting at most two seconds. None: no answer."""
        return None if self.url is None else ask_health(self.url, self._settings)
