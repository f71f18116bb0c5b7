"""The card of a corpus: who wrote it, how and under which terms, and its contents."""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError, StudyError
from understudy.core.values import Chain
from understudy.corpus.secrets import clean_text, remove_secrets
from understudy.corpus.store import read_header, write_json

MANY = 1_000
"""The maximum number of values that it counts separately."""


@dataclass(frozen=True)
class CorpusCard:
    """The card of a corpus. ``terms`` are the terms of use of the teachers' texts, ``licence`` is that of the questions, both in
    the user's words.

    ``teachers``, ``finish`` and ``outcomes`` count chains. ``tokens`` is the sum over the ``tokens_known`` chains with a count.
    ``sampling`` says how the chains were drawn, as far as it is known. ``sources`` maps the names of source files to digests.
    ``understudy`` is the version that wrote the card. The card has no key, no header and no path.
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


def make_card(chains: Iterable[Chain], facts: CorpusCard) -> CorpusCard:
    """Make the card of ``chains`` with the ``facts`` known about them: terms, licence, sources, outcomes, options of sampling.
    Without such options the card counts what the chains carry."""
    problems, teachers, finish, tokens, tokens_known = set(), Counter[str](), Counter[str](), 0, 0
    clean = cache(clean_text)
    for chain in chains:
        problems.add(chain.problem)
        teachers[clean(chain.teacher)] += 1
        finish[chain.finish] += 1
        tokens += chain.tokens or 0
        tokens_known += chain.tokens is not None
    return replace(
        facts,
        terms=clean_text(facts.terms),
        licence=clean_text(facts.licence),
        chains=finish.total(),
        problems=len(problems),
        teachers=dict(teachers.most_common()),
        finish=dict(finish.most_common()),
        tokens=tokens,
        tokens_known=tokens_known,
        sampling=remove_secrets(facts.sampling or _count_sampling(chains)),
        understudy=importlib.metadata.version("understudy"),
    )


def name_sources(digests: Mapping[str, str]) -> dict[str, str]:
    """Return file name -> digest, from path -> digest. A second file of the same name keeps enough of its path to differ."""
    sources: dict[str, str] = {}
    for path, digest in digests.items():
        parts = Path(path).parts
        name = next((candidate for i in range(1, len(parts) + 1) if (candidate := "/".join(parts[-i:])) not in sources), path)
        sources[name] = digest
    return sources


def _count_sampling(chains: Iterable[Chain]) -> dict[str, Any]:
    """Return sampling option -> value -> number of chains, from the ``sampling`` of the chains; for an option with more than ten
    values only how many they are."""
    counts: dict[str, Counter[str]] = {}
    for chain in chains:
        for name, value in remove_secrets(chain.sampling).items():
            if name == "columns":  # columns of the file, which do not say how the teacher was asked
                continue
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            if len(values := counts.setdefault(name, Counter())) < MANY or text[:80] in values:
                values[text[:80]] += 1
    summaries = {name: f"{len(n)} {'or more ' * (len(n) == MANY)}different" for name, n in counts.items()}
    return {name: dict(n.most_common()) if len(n) <= 10 else summaries[name] for name, n in counts.items()}


def find_card(path: Path) -> Path:
    """Return the path of the card of a corpus in a text format."""
    return path.with_name(path.name + ".card.json")


def write_corpus_card(path: Path, card: CorpusCard) -> None:
    """Write ``card`` next to the corpus ``path``."""
    write_json(find_card(path), asdict(card))


def read_corpus_card(path: Path) -> CorpusCard | None:
    """Read the card in or next to the corpus ``path``, None if there is none. Raises DataError if it is damaged."""
    header = read_header(path)
    location = path if header else find_card(path)
    try:
        record = header.get("card") if header else json.loads(location.read_bytes()) if location.is_file() else None
        return None if record is None else CorpusCard(**record)
    except (ValueError, TypeError) as error:
        raise DataError(f"{location}: not a corpus card ({error}); remove it, or write the corpus again") from None


def require_terms(source: Path, card: Any) -> None:
    """Raise StudyError if the ``card`` of ``source``, of a corpus or of a student, lacks terms or licence."""
    if missing := [name for name in ("terms", "licence") if not getattr(card, name).strip()]:
        raise StudyError(
            f"{source}: its card lacks {', '.join(missing)}, which the reader of an export must know. Set terms and licence in "
            "the study's [corpus] and run it again, or give them to `understudy import`; --no-terms exports without them"
        )


def inherit_terms(paths: Iterable[Path], terms: str, licence: str) -> tuple[str, str]:
    """Return ``terms`` and ``licence``. One that is "" becomes that of the cards of ``paths``, each different one once."""
    cards = [card for path in paths if (card := read_corpus_card(path)) is not None]
    return (
        terms or "; ".join(dict.fromkeys(card.terms for card in cards if card.terms)),
        licence or "; ".join(dict.fromkeys(card.licence for card in cards if card.licence)),
    )
