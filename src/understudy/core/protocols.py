"""What the rooms promise each other. Structural: nothing inherits from these."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Protocol, runtime_checkable

from understudy.core.asks import Answer, Call, Flow, Path, Reply, Request, Usage
from understudy.core.errors import EngineError
from understudy.core.values import Chain, Example, Outcome, Problem, Solution, Verdict


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
        """role -> roles that its examples ask, always `Call.out_of_fold`: these are trained before, once for each of ``folds``
        (an option that a method with needs must have), on the other folds' problems."""

    def sample(self, problem: Problem, path: Path, pool: Pool) -> Flow[Chain]:
        """One chain of the teacher (role ``teacher``)."""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        """The training examples of one problem, from its selected chains. A method with ``needs`` takes a further ``role``, whose
        examples are wanted now: for one without needs it must ask nobody."""

    def solve(self, problem: Problem, path: Path, pool: Pool) -> Flow[Solution]:
        """One solution by the students. ``problem`` is blind."""


@runtime_checkable
class Parted(Protocol):
    """What a method has besides where an answer takes several turns (DESIGN, error attribution)."""

    @property
    def parts(self) -> Mapping[str, str]:
        """The roles that `solve` asks -> the trained role whose student plays them."""

    @property
    def swaps(self) -> tuple[str, ...]:
        """The parts in whose place gold leaves something to go wrong: not the one that would only state the gold answer."""

    def told(self, problem: Problem, chain: Chain, call: Call) -> str:
        """What the stored ``chain`` says where ``call`` asks (at step ``call.about.step``): so gold takes the place of a part."""


@runtime_checkable
class Choosy(Protocol):
    """A method that cannot be fed with every chain that its format can write."""

    def unfit(self, problem: Problem, chain: Chain) -> str:
        """Why ``chain``, which states an answer, gives no example; "" where it does."""


@runtime_checkable
class Wordy(Protocol):
    """A method whose prompts and replies have words of their own: students from scratch learn them."""

    @property
    def words(self) -> tuple[str, ...]: ...


Check = Callable[[Problem, Chain], Verdict]
"""(problem with its gold answer, chain) -> the verdict on the whole chain: its answer, its steps, whatever is in it.
`checks.judge.judge` fills in the chain's id and the check's name; it asks no check about refused and cut-off chains."""


class Pool(Protocol):
    """What a method may see besides its problem. Every choice is a function of (study seed, problem, path)."""

    def exemplars(self, path: Path) -> list[tuple[Problem, Chain]]:
        """The solved problems that a study shows in prompts, for one prompt of ``path``; they are in no split that is sampled,
        trained on or evaluated."""

    def prompt(self, name: str) -> str:
        """The text of the teacher's prompt ``name`` (`core.prompts`). Raises StudyError where there is none."""

    def others(self, path: Path, n: int) -> list[tuple[Problem, Chain]]:
        """Up to ``n`` other training problems than the path's, each with one of its selected chains."""

    def outcome(self, chain: Chain) -> Outcome:
        """The verdict on a selected chain; NO_GOLD where nobody gave one."""


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
    """A model over a network, asked many requests at once."""

    @property
    def identity(self) -> str:
        """The name of the model: half of the ledger key."""

    @property
    def concurrency(self) -> int:
        """Requests at once, at most."""

    @property
    def n(self) -> int:
        """Replies that one request may ask for; it may become 1."""

    async def replies(self, requests: Sequence[Request]) -> Answer:
        """Answer requests that differ in their path only, or raise EngineError. Where it gives fewer replies, the last requests got
        none and are asked again."""


Engine = LocalEngine | AsyncEngine
Tool = Callable[[str], str]


class ReplyStore(Protocol):
    """Where replies are kept: the ledger. Keys as in `Request.key`."""

    def get(self, key: str) -> Reply | None: ...

    def reserve(self, key: str, *, engine: str, request: Request) -> bool:
        """Note that the request is about to go out over a network; it is sent when `flush` has returned. False where a budget has
        no room for it. `put` or `fail` says what became of it."""

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int, usage: Usage | None = None) -> None:
        """Accept the reply; it is durable at the latest when `flush` returns (group commit). ``usage``: what a request that was
        reserved took; None: one request, and the tokens that the reply says."""

    def fail(self, key: str, error: EngineError, usage: Usage | None = None) -> None:
        """A request that was reserved got no reply, and took ``usage``; None: what was set aside for it, or nothing where ``error``
        is an UnpaidError."""

    def flush(self) -> None:
        """All that the store was told is durable when this returns. Called from a thread beside that of the other calls, too."""


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


class EngineOptions(Protocol):
    """A registered engine: a frozen dataclass whose fields are the keys of [teacher] that only this engine has.

    It may have more members: ``check(task, *, chats)`` raises ValueError where the study asks what the engine cannot do (``chats``:
    its prompts are messages); ``prepare(root, *, chats)`` returns the options with paths made absolute and looked at; ``files()``
    lists the files that decide its replies; ``libraries`` names packages whose versions do; ``can`` names what it can do besides
    (``beams``, ``calculator``); ``paid`` is true where a failed ask is worth asking again on the next run.
    """

    def open(self, *, task: Any, seed: int) -> Engine:
        """The engine that plays the teacher of ``task``. ``seed`` is the study's."""
