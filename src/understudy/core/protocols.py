"""What the rooms promise each other. Structural: nothing inherits from these."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Protocol, runtime_checkable

from understudy.core.asks import Flow, Path, Reply, Request
from understudy.core.errors import EngineError
from understudy.core.values import Chain, Example, Outcome, Problem, Solution


class Method(Protocol):
    """A paper: what is asked of the teacher, what examples a chain gives to which role, how the students answer.

    An instance is a frozen dataclass whose fields are the options (= the TOML keys of an arm's ``options`` table).
    """

    @property
    def name(self) -> str: ...

    @property
    def paper(self) -> str:
        """arXiv id, or "" """

    @property
    def roles(self) -> tuple[str, ...]:
        """The student roles, each trained to a checkpoint of its own."""

    @property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """role -> roles that must be trained before its examples can be made."""

    def sample(self, problem: Problem, path: Path, pool: Pool) -> Flow[Chain]:
        """One chain of the teacher (role ``teacher``)."""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        """The training examples of one problem, from its selected chains."""

    def solve(self, problem: Problem, path: Path, pool: Pool) -> Flow[Solution]:
        """One solution by the students. ``problem`` is blind."""


Check = Callable[[Problem, str], Outcome]
"""(problem with its gold, an answer in canonical form) -> CORRECT, WRONG or UNDECIDABLE. Problems without gold, replies without
an answer and cut-off ones never get to it."""


class Pool(Protocol):
    """The solved problems that a study shows in prompts; they are in no split that is sampled, trained on or evaluated."""

    def exemplars(self, path: Path) -> list[tuple[Problem, Chain]]:
        """Those for one prompt of ``path``: which of them, and in what order, is a function of (study seed, problem, path)."""


class Source(Protocol):
    """A queue of requests that a local engine pulls from, and hands replies back to; more may come with each reply."""

    def take(self, n: int) -> list[tuple[int, Request]]:
        """Up to ``n`` requests that wait, each with the ticket under which its reply is given back; [] when none wait."""

    def give(self, ticket: int, reply: Reply) -> None:
        """Hand one reply back. Flows that waited for it go on at once, so `take` may then have more."""

    def fail(self, ticket: int, error: EngineError) -> None:
        """Hand one request back that cannot be answered: the flow that asked gets ``error``, all others go on."""


@runtime_checkable
class LocalEngine(Protocol):
    """A model on this machine: takes requests from a source until none wait, keeping its batch full as rows end."""

    @property
    def identity(self) -> str:
        """Hash of the weights, or a declared name: half of the ledger key."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Of: n, logprobs, score, seed, stop."""

    def serve(self, source: Source) -> None:
        """Answer everything that ``source`` has, until `take` returns [] and no row is unfinished.

        A request that cannot be answered is failed; EngineError is raised where nothing can be (damaged weights).
        """


@runtime_checkable
class AsyncEngine(Protocol):
    """A model over a network: one reply at a time, many at once."""

    @property
    def identity(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[str]: ...

    async def reply(self, request: Request) -> Reply:
        """Answer one request, or raise EngineError."""


Engine = LocalEngine | AsyncEngine
Tool = Callable[[str], str]


class ReplyStore(Protocol):
    """Where replies are kept: the ledger. Keys as in `Request.key`."""

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int) -> None:
        """Accept the reply; it is durable at the latest when `flush` returns (group commit)."""

    def flush(self) -> None: ...


class Progress(Protocol):
    """Where a stage tells how far it is: shown live, with rate and time left. ``total`` 0: ``note`` is a line of its own."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """A `Progress` that shows nothing."""


def counting(progress: Progress, stage: str, total: int) -> Callable[[object], None]:
    """A function that tells ``progress`` how often it was called: what a driver's ``on_end`` wants."""
    done = itertools.count(1)

    def one_more(_ended: object) -> None:
        progress(stage, next(done), total)

    return one_more


ScoreFunction = Callable[[FilePath], float]
"""checkpoint directory -> dev accuracy of generated answers; how training learns which checkpoint is best."""
