"""What the rooms promise each other. The protocols are structural: only an engine's options must inherit from theirs."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from understudy.core.asks import Answer, Call, Flow, Reply, Request, SamplePath, Usage
from understudy.core.errors import EngineError
from understudy.core.values import Chain, Example, Outcome, Problem, Solution, Verdict


class Pool(Protocol):
    """What a method may see besides its problem. Each choice depends only on (study seed, problem, path)."""

    def exemplars(self, path: SamplePath) -> list[tuple[Problem, Chain]]:
        """Return the solved problems that the study shows in a prompt of ``path``. They are in no split that is sampled, trained
        on or evaluated."""

    def prompt(self, name: str) -> str:
        """Return the text of the teacher's prompt ``name`` (`core.prompts`). Raises StudyError if no prompt has that name."""

    def others(self, path: SamplePath, n: int) -> list[tuple[Problem, Chain]]:
        """Return up to ``n`` training problems other than the path's, each with one of its selected chains."""

    def outcome(self, chain: Chain) -> Outcome:
        """Return the outcome of a selected chain; NO_GOLD where no check judged it."""


class Method(Protocol):
    """A paper: what it asks the teacher, which examples a chain gives to each role, and how the students answer.

    An instance is a frozen dataclass. Its fields are the options, which are the keys of an arm's ``options`` table.
    """

    roles: tuple[str, ...]
    """The student roles. Each role is trained to its own checkpoint."""

    needs: Mapping[str, tuple[str, ...]]
    """role -> the roles that its examples ask, always with `Call.out_of_fold`. Those roles are trained first, once for each of
    ``folds`` (an option that a method with needs must have), on the problems of the other folds."""

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        """Get one chain from the teacher (role ``teacher``)."""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        """Make the training examples of one problem from its selected chains. In a method with ``needs`` this takes another
        argument, ``role``: the role to train now. For a role without needs it must not ask anybody."""

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        """Get one solution from the students. ``problem`` is blind."""


class OneStudent:
    """A method that trains one student, whose examples ask nobody. Most methods do."""

    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}


class NoStudent(OneStudent):
    """A method that only asks and trains nobody."""

    roles = ()

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:  # noqa: ARG002
        yield from ()
        return []


@runtime_checkable
class MethodWithParts(Protocol):
    """A method whose answers take several turns, so that gold can replace a part (error attribution)."""

    parts: Mapping[str, str]
    """role that `solve` asks -> the trained role whose student plays it."""

    swaps: tuple[str, ...]
    """The parts that gold may replace. A part that would only state the gold answer is not among them."""

    def quote(self, problem: Problem, chain: Chain, call: Call) -> str:
        """Return what the stored ``chain`` replies to ``call``, which asks at the step ``call.step``."""


@runtime_checkable
class SelectiveMethod(Protocol):
    """A method that cannot learn from every chain that its format can write."""

    def unfit(self, problem: Problem, chain: Chain) -> str:
        """Return why ``chain``, which states an answer, makes no example; "" if it makes one."""


@runtime_checkable
class MethodWithRationale(Protocol):
    """A method whose student writes a rationale before the answer, so that another rationale can replace it (faithfulness)."""

    rationale_roles: tuple[str, ...]
    """The parts that write the rationale."""

    def rationale_of(self, problem: Problem, solution: Solution) -> str | None:
        """Return the rationale in ``solution``; None where it cannot be told from the answer."""

    def put_rationale(self, rationale: str, call: Call) -> tuple[str, bool]:
        """Return what ``rationale`` replies to ``call`` of such a part, and whether its student continues from there."""


Check = Callable[[Problem, Chain], Verdict]
"""(problem with its gold answer, chain) -> the verdict on the whole chain: its answer, its steps, anything in it.
`checks.judge.judge` fills in the chain's id and the check's name; it passes no refused or cut-off chains to checks."""


class Source(Protocol):
    """A queue from which a local engine takes requests and to which it gives replies. Each reply may bring more requests."""

    def take(self, n: int) -> list[tuple[int, Request]]:
        """Take up to ``n`` waiting requests, each with the ticket for its reply; [] when none are waiting."""

    def give(self, ticket: int, reply: Reply) -> None:
        """Give one reply. The flows that waited for it continue at once, so `take` may then have more."""

    def begin_again(self) -> None:
        """Put requests that were taken but have no reply back at the front of the queue."""

    def fail(self, ticket: int, error: EngineError) -> None:
        """Fail one request. The flow that asked gets ``error``; all other flows continue."""


