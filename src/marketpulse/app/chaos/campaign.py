"""One run of a schedule: faults come when they are due, each recovery is timed, and at the end every row is accounted for.

The loop is one thread: each turn the pipeline does what is due, steps whose time has come begin, and every fault and every
wait for a recovery takes one step of its generator.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import psutil

from marketpulse.app.chaos.compare import Rows, archive_differences, clean_results, differences, start_clean_run
from marketpulse.app.chaos.faults import FAULTS
from marketpulse.app.chaos.own import OwnPipeline
from marketpulse.app.chaos.running import NotInjected, RunningPipeline
from marketpulse.app.chaos.schedule import Step
from marketpulse.errors import MarketPulseError
from marketpulse.settings import Settings

_TURN_S = 0.05
_SETTLES_S, _LOOK_AGAIN_S = 120.0, 1.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Injected:
    """A step and what became of it. `refused` says why it was not injected, `recovered_s` how long after its end all was well."""

    step: Step
    what: list[str] = field(default_factory=list)
    refused: str = ""
    recovered_s: float | None = None


@dataclass(slots=True)
class Outcome:
    """What was injected, and what is wrong after it (nothing: all equal)."""

    injected: list[Injected]
    differences: list[str]
    home: Path | None = None  # of a pipeline of chaos' own whose rows differ: everything is kept there
    has_clean_run: bool = True


class _Campaign:
    def __init__(self, pipeline: RunningPipeline, steps: Sequence[Step], say: Say) -> None:
        self._pipeline, self._say = pipeline, say
        self.injected = [Injected(step) for step in steps]
        self.wrong: list[str] = []
        self._names = frozenset(pipeline.processes())  # what runs before the first fault

    def run(self, seconds: float) -> None:
        """Until all faults are over and recovered from."""
        began_s = time.monotonic()
        waiting = sorted(self.injected, key=lambda injected: injected.step.at_s)
        lives: list[Iterator[None]] = []
        try:
            while waiting or lives or time.monotonic() < began_s + seconds:
                self._pipeline.turn()
                while waiting and time.monotonic() >= began_s + waiting[0].step.at_s:
                    lives.append(self._life(waiting.pop(0)))
                lives = [life for life in lives if next(life, life) is not life]
                time.sleep(_TURN_S)
        finally:
            for life in lives:
                life.close()  # type: ignore[attr-defined]

    def _life(self, injected: Injected) -> Iterator[None]:
        """The fault from its beginning to its recovery."""
        fault = FAULTS[injected.step.kind](self._pipeline, injected.step)
        try:
            for what in fault:
                if what is not None:
                    injected.what.append(what)
                    self._say(f"{injected.step}: {what}")
                yield
        except (NotInjected, psutil.Error) as error:
            if not injected.what:
                ended = isinstance(error, psutil.Error)
                injected.refused = "its process had just ended" if ended else str(error)
                self._say(f"{injected.step}: not injected: {injected.refused}")
                return
        except (MarketPulseError, RuntimeError) as error:
            self.wrong.append(f"step {injected.step.number} ({injected.step.kind}): {error}")
            return
        finally:
            fault.close()  # type: ignore[attr-defined]
        ended_s = time.monotonic()
        try:
            yield from self._pipeline.until_well(self._names)
            injected.recovered_s = time.monotonic() - ended_s
        except TimeoutError as error:
            self.wrong.append(f"step {injected.step.number} ({injected.step.kind}) was not recovered from: {error}")


def run_on_own(cache_dir: Path, seed: int, seconds: float, steps: Sequence[Step], say: Say) -> Outcome:
    """On a pipeline of chaos' own. Its directory goes when all rows are as they should be."""
    home = Path(tempfile.mkdtemp(prefix="marketpulse-chaos-"))
    pipeline = OwnPipeline(home, cache_dir, seed, seconds)
    with pipeline:
        say(f"{home}: Kafka runs, `up` starts")
        load = start_clean_run(pipeline)
        pipeline.start_watching()
        campaign = _Campaign(pipeline, steps, say)
        wrong, clean = campaign.wrong, cache(partial(clean_results, pipeline, load))
        try:
            _turn(pipeline, pipeline.until_well(frozenset(pipeline.processes())))
            say(f"all of it runs: {len(pipeline.rows) + len(pipeline.file_rows):,} rows come")
            pipeline.start_rows()
            campaign.run(seconds)
            say("the faults are over")
            pipeline.finish_rows()
            _turn(pipeline, _until_equal(pipeline, clean()))
            say("nothing changes any more in the stores")
            pipeline.stop_up()
        except TimeoutError as error:
            wrong.append(str(error))
        say("checking every row and every receipt")
        for check in (partial(differences, pipeline, clean()), partial(archive_differences, pipeline), pipeline.drift):
            try:
                wrong += check()
            except MarketPulseError as error:
                wrong.append(str(error))
        pipeline.keeps = bool(wrong)
    return Outcome(campaign.injected, wrong, home if wrong else None)


def run_on(settings: Settings, seconds: float, steps: Sequence[Step], say: Say) -> Outcome:
    """On somebody's own pipeline that runs now. There is no clean run: `verify` decides."""
    pipeline = RunningPipeline(settings)
    pipeline.start_watching()
    campaign = _Campaign(pipeline, steps, say)
    try:
        _turn(pipeline, pipeline.until_well(frozenset(pipeline.processes())))
        campaign.run(seconds)
        _turn(pipeline, pipeline.until_well(frozenset(pipeline.processes())))
    except TimeoutError as error:
        campaign.wrong.append(str(error))
    finally:
        pipeline.stop_watching()
    return Outcome(campaign.injected, campaign.wrong + pipeline.drift(), has_clean_run=False)


def _turn(pipeline: RunningPipeline, until: Iterator[None]) -> None:
    for _ in until:
        pipeline.turn()
        time.sleep(_TURN_S)


def _until_equal(pipeline: OwnPipeline, clean: dict[str, Rows]) -> Iterator[None]:
    """Until the stores have all rows, or what is wrong has stayed the same for long."""
    ends_s, look_at, before = time.monotonic() + _SETTLES_S, 0.0, [""]
    while (began_s := time.monotonic()) < ends_s:
        if began_s >= look_at:
            wrong = before
            with contextlib.suppress(MarketPulseError, OSError):  # the stores move on, or do not answer yet
                wrong = differences(pipeline, clean) + archive_differences(pipeline)
            if not wrong:
                return
            now_s = time.monotonic()
            look_at = now_s + max(_LOOK_AGAIN_S, 3 * (now_s - began_s))
            if wrong != before:
                before, ends_s = wrong, now_s + _SETTLES_S
        yield
