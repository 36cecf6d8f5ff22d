"""The broker's command lines and files: Java's options, Kafka's properties, the log's limits.

Measured on 2 cores, seconds from the command to the first answer (format of a first start beside
it in brackets): Java 17 plain 3.3 (1.5); C1 and the serial collector 2.4 (1.0); with the class
archive 1.5 (0.6). Java 25 with its cache 1.0 to 1.5 (0.6). Making the archive adds 3 s (Java 17)
or 5 s (Java 25) to the very first stop. Resident size 170 to 230 MB. The second compiler, as it is set
below, adds 0.2 s to a start (Java 17, 1.2 without it).
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from marketpulse.clock import SystemClock
from marketpulse.kafka.broker_storage import NODE_ID
from marketpulse.kafka.client_names import MESSAGE_BYTES_MAX
from marketpulse.kafka.java import Java

_AOT_SINCE = 25  # from here on one option makes a cache of loaded and linked classes
_LOG_MIB, _LOG_FILES = 8, 3
_ARCHIVE_KEPT_NS = 30 * 86_400 * 10**9

# The serial collector needs the least memory and start-up. The second compiler makes a request half as dear, but
# costs a start 0.4 s and a second of the processor where it begins with its usual eagerness: it waits four times longer.
_JVM = (
    "-XX:Tier4InvocationThreshold=20000", "-XX:Tier4MinInvocationThreshold=5000", "-XX:Tier4CompileThreshold=40000",
    "-XX:Tier4BackEdgeThreshold=200000", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true", "-Dfile.encoding=UTF-8",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """Where one data directory's broker keeps what."""

    home: Path
    logs: Path

    @property
    def log(self) -> Path:
        return self.logs / "broker.log"

    @property
    def output(self) -> Path:
        """What the JVM itself prints; of the last start only."""
        return self.logs / "broker.out"

    @property
    def properties(self) -> Path:
        return self.home / "server.properties"

    @property
    def log_config(self) -> Path:
        return self.home / "log4j2.properties"

    @property
    def lock(self) -> Path:
        return self.home / "lock"

    @property
    def process(self) -> Path:
        """The running JVM: pid, when it began, port, and who watches over it."""
        return self.home / "process.json"

    @property
    def port(self) -> Path:
        """The port last used."""
        return self.home / "port"


