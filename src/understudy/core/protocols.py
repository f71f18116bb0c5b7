"""What the rooms promise each other. The protocols are structural: nothing need inherit from them, but for an engine's options."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from understudy.core.asks import Answer, Call, Flow, Reply, Request, SamplePath, Usage
from understudy.core.errors import EngineError
from understudy.core.values import Chain, Example, Outcome, Problem, Solution, Verdict


class Pool(Protocol):
    """What a method may see besides its problem. Each choice is a function of (study seed, problem, path)."""

    def exemplars(self, path: SamplePath) -> list[tuple[Problem, Chain]]:
        """The solved problems that the study shows in a prompt of ``path``. No split that is sampled, trained on or evaluated has
        them."""

    def prompt(self, name: str) -> str:
        """The text of the teacher's prompt ``name`` (`core.prompts`). Raises StudyError where no prompt has that name."""

    def others(self, path: SamplePath, n: int) -> list[tuple[Problem, Chain]]:
        """Up to ``n`` training problems other than the path's, each with one of its selected chains."""

    def outcome(self, chain: Chain) -> Outcome:
        """The outcome of a selected chain; NO_GOLD where no check judged it."""


class Method(Protocol):
    """A paper: what it asks the teacher, which examples a chain gives to each role, and how the students answer.

    An instance is a frozen dataclass. Its fields are the options, which are the keys of an arm's ``options`` table.
    """

    @property
    def roles(self) -> tuple[str, ...]:
        """The student roles. Each role is trained to its own checkpoint."""

    @property
    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """role -> the roles that its examples ask, always with `Call.out_of_fold`. Those roles are trained first, once for each of
        ``folds`` (an option that a method with needs must have), on the problems of the other folds."""

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        """Get one chain from the teacher (role ``teacher``)."""

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:
        """Make the training examples of one problem from its selected chains. A method with ``needs`` takes a further argument
        ``role``, the role to train now. For a role without needs it must ask nobody."""

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        """Get one solution from the students. ``problem`` is blind."""


class OneStudent:
    """Most methods train one student, whose examples ask nobody."""

    roles: ClassVar[tuple[str, ...]] = ("student",)
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {}


class NoStudent(OneStudent):
    """A method that only asks trains nobody."""

    roles = ()

    def examples(self, problem: Problem, chains: Sequence[Chain], pool: Pool) -> Flow[list[Example]]:  # noqa: ARG002
        yield from ()
        return []


@runtime_checkable
class MethodWithParts(Protocol):
    """A method whose answers take several turns, so that gold can take the place of a part (error attribution)."""

    @property
    def parts(self) -> Mapping[str, str]:
        """role that `solve` asks -> the trained role whose student plays it."""

    @property
    def swaps(self) -> tuple[str, ...]:
        """The parts that gold may play. A part that would only state the gold answer is not among them."""

    def quote(self, problem: Problem, chain: Chain, call: Call) -> str:
        """The reply that the stored ``chain`` has to ``call``, which asks at the step ``call.step``."""


@runtime_checkable
class SelectiveMethod(Protocol):
    """A method that cannot learn from every chain that its format can write."""

    def unfit(self, problem: Problem, chain: Chain) -> str:
        """The reason why ``chain``, which states an answer, gives no example; "" where it gives one."""


@runtime_checkable
class MethodWithRationale(Protocol):
    """A method whose student writes a rationale before the answer, in the place of which another may stand (faithfulness)."""

    @property
    def rationale_roles(self) -> tuple[str, ...]:
        """The parts that write it."""

    def rationale_of(self, problem: Problem, solution: Solution) -> str | None:
        """The rationale in ``solution``; None where there is none to be told from the answer."""

    def put_rationale(self, rationale: str, call: Call) -> tuple[str, bool]:
        """What ``rationale`` has for the reply to ``call`` of such a part, and whether its student goes on from there."""


Check = Callable[[Problem, Chain], Verdict]
"""(problem with its gold answer, chain) -> the verdict on the whole chain: its answer, its steps, whatever is in it.
`checks.judge.judge` fills in the chain's id and the check's name; it asks no check about refused and cut-off chains."""


