"""A stage is a value: a frozen dataclass whose fields are its needs (the stages before it) and everything that decides its result.

    problems -> chains -> verdicts -> selection -> student (per role, per seed) -> answers (per split)

Equal fields give equal keys, so arms that share a stage compute it once, and the whole plan with all its keys is known before
anything runs. Each kind of stage is one file in `pipeline.stages`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, cast, get_args

from understudy.core.options import describe, keyed_fields, unkeyed
from understudy.core.protocols import Progress, silent
from understudy.core.values import digest
from understudy.engines.local.device import SettledDevice
from understudy.pipeline.cache import find_manifest, hash_code, read_summary

Kind = Literal["problems", "chains", "verdicts", "selection", "student", "answers"]
ERRORS = "errors.json"
"""The file of a stage whose requests may fail: the error of each."""
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class StageSummary:
    """The summary of a finished stage, kept in its manifest: one dataclass for each kind. ``errors``: requests that failed."""

    errors: int = 0


S = TypeVar("S", bound=StageSummary)


class Context(NamedTuple):
    """Where a stage runs: the ``run`` directory, where it reports its ``progress``, and its ``share`` of this machine's memory."""

    run: Path
    progress: Progress = silent
    share: float = 1.0

    @property
    def ledger(self) -> Path:
        """The file with every reply of a teacher that was paid for."""
        return self.run / "ledger.sqlite"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Stage(Generic[S]):
    """One cached step. ``label`` names it for people and does not affect the key."""

    label: str = unkeyed("")

    kind: ClassVar[Kind]
    summary: ClassVar[type[StageSummary]]

    def run(self, context: Context) -> S:
        """Write the stage's files into `directory` and return their summary. The stages that it needs are done."""
        raise NotImplementedError

    def modules(self) -> list[str]:
        """List the modules whose source decides the result, besides the stage's own file. Their imports count, too."""
        return []

    def libraries(self) -> tuple[str, ...]:
        """List the installed packages whose versions decide the result."""
        return ()

    @property
    def pays(self) -> bool:
        """Whether it asks a teacher through the run's ledger, which allows one writer at a time."""
        return False

    @property
    def device(self) -> SettledDevice:
        """The device on which its model runs."""
        return "cpu"

    @property
    def processes(self) -> int:
        """How many processes it takes, each with a GPU or a processor core of its own."""
        return 1

    def is_final(self, summary: S) -> bool:  # noqa: ARG002 - stages that ask endpoints use it
        """Whether running it again would bring nothing new."""
        return True

    @cached_property
    def key(self) -> str:
        """The name of the result: a digest of all fields that decide it, the keys of its needs, and the code that makes it."""
        version = hash_code([type(self).__module__, *self.modules()], self.libraries())
        return digest([self.kind, {field.name: describe(getattr(self, field.name)) for field in keyed_fields(self)}, version])

    @property
    def folder(self) -> str:
        """The name of its directory."""
        return f"{self.kind}-{self.key}"

    def needs(self) -> "Iterator[Stage[Any]]":
        """Yield the stages that must be done before: those among its fields, unless a kind adds more."""
        yield from (value for field in keyed_fields(self) if isinstance(value := getattr(self, field.name), Stage))

    def directory(self, run: Path) -> Path:
        """Return the directory of its files in the run directory ``run``."""
        return run / "stages" / self.folder

    def read_summary(self, run: Path) -> S:
        """Read the summary of the finished stage."""
        return cast(S, read_summary(self.directory(run), self.summary))

    def read_errors(self, run: Path) -> list[str]:
        """Read why requests of the finished stage failed."""
        path = self.directory(run) / ERRORS
        return [row["error"] for row in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []

    def done(self, run: Path) -> bool:
        """Whether it is finished and final."""
        return find_manifest(self.directory(run)) is not None and self.is_final(self.read_summary(run))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)
