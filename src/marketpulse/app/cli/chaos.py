"""`chaos`: faults by seed, on a pipeline of its own or on one that is marked for it."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketpulse.app.cli.common import parse_duration, read_settings
from marketpulse.app.exit_codes import FAILED, GOOD
from marketpulse.errors import ParameterError, SettingsError

if TYPE_CHECKING:
    from marketpulse.app.chaos.campaign import Outcome
    from marketpulse.app.chaos.schedule import Step

_APART = "MARKETPULSE_CHAOS_APART"


def register(app: typer.Typer) -> None:
    app.command()(chaos)


def chaos(
    seed: Annotated[int, typer.Option(help="The same seed, the same schedule.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.01, help="Duration of the schedule.")] = 1.0,
    only: Annotated[str | None, typer.Option(metavar="KINDS", help="Kinds to inject, such as kill,stop,broker. Default: all.")] = None,
    keep: Annotated[str | None, typer.Option(metavar="NUMBERS", help="Steps to inject, such as 3,7. Default: all.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Print the kinds and the schedule, and exit.")] = False,
    report: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report to this file too.")] = None,
    shrink: Annotated[str, typer.Option(metavar="TIME", help="Time limit of the search for a shorter failing schedule; 0: no search.")] = "10m",
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Inject into the running pipeline of this configuration, which must set `[chaos] allowed = true`. Default: a temporary pipeline.")] = None,
) -> None:  # fmt: skip
    """Inject faults into a pipeline by seed, and check that no row is lost or doubled.

    Without --config it starts a Kafka, a proxy in front of it and a complete `marketpulse up` in a temporary directory,
    sends rows, and compares the stored rows with a load of the same rows without faults. With --config it injects faults
    into the pipeline that runs with that configuration, and `verify` decides. Exits with 0 when all is equal, else with 1.

    \b
    marketpulse chaos --seed 7 --minutes 5
    marketpulse chaos --seed 7 --minutes 5 --only kill,stop,broker
    marketpulse chaos --seed 7 --minutes 5 --keep 3,7       the same steps 3 and 7, and no others
    marketpulse chaos --list --seed 7
    """
    from marketpulse.app.chaos.own import PROCESSES
    from marketpulse.app.chaos.running import RunningPipeline
    from marketpulse.app.chaos.schedule import KINDS, draw_schedule

    settings, shrink_s = read_settings(config), 0.0 if shrink == "0" else parse_duration(shrink)
    kinds = list(KINDS) if only is None else only.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ParameterError(f"--only {unknown[0]}: unknown kind; the kinds are {', '.join(KINDS)}")
    processes: Sequence[str] = PROCESSES
    if config is not None:
        if not settings.chaos.allowed:
            raise SettingsError(
                f"{config} does not allow chaos: set `allowed = true` in `[chaos]` if faults may be injected into this pipeline"
            )
        processes = RunningPipeline(settings).processes()
        if not processes and not show:
            raise ParameterError(
                f"nothing runs on {settings.data_dir}: start it with `marketpulse up --config {config}`"
            )
    steps = draw_schedule(seed, minutes, kinds, processes or PROCESSES)
    if keep is not None:
        chosen = {int(number) for number in keep.split(",") if number.strip().isdigit()}
        steps = [step for step in steps if step.number in chosen]
        if not steps:
            raise ParameterError(f"--keep {keep}: the schedule has no such step; --list shows it")
    if show:
        for kind in kinds:
            typer.echo(f"{kind:8} {KINDS[kind]}")
        for step in steps:
            typer.echo(str(step))
        return

    from marketpulse.app.chaos.campaign import run_on, run_on_own
    from marketpulse.app.chaos.report import as_object, lines

    def run(some: "Sequence[Step]") -> "Outcome":
        if config is not None:
            return run_on(settings, 60 * minutes, some, typer.echo)
        return run_on_own(settings.cache_dir.absolute(), seed, 60 * minutes, some, typer.echo)

    if config is None:
        _stand_apart()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was done is undone, as after Ctrl-C
    outcome = run(steps)
    for line in lines(outcome):
        typer.echo(line)
    if report is not None:
        report.write_text(json.dumps(as_object(outcome, seed, minutes), indent=1) + "\n")
    if not outcome.differences:
        raise typer.Exit(GOOD)
    if outcome.home is not None:
        typer.echo(f"Everything of it is kept in {outcome.home}.")
    command = ["marketpulse", "chaos", "--seed", str(seed), "--minutes", f"{minutes:g}"]
    command += [] if only is None else ["--only", only]
    command += [] if config is None else ["--config", str(config)]
    _repeat(steps, command, shrink_s, run)
    raise typer.Exit(FAILED)


def _stand_apart() -> None:
    """Go on where small disks may be mounted, if this user may have such a place, and without what configures another pipeline."""
    if _APART not in os.environ and shutil.which("unshare") is not None:
        os.environ[_APART] = "1"
        if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0:
            os.execvp("unshare", ["unshare", "-rm", sys.executable, "-m", "marketpulse", *sys.argv[1:]])  # noqa: S606
    for name in list(os.environ):
        if name.startswith(("MARKETPULSE_", "KAFKA_")):
            del os.environ[name]


def _repeat(
    steps: "Sequence[Step]", command: Sequence[str], shrink_s: float, run: "Callable[[Sequence[Step]], Outcome]"
) -> None:
    """Say how to have the failure again: with all of its steps, then with as few as were found to be enough."""
    from marketpulse.app.chaos.shrink import shrink

    def say(some: "Sequence[Step]") -> None:
        typer.echo(shlex.join([*command, "--keep", ",".join(str(step.number) for step in some)]))

    typer.echo("Again:")
    say(steps)
    if shrink_s and len(steps) > 1:
        typer.echo(f"Looking for a shorter schedule that fails too, for {shrink_s:.0f} s at most.")
        ends_s = time.monotonic() + shrink_s
        shorter = shrink(steps, lambda some: bool(run(some).differences), lambda: time.monotonic() < ends_s)
        typer.echo("The shortest that was found:")
        say(shorter)
