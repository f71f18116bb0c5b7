"""What asking costs: a price, what was spent, the most that a request may cost, and a cap on the sum."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field

from understudy.core.asks import Request, prompt_bytes

TEMPLATE = 64
"""Tokens that a server's chat template may put around a prompt (a default system message, the date). The number was chosen by this
project."""
BYTES_PER_TOKEN = 4
"""About that of English prose. It gives the expected length of a prompt until a reply says it."""


@dataclass(frozen=True)
class Price:
    """The price of what an endpoint reads and writes, in any currency."""

    input: Annotated[float, Field(ge=0)]
    """Per million tokens read: the prompts."""
    output: Annotated[float, Field(ge=0)]
    """Per million tokens written: the replies."""

    def of(self, read: float, written: float) -> float:
        """Return the price of so many tokens."""
        return (read * self.input + written * self.output) / 1e6


class Spend(NamedTuple):
    """What so many ``requests`` took: tokens ``read`` and ``written``, and ``money`` (0 without a price)."""

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
    """A cap on the total cost in a run's ledger, over all runs of the command. What is not given is not capped.

    The most that a request may take is set aside before it is sent.
    """

    money: Annotated[float, Field(gt=0)] | None = None
    """In the currency of ``price``, which must then be given."""
    tokens: Annotated[int, Field(gt=0)] | None = None
    """Tokens read and written together."""
    requests: Annotated[int, Field(gt=0)] | None = None
    """All requests, including failed ones."""

    def covers(self, spend: Spend) -> bool:
        """Tell whether ``spend`` is within every cap."""
        return all(_is_within(getattr(spend, name), cap) for name, cap in self._list_caps())

    def describe(self, spend: Spend) -> str:
        """Describe how much of each cap is spent."""
        return ", ".join(f"{amount(getattr(spend, name))} of {amount(cap)} {name}" for name, cap in self._list_caps())

    def explain(self, spend: Spend, maximum: Spend) -> str:
        """Describe each cap that has no room for ``maximum`` on top of ``spend``."""
        return "; ".join(
            f"{name}: it may take {amount(getattr(maximum, name))}, and {amount(getattr(spend, name))} of {amount(cap)} are spent"
            for name, cap in self._list_caps()
            if not _is_within(getattr(spend + maximum, name), cap)
        )

    def _list_caps(self) -> list[tuple[str, float]]:
        return [(name, cap) for name in ("money", "tokens", "requests") if (cap := getattr(self, name)) is not None]


def _is_within(spent: float, cap: float) -> bool:
    return spent <= cap * (1 + 1e-9)


def amount(number: float) -> str:
    """Write money or a count for people."""
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.2f}" if number >= 1 or number == 0 else f"{number:.2g}"


def compute_maximum(request: Request, price: Price | None) -> Spend:
    """Return the most that ``request`` may cost: a token for every byte of its prompt, `TEMPLATE` around it, and ``max_tokens``.

    No tokenizer of bytes, or of pieces of text that fall back to bytes, makes more tokens from a text than it has bytes.
    """
    read = prompt_bytes(request.ask.prompt) + TEMPLATE
    written = request.ask.max_tokens
    return Spend(1, read, written, price.of(read, written) if price else 0.0)
