"""What would be done so that AWS has what is wanted, and doing it.

    plan = wanted (settings) - found (AWS)        nothing is changed
    apply = the plan's steps in order             done again, it finds nothing to do; after a fault it goes on
    destroy = all that bears our mark, last first   files stay where they are

An object of the same name without our mark is somebody else's: it is left as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from marketpulse.aws.account import Account, explained
from marketpulse.aws.athena import Queries, Workgroups
from marketpulse.aws.glue import Crawlers, Databases, Tables, Views
from marketpulse.aws.objects import Found, Objects
from marketpulse.aws.wanted import CRAWLER, DATABASE, KINDS, QUERY, TABLE, VIEW, WORKGROUP, Wanted
from marketpulse.settings import Settings

Action = Literal["create", "update", "delete", "none", "keep"]


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one object. `changes` are the fields that differ: name -> (as it is, as it shall be)."""

    action: Action
    kind: str
    name: str
    changes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    why: str = ""
    wanted: Wanted | None = None
    found: Found | None = None


class Aws:
    """The objects of one pipeline in one account. Raises Fatal and Retryable as account.explained says."""

    def __init__(self, account: Account, settings: Settings) -> None:
        place = account.place()
        aws = settings.aws
        self._names = {DATABASE: aws.database, CRAWLER: aws.crawler, WORKGROUP: aws.workgroup}
        self._objects: dict[str, Objects] = {
            DATABASE: Databases(account.glue),
            TABLE: Tables(account.glue, aws.database),
            VIEW: Views(account.glue, aws.database),
            CRAWLER: Crawlers(account.glue, place),
            WORKGROUP: Workgroups(account.athena, place),
            QUERY: Queries(account.athena, aws.workgroup),
        }

    def plan(self, wanted: Sequence[Wanted]) -> list[Step]:
        """A step for each object that is wanted or that is ours, in the order in which they are taken."""
        gone, made = [], []
        for kind in KINDS:
            own = [one for one in wanted if one.kind == kind]
            found = self._found(kind, [one.name for one in own])
            made += [_step(one, found.get(one.name)) for one in own]
            left = set(found) - {one.name for one in own}
            gone += [self._removal(kind, name, found[name]) for name in sorted(left) if found[name].ours]
        return made + gone[::-1]

    def destruction(self) -> list[Step]:
        """A step for each object that bears our mark, and for those of our names that do not."""
        steps = []
        for kind in reversed(KINDS):
            for name, found in sorted(self._found(kind, []).items()):
                steps.append(self._removal(kind, name, found))
        return steps

    def do(self, steps: Iterable[Step]) -> Iterator[Step]:
        """Take the steps that change something; each is given back when it is done."""
        for step in steps:
            objects = self._objects[step.kind]
            with explained(f"{step.action} {step.kind} {step.name}"):
                match step.action:
                    case "create":
                        assert step.wanted is not None  # noqa: S101  (so _step makes it)
                        objects.create(step.wanted)
                    case "update":
                        assert step.wanted is not None  # noqa: S101  (so _step makes it)
                        assert step.found is not None  # noqa: S101
                        objects.update(step.wanted, step.found)
                    case "delete":
                        assert step.found is not None  # noqa: S101  (so _removal makes it)
                        objects.delete(step.name, step.found)
                    case _:
                        continue
            yield step

    def _found(self, kind: str, names: list[str]) -> dict[str, Found]:
        name = self._names.get(kind)
        with explained(f"looking for the {kind}"):
            return self._objects[kind].found(names if name is None else [name])

    def _removal(self, kind: str, name: str, found: Found) -> Step:
        if not found.ours:
            return Step("keep", kind, name, why="it does not bear our mark")
        with explained(f"looking at the {kind} {name}"):
            why = self._objects[kind].blocked(name)
        if why is not None:
            return Step("keep", kind, name, why=why)
        return Step("delete", kind, name, found=found)


def changing(steps: Iterable[Step]) -> list[Step]:
    """Those that change something."""
    return [step for step in steps if step.action in ("create", "update", "delete")]


def _step(wanted: Wanted, found: Found | None) -> Step:
    if found is None:
        return Step("create", wanted.kind, wanted.name, wanted=wanted)
    if not found.ours:
        why = "it does not bear our mark, so it is used as it is"
        if wanted.kind in (TABLE, VIEW, QUERY):
            why = "it does not bear our mark: set aws.table_prefix, aws.database or aws.workgroup to another"
        return Step("keep", wanted.kind, wanted.name, why=why)
    changes = {
        name: (found.fields.get(name), value)
        for name, value in wanted.fields.items()
        if found.fields.get(name) != value
    }
    return Step("update" if changes else "none", wanted.kind, wanted.name, changes, "", wanted, found)
