"""What asking costs: a price, what was spent, what a request may take at the most, and a cap on all of it."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field

from understudy.core.asks import Request, prompt_bytes

TEMPLATE = 64
"""Tokens that a server's chat template may put around a prompt (a default system message, the date); the number was chosen by this
project."""
BYTES_PER_TOKEN = 4
"""Of English prose, about: how long a prompt is expected to be, where no reply has told."""


@dataclass(frozen=True)
class Price:
    """Money for what an endpoint reads and writes, in whatever currency."""

    input: Annotated[float, Field(ge=0)]
    """Per million tokens that are read: the prompts."""
    output: Annotated[float, Field(ge=0)]
    """Per million tokens that are written: the replies."""

    def of(self, read: float, written: float) -> float:
        """What so many tokens cost."""
        return (read * self.input + written * self.output) / 1e6


class Spend(NamedTuple):
    """What so many ``requests`` took: tokens ``read`` and ``written``, and ``money`` (0 where there was no price)."""

    requests: int = 0
    read: int = 0
    written: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        return self.read + self.written

    def __add__(self, other: "Spend") -> "Spend":  # type: ignore[override]
        return Spend(self.requests + other.requests, self.read + other.read, self.written + other.written, self.money + other.money)

    def __sub__(self, other: "Spend") -> "Spend":
        return Spend(self.requests - other.requests, self.read - other.read, self.written - other.written, self.money - other.money)


NOTHING = Spend()


@dataclass(frozen=True)
class Budget:
    """A cap on what a run's ledger may ever hold, over all runs of the command; whatever is not given is not capped.

    What a request may take at the most is set aside before it is sent.
    """

    money: Annotated[float, Field(gt=0)] | None = None
    """In the currency of ``price``, which must be given then."""
    tokens: Annotated[int, Field(gt=0)] | None = None
    """Read and written together."""
    requests: Annotated[int, Field(gt=0)] | None = None
    """Whatever became of them: failed ones count too."""

    def covers(self, spend: Spend) -> bool:
        """Whether ``spend`` is within every cap."""
        return all(_within(getattr(spend, name), cap) for name, cap in self._caps())

    def describe(self, spend: Spend) -> str:
        """The part of each cap that is spent, in words."""
        return ", ".join(f"{amount(getattr(spend, name))} of {amount(cap)} {name}" for name, cap in self._caps())

    def explain(self, spend: Spend, most: Spend) -> str:
        """Each cap that has no room for ``most`` besides ``spend``, in words."""
        return "; ".join(
            f"{name}: it may take {amount(getattr(most, name))}, and {amount(getattr(spend, name))} of {amount(cap)} are spent"
            for name, cap in self._caps()
            if not _within(getattr(spend + most, name), cap)
        )

    def _caps(self) -> list[tuple[str, float]]:
        return [(name, cap) for name in ("money", "tokens", "requests") if (cap := getattr(self, name)) is not None]


def _within(spent: float, cap: float) -> bool:
    return spent <= cap * (1 + 1e-9)


def amount(number: float) -> str:
    """Money or a count, for people."""
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.2f}" if number >= 1 or number == 0 else f"{number:.2g}"


def worst(request: Request, price: Price | None) -> Spend:
    """What ``request`` may cost at most: a token for every byte of its prompt and `TEMPLATE` around it, and ``max_tokens``.

    No tokenizer of bytes, or of pieces of text that fall back to bytes, makes more tokens of a text than it has bytes.
    """
    read = prompt_bytes(request.ask.prompt) + TEMPLATE
    written = request.ask.max_tokens
    return Spend(1, read, written, price.of(read, written) if price else 0.0)