@runtime_checkable
class LocalEngine(Protocol):
    """A model on this machine, or one that is asked in batches. It takes requests from a source until none are waiting.

    It may have a ``window``: the number of requests that it answers together, where that exceeds what a driver keeps waiting.
    """

    @property
    def identity(self) -> str:
        """A hash of the weights, or a declared name. It is part of the ledger key."""

    def serve(self, source: Source) -> None:
        """Answer every request of ``source``, until `take` returns [] and every request has its reply.

        The engine fails a request that it cannot answer. It raises EngineError if it can answer none (damaged weights).
        """


@runtime_checkable
class AsyncEngine(Protocol):
    """A model over a network, asked many requests at once."""

    identity: str
    """The name of the model: half of the ledger key."""

    concurrency: int
    """The maximum number of requests at once."""

    @property
    def n(self) -> int:
        """The number of replies that one request may ask for; it may become 1."""

    async def replies(self, requests: Sequence[Request]) -> Answer:
        """Answer requests that differ only in their path, or raise EngineError. With fewer replies than requests, the last
        requests got none and are asked again. If the engine has a method ``stop()``, it is called when the run is about to end;
        from then on, `replies` that have not sent their request raise UnpaidError."""


Engine = LocalEngine | AsyncEngine


class EngineOptions(ABC):
    """The options of an engine: a frozen dataclass whose fields are the keys of [teacher] that only this engine has. The values
    here are defaults that an engine may override."""

    asks: ClassVar[bool] = True
    """Whether the engine answers prompts; recorded chains do not."""
    paid: ClassVar[bool] = False
    """Whether asking it costs money. If so, ``price`` and ``budget`` apply, and the next run asks again what failed."""
    can: ClassVar[frozenset[str]] = frozenset()
    """``"beams"`` and ``"calculator"``, where the engine has them."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """The packages whose versions decide its replies."""
    checkpoint: str | None = None
    """The directory or file of its model, if that is on this machine."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """The device that it runs on."""
    precision: str = "unknown"
    """The precision of its arithmetic."""

    @abstractmethod
    def open(self, *, task: Any, seed: int) -> Engine:
        """Open the engine for ``task``; ``seed`` is the study's."""

    def check(self, task: Any, *, chats: bool) -> None:  # noqa: B027 - most engines can be asked about every task
        """Raise ValueError if the study asks for what the engine cannot do. ``chats``: prompts are messages."""

    def prepare(self, root: Path, *, chats: bool) -> Self:  # noqa: ARG002
        """Inspect what the options name and return them with absolute paths; relative ones start from ``root``."""
        return self

    def files(self) -> list[Path]:
        """Return the files that decide its replies."""
        return []

    def describe(self) -> Mapping[str, Any]:
        """Return what a corpus's card says of the engine besides its name. Never include its location or whose key it uses."""
        return {}


class ReplyStore(Protocol):
    """The store of replies: the ledger. Keys are those of `Request.key`."""

    def get(self, key: str) -> Reply | None: ...

    def reserve(self, key: str, *, engine: str, request: Request) -> bool:
        """Record that the request is about to go out over a network. It is sent once `flush` has returned; then `put` or `fail`
        reports the result. Returns False if a budget has no room for the request."""

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int, usage: Usage | None = None) -> None:
        """Accept the reply. It is durable at the latest when `flush` returns (group commit). ``usage`` is the cost of a reserved
        request; None means one request and the tokens that the reply counts."""

    def fail(self, key: str, error: EngineError, usage: Usage | None = None) -> None:
        """Report that a reserved request got no reply and cost ``usage``. None means the cost that was reserved for it, or nothing
        if ``error`` is an UnpaidError."""

    def flush(self) -> None:
        """Make everything that the store has accepted durable. A thread other than that of the other calls may call this."""


class Progress(Protocol):
    """Receives the progress of a stage, to show it live with rate and time left. With ``total`` 0, ``note`` is a separate line."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Show nothing (a `Progress`)."""


def make_counter(progress: Progress, stage: str, total: int) -> Callable[[object], None]:
    """Return a function for a driver's ``on_end`` that reports to ``progress`` how many flows have ended."""
    done = itertools.count(1)
    return lambda _flow: progress(stage, next(done), total)


ScoreFunction = Callable[[Path], float]
"""checkpoint directory -> dev accuracy of generated answers; how training learns which checkpoint is best."""
