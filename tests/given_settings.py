"""Settings as a test gives them, and commands that get the same ones by their environment, as a person's do."""

import contextlib
import faulthandler
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from pydantic import BaseModel

import forked
from forked import Forked
from marketpulse.app.cli import main
from marketpulse.settings import Settings

Model = TypeVar("Model", bound=BaseModel)
Done = subprocess.CompletedProcess[str]


def changed(model: Model, **values: Any) -> Model:
    """A copy with other values: `changed(settings, data_dir=path, sinks={"lake": {"flush_s": 0.2}})`."""

    def of(name: str, value: Any) -> Any:
        now = getattr(model, name)
        return changed(now, **value) if isinstance(now, BaseModel) and isinstance(value, dict) else value

    return model.model_copy(update={name: of(name, value) for name, value in values.items()})


def outside() -> dict[str, str]:
    """This process's environment without what configures us."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MARKETPULSE_", "KAFKA_"))}


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """What tells a process of its own the same: `environment_of(settings, sinks__lake__flush_s="0.2")`."""
    kafka, engine = settings.kafka, settings.engine
    ours = {
        "data_dir": str(settings.data_dir), "cache_dir": str(settings.cache_dir),
        "kafka__topic_prefix": kafka.topic_prefix, "kafka__partitions": str(kafka.partitions),
        "engine__timeframes": json.dumps(engine.timeframes), "engine__indicators": engine.indicators,
        "engine__alerts": json.dumps(engine.alerts), "engine__fill": engine.fill,
        "engine__correction_window_s": str(engine.correction_window_s), **more,
    }  # fmt: skip
    servers = {} if kafka.bootstrap_servers is None else {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    return {**outside(), **servers, **{f"MARKETPULSE_{name.upper()}": value for name, value in ours.items()}}


def command(settings: Settings, *words: str, typed: str = "") -> Done:
    """A command from its entry point on, in this process, which has loaded everything; `child` is a true one."""
    with contextlib.ExitStack() as given:
        output, errors = (given.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2))
        given.enter_context(patch.dict(os.environ, environment_of(settings), clear=True))
        given.enter_context(patch.multiple(sys, argv=["marketpulse", *words], stdin=io.StringIO(typed)))
        given.callback(faulthandler.enable, 2)  # the command has it write into `errors`
        code: Any = None
        try:
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                main()
        except SystemExit as ended:
            code = ended.code
        for file in (output, errors):
            file.seek(0)
        return Done(words, int(code or 0), output.read(), errors.read())


def child(settings: Settings, *words: str, typed: str = "", **environment: str) -> Done:
    """A command in a process of its own, until it ends."""
    return done_by(*words, typed=typed, environment=environment_of(settings, **environment), cwd=Path.cwd())


def done_by(*words: str, typed: str = "", environment: Mapping[str, str], cwd: Path, within_s: float = 240) -> Done:
    """A command in a process of its own with this environment, until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        process = Forked(
            partial(forked.command, typed=typed), *words, environment=environment, cwd=cwd, output=output, errors=errors
        )
        return Done(words, process.wait(within_s), output.read_text(), errors.read_text())