def java_command(
    java: Java, jars: Sequence[Path], files: BrokerFiles, heap: Sequence[str], archive: Sequence[str]
) -> list[str]:
    """The part that format and broker share: java, its options and the class path."""
    return [
        str(java.path), *heap, *_JVM, *archive,
        *(["--sun-misc-unsafe-memory-access=allow"] if java.major >= 24 else []),
        f"-Dlog4j2.configurationFile={files.log_config}", "-cp", os.pathsep.join(map(str, jars)),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The JVM's archive of the broker's classes, kept beside the jars. Its name tells what it was made from."""

    path: Path
    java_major: int

    @classmethod
    def of(cls, java: Java, jars: Sequence[Path]) -> "ClassArchive":
        made_from = hashlib.sha256(f"{java.path.resolve()}|{java.version}|{_JVM}".encode())
        for jar in jars:  # the JVM refuses an archive when a jar's time has changed
            stat = jar.stat()
            made_from.update(f"|{jar}|{stat.st_mtime_ns}|{stat.st_size}".encode())
        name = f"classes-{made_from.hexdigest()[:16]}.{'aot' if java.major >= _AOT_SINCE else 'jsa'}"
        return cls(jars[0].parent / name, java.major)

    @property
    def partial(self) -> Path:
        return self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")

    def options(self, *, may_make: bool) -> list[str]:
        """Use the archive if there is one; else make it when this JVM ends, if it may."""
        aot = self.java_major >= _AOT_SINCE
        if self.path.is_file():
            return [f"-XX:AOTCache={self.path}" if aot else f"-XX:SharedArchiveFile={self.path}"]
        if not may_make or not os.access(self.path.parent, os.W_OK):
            return []
        return [f"-XX:AOTCacheOutput={self.partial}" if aot else f"-XX:ArchiveClassesAtExit={self.partial}"]

    def keep(self) -> None:
        """After a clean end: give the new archive its name, and drop what killed processes left and old archives."""
        if self.partial.is_file() and self.partial.stat().st_size > 0:
            self.partial.replace(self.path)
            for other in self.path.parent.glob("classes-*"):
                with contextlib.suppress(OSError):
                    if other != self.path and _is_waste(other):
                        other.unlink()

    def drop_partial(self) -> None:
        self.partial.unlink(missing_ok=True)


def _is_waste(path: Path) -> bool:
    """Half an archive of a process that is gone; a whole one is kept a month, another Java may use it."""
    if match := re.search(r"\.(\d+)\.partial", path.name):
        return not psutil.pid_exists(int(match[1]))
    return SystemClock().now_ns() - path.stat().st_mtime_ns > _ARCHIVE_KEPT_NS


def server_properties(storage: Path, port: int, controller_port: int, chosen: Mapping[str, str] | None = None) -> str:
    """Kafka's configuration: one node on loopback that is broker and controller, sized for a laptop; `chosen` goes before it."""
    values: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": storage,
        # One voter has nobody to wait for.
        "controller.quorum.election.timeout.ms": 200,
        "controller.quorum.fetch.timeout.ms": 2_000,
        # A broker that was killed may register again when its old session has ended.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 3_000,
        "metadata.max.idle.interval.ms": 5_000,
        # Topics are declared (topics.py), never made by a misspelt name.
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.retention.minutes": 525_600,  # a pipeline that rested for months goes on where it was
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A killed worker's partitions and transactions are free again within seconds.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        "group.consumer.min.session.timeout.ms": 3_000,
        "group.consumer.session.timeout.ms": 10_000,
        "group.consumer.min.heartbeat.interval.ms": 500,
        "group.consumer.heartbeat.interval.ms": 2_000,
        "transaction.max.timeout.ms": 300_000,
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1_000,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "compression.type": "producer",
        # Index files are allocated ahead: 1 MiB each, and segments that fit them.
        "log.segment.bytes": 268_435_456,
        "log.index.size.max.bytes": 1_048_576,
        "log.cleaner.dedupe.buffer.size": 8_388_608,
        "log.cleaner.io.buffer.size": 262_144,
        "log.cleaner.threads": 1,
        "log.retention.check.interval.ms": 60_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 4,
    }
    return "".join(f"{name}={value}\n" for name, value in {**values, **(chosen or {})}.items())


def log_properties(files: BrokerFiles) -> str:
    """Log4j's configuration: one file with a bounded size, the older ones numbered behind it."""
    pattern = files.log.with_name("broker-%i.log")
    return "\n".join([
        "status=warn",
        "appender.file.type=RollingFile", "appender.file.name=FILE",
        f"appender.file.fileName={files.log}", f"appender.file.filePattern={pattern}",
        "appender.file.layout.type=PatternLayout",
        "appender.file.layout.pattern=%d{ISO8601_OFFSET_DATE_TIME_HHCMM} %p %m (%c{1})%n",
        "appender.file.policies.type=Policies",
        "appender.file.policies.size.type=SizeBasedTriggeringPolicy",
        f"appender.file.policies.size.size={_LOG_MIB}MB",
        "appender.file.strategy.type=DefaultRolloverStrategy",
        f"appender.file.strategy.max={_LOG_FILES - 1}",
        "rootLogger.level=info", "rootLogger.appenderRef.file.ref=FILE",
        # The whole configuration at every start, and every state change of every partition:
        "logger.config.name=org.apache.kafka.common.config", "logger.config.level=warn",
        "logger.state.name=state.change.logger", "logger.state.level=warn",
        "logger.controller.name=org.apache.kafka.controller", "logger.controller.level=warn",
    ]) + "\n"  # fmt: skip