class Source(Protocol):
    """A queue from which a local engine takes requests and to which it gives replies. Each reply may bring more requests."""

    def take(self, n: int) -> list[tuple[int, Request]]:
        """Take up to ``n`` waiting requests, each with the ticket for its reply; [] when none wait."""

    def give(self, ticket: int, reply: Reply) -> None:
        """Give one reply. The flows that waited for it continue at once, so `take` may then have more."""

    def begin_again(self) -> None:
        """Requests that were taken and have no reply wait again, before all others."""

    def fail(self, ticket: int, error: EngineError) -> None:
        """Fail one request. The flow that asked gets ``error``, and all other flows continue."""


@runtime_checkable
class LocalEngine(Protocol):
    """A model on this machine, or one that is asked in batches. It takes requests from a source until none wait.

    It may have a ``window``: the number of requests that it answers together, where that is more than a driver lets wait.
    """

    @property
    def identity(self) -> str:
        """A hash of the weights, or a declared name. It is part of the ledger key."""

    def serve(self, source: Source) -> None:
        """Answer every request of ``source``, until `take` returns [] and every request has its reply.

        The engine fails a request that it cannot answer. It raises EngineError where it can answer none (damaged weights).
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
        none and are asked again. An engine with a method ``stop()`` is told by it that the run is about to end: `replies` that have
        not sent their request raise UnpaidError then."""


Engine = LocalEngine | AsyncEngine


class EngineOptions(ABC):
    """The options of an engine: a frozen dataclass whose fields are the keys of [teacher] that this engine alone has. What is here
    holds where an engine does not say otherwise."""

    asks: ClassVar[bool] = True
    """Whether it answers prompts; recorded chains do not."""
    paid: ClassVar[bool] = False
    """Whether it costs to ask it. ``price`` and ``budget`` then hold, and the next run asks again what failed."""
    can: ClassVar[frozenset[str]] = frozenset()
    """``"beams"`` and ``"calculator"``, where the engine has them."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """The packages whose versions decide its replies."""
    checkpoint: str | None = None
    """The directory or file of its model, where that is on this machine."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where it runs."""
    precision: str = "unknown"
    """Of its arithmetic."""

    @abstractmethod
    def open(self, *, task: Any, seed: int) -> Engine:
        """The engine for ``task``; ``seed`` is the study's."""

    def check(self, task: Any, *, chats: bool) -> None:  # noqa: B027 - most engines can be asked about every task
        """Raise ValueError where the study asks what the engine cannot do. ``chats``: prompts are messages."""

    def prepare(self, root: Path, *, chats: bool) -> Self:  # noqa: ARG002
        """The options after a look at what they name, with absolute paths; they start from ``root``."""
        return self

    def files(self) -> list[Path]:
        """The files that decide its replies."""
        return []

    def describe(self) -> Mapping[str, Any]:
        """What a corpus's card says of it, besides its name: never where it is, or with whose key it is asked."""
        return {}


class ReplyStore(Protocol):
    """The store of replies: the ledger. Keys are those of `Request.key`."""

    def get(self, key: str) -> Reply | None: ...

    def reserve(self, key: str, *, engine: str, request: Request) -> bool:
        """Note that the request is about to go out over a network. It is sent once `flush` has returned, and `put` or `fail` then
        reports the result. Returns False where a budget has no room for the request."""

    def put(self, key: str, reply: Reply, *, engine: str, request: Request, seed: int, usage: Usage | None = None) -> None:
        """Accept the reply, which is durable at the latest when `flush` returns (group commit). ``usage`` is the cost of a request
        that was reserved; None means one request and the tokens that the reply counts."""

    def fail(self, key: str, error: EngineError, usage: Usage | None = None) -> None:
        """Report that a reserved request got no reply and cost ``usage``. None means the cost that was reserved for it, or nothing
        where ``error`` is an UnpaidError."""

    def flush(self) -> None:
        """Make everything durable that the store accepted before. Another thread than that of the other calls may call this."""


class Progress(Protocol):
    """Receives the progress of a stage, to show it live with rate and time left. With ``total`` 0, ``note`` is a line of its
    own."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """A `Progress` that shows nothing."""


def counting(progress: Progress, stage: str, total: int) -> Callable[[object], None]:
    """A function for a driver's ``on_end``: it reports to ``progress`` how many flows have ended."""
    done = itertools.count(1)
    return lambda _ended: progress(stage, next(done), total)


ScoreFunction = Callable[[Path], float]
"""checkpoint directory -> dev accuracy of generated answers; how training learns which checkpoint is best."""
