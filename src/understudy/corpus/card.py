"""The card of a corpus: who wrote it, how, under which terms, and what is in it."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError
from understudy.core.values import Chain
from understudy.corpus.secrets import text_without_secrets, without_secrets
from understudy.corpus.store import is_ours, read_written_card, write_whole

SHOWN = 10
"""Different values of a sampling option that a card lists at most."""


@dataclass(frozen=True)
class CorpusCard:
    """``terms``: under what terms the teachers' texts may be used; ``licence``: of the questions. Both as somebody wrote them.

    ``teachers``, ``finish``, ``outcomes`` are counts of chains; ``tokens`` sums over those that say (``tokens_known``).
    ``sampling``: how the chains were drawn, as far as it is known. ``sources``: file name -> digest of what the chains were
    read from. ``understudy``: the version that wrote it. It holds no key, no header, no address of a file.
    """

    terms: str = ""
    licence: str = ""
    chains: int = 0
    problems: int = 0
    teachers: Mapping[str, int] = field(default_factory=dict)
    finish: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    tokens_known: int = 0
    sampling: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    understudy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def missing(self) -> tuple[str, ...]:
        """What somebody who gets this corpus could not know: ``terms``, ``licence``."""
        return tuple(name for name in ("terms", "licence") if not getattr(self, name).strip())


def card_of(
    chains: Sequence[Chain],
    *,
    terms: str,
    licence: str,
    sources: Mapping[str, str],
    sampling: Mapping[str, Any] | None = None,
    outcomes: Mapping[str, int] | None = None,
) -> CorpusCard:
    """The card of ``chains``. ``sampling`` is what a study asked for; without it, what the chains say of themselves."""
    known = [chain.tokens for chain in chains if chain.tokens is not None]
    return CorpusCard(
        terms=text_without_secrets(terms),
        licence=text_without_secrets(licence),
        chains=len(chains),
        problems=len({chain.problem for chain in chains}),
        teachers=_counts(text_without_secrets(chain.teacher) for chain in chains),
        finish=_counts(chain.finish for chain in chains),
        outcomes=dict(outcomes or {}),
        tokens=sum(known),
        tokens_known=len(known),
        sampling=without_secrets(sampling if sampling else _count_sampling(chains)),
        sources=dict(sources),
        understudy=importlib.metadata.version("understudy"),
    )


def name_sources(digests: Mapping[str, str]) -> dict[str, str]:
    """File name -> digest of path -> digest: of a second file of a name with as much of its path as tells them apart."""
    found: dict[str, str] = {}
    for path, digest in digests.items():
        parts = Path(path).parts
        name = next((n for i in range(1, len(parts) + 1) if (n := "/".join(parts[-i:])) not in found), path)
        found[name] = digest
    return found


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _count_sampling(chains: Sequence[Chain]) -> dict[str, Any]:
    """sampling option -> value -> chains, over what the chains carry of their sampling."""
    said: dict[str, Counter[str]] = {}
    for chain in chains:
        for name, value in without_secrets(chain.sampling).items():
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            said.setdefault(name, Counter())[shown[:80]] += 1
    return {name: dict(n.most_common()) if len(n) <= SHOWN else f"{len(n)} different" for name, n in said.items()}


def card_path(path: Path) -> Path:
    """Where the card of a corpus in a text format lies."""
    return path.with_name(path.name + ".card.json")


def write_card(path: Path, card: CorpusCard) -> None:
    """Put ``card`` beside the corpus ``path``."""
    with write_whole(card_path(path)) as file:
        file.write(json.dumps(card.to_json(), indent=1, ensure_ascii=False).encode())


def read_card(path: Path) -> CorpusCard | None:
    """The card in or beside the corpus ``path``, None where there is none. Raises DataError where it is damaged."""
    where = path if is_ours(path) else card_path(path)
    try:
        found = read_written_card(path) if where == path else json.loads(where.read_bytes()) if where.is_file() else None
        return None if found is None else CorpusCard(**found)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: not a corpus card ({error}); remove it, or write the corpus again") from None


def inherit_terms(paths: Iterable[Path], terms: str, licence: str) -> tuple[str, str]:
    """``terms`` and ``licence`` as given; where one is "", what the cards of ``paths`` say, each once."""
    cards = [card for path in paths if (card := read_card(path)) is not None]
    return (
        terms or "; ".join(dict.fromkeys(card.terms for card in cards if card.terms)),
        licence or "; ".join(dict.fromkeys(card.licence for card in cards if card.licence)),
    )
