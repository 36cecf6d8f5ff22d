"""The engine's seat at the log, taken for a moment by who is not the engine: to give it the state that it begins with.

Only while no engine runs. All partitions' states and the offsets that they stand at commit in one transaction, as an
engine's commit does (kafka.transaction); the next engine finds them there.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from marketpulse.errors import Fatal, Retryable
from marketpulse.kafka.client import client_config, error_of
from marketpulse.kafka.snapshot import Pointer
from marketpulse.kafka.transaction import BEGINNING, Taken, TransactionalLog
from marketpulse.settings import Settings

_CALL_S = 30.0
_POLL_S = 0.1
_NO_GROUP = (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD, ConsumerGroupState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class StateOf:
    """What a partition begins with: its state, which covers the log up to `covered`; `committed` is how far the
    engine was when it was made (None: it has not begun)."""

    data: bytes
    covered: int
    committed: int | None


def engine_runs(settings: Settings) -> bool:
    """Whether a process works as the engine now. Raises Retryable while the broker is away."""
    group = settings.group(settings.process.group)
    try:
        admin = AdminClient(client_config(settings, "admin"))  # must outlive its answer
        asked = admin.describe_consumer_groups([group], request_timeout=_CALL_S)
        found = asked[group].result(_CALL_S)
    except KafkaException as error:
        fault = error.args[0]
        if fault.name() == "GROUP_ID_NOT_FOUND":
            return False
        raise error_of(error) from None
    return found.state not in _NO_GROUP and bool(found.members)


class Seat:
    """A hand-over of states, by partition, that the load of this name ended with."""

    def __init__(self, settings: Settings, load: str, states: Mapping[int, StateOf]) -> None:
        self._load, self._states = load, states
        self._owned: set[int] = set()
        self._wrong: int | None = None
        self._log = TransactionalLog(settings, 0, self._take, self._give, self._places)

    def hand_over(self) -> None:
        """Commit all, or nothing. Raises Retryable while the broker is away, Fatal when the engine has gone on since."""
        try:
            self._log.start()
            give_up = time.monotonic() + _CALL_S
            while not self._states.keys() <= self._owned:
                self._log.poll(_POLL_S, 1)
                if time.monotonic() > give_up:
                    raise Retryable(
                        f"the engine's partitions did not come within {_CALL_S:.0f} s: stop whoever else works as the "
                        "engine, and load again"
                    )
            if self._wrong is not None:
                raise Fatal(
                    f"the engine went on with partition {self._wrong} while the files were loaded: stop the pipeline, and run "
                    "the same `load` again; what is stored is not stored twice"
                )
            self._log.begin()
            self._log.commit()
        finally:
            self._log.close()

    def _take(self, partitions: Sequence[Taken]) -> dict[int, int]:
        for taken in partitions:
            self._owned.add(taken.partition)
            expected = self._states.get(taken.partition)
            if expected is not None and expected.committed != taken.committed:
                self._wrong = taken.partition
        return {taken.partition: taken.committed or BEGINNING for taken in partitions}

    def _give(self, partitions: Sequence[int]) -> None:
        self._owned -= set(partitions)

    def _places(self) -> dict[int, tuple[int, Pointer | None]]:
        if self._wrong is not None or not self._states.keys() <= self._owned:
            return {}
        return {
            partition: (state.covered, self._log.write_snapshot(partition, state.covered, state.data, self._load))
            for partition, state in self._states.items()
        }
