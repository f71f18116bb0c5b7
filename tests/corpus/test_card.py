"""The card of a corpus: what it counts, that it stays with the chains, and that no secret is in it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.errors import DataError, StudyError
from understudy.core.values import Chain, Problem
from understudy.corpus.card import (
    CorpusCard,
    find_card,
    inherit_terms,
    make_card,
    name_sources,
    read_corpus_card,
    require_terms,
    write_corpus_card,
)
from understudy.corpus.export import export_chains
from understudy.corpus.formats import NAMES
from understudy.corpus.secrets import clean_text, remove_secrets
from understudy.corpus.store import read_rows, write_rows

CHAINS = [
    Chain("p", 0, "The answer is 5.", "", "5", "marker", "gpt-x", tokens=4, sampling={"temperature": 0.7}),
    Chain("p", 1, "Five", "Five", None, "", "gpt-x", finish="length", tokens=2, sampling={"temperature": 0.7}),
    Chain("q", 0, "The answer is 5.", "", "5", "marker", "gpt-y"),
]
CARD = make_card(CHAINS, CorpusCard("the provider's", "MIT", sources={"c.jsonl": "00ff"}, outcomes={"correct": 1}))


def test_a_card_counts_what_is_in_the_corpus():
    assert (CARD.chains, CARD.problems, CARD.tokens, CARD.tokens_known) == (3, 2, 6, 2)
    assert (CARD.teachers, CARD.finish) == ({"gpt-x": 2, "gpt-y": 1}, {"stop": 2, "length": 1})
    assert CARD.sampling == {"temperature": {"0.7": 2}}
    assert CARD.understudy


def test_a_card_without_terms_or_licence_is_refused():
    require_terms(Path("c.parquet"), CARD)
    with pytest.raises(StudyError, match=r"c\.parquet: its card lacks terms, licence,"):
        require_terms(Path("c.parquet"), CorpusCard(terms=" "))


def test_a_card_stays_with_its_corpus_in_parquet_and_beside_a_text(tmp_path):
    write_rows(tmp_path / "c.parquet", Chain, CHAINS, card=asdict(CARD))
    assert read_corpus_card(tmp_path / "c.parquet") == CARD
    assert list(read_rows(tmp_path / "c.parquet", Chain)) == CHAINS
    write_corpus_card(tmp_path / "c.jsonl", CARD)
    assert read_corpus_card(tmp_path / "c.jsonl") == CARD
    write_rows(tmp_path / "old.parquet", Chain, CHAINS)
    assert read_corpus_card(tmp_path / "old.parquet") is None
    assert read_corpus_card(tmp_path / "none.jsonl") is None


def test_terms_are_inherited_unless_they_are_given(tmp_path):
    write_corpus_card(tmp_path / "a", CARD)
    write_corpus_card(tmp_path / "b", CorpusCard(terms="others", licence="MIT"))
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    assert inherit_terms(paths, "", "") == ("the provider's; others", "MIT")
    assert inherit_terms(paths, "mine", "") == ("mine", "MIT")


def test_two_sources_of_one_name_are_told_apart():
    assert name_sources({"/a/x/c.jsonl": "1", "/a/y/c.jsonl": "2", "q.jsonl": "3"}) == {
        "c.jsonl": "1",
        "y/c.jsonl": "2",
        "q.jsonl": "3",
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"term": "x"}'])
def test_a_damaged_card_is_one_message(tmp_path, text):
    find_card(tmp_path / "a").write_text(text)
    with pytest.raises(DataError, match=r"a\.card\.json: not a corpus card"):
        read_corpus_card(tmp_path / "a")


LEAKS = {
    "headers": {"Authorization": "Bearer abcdefgh1234"},
    "api_key": "hidden-1",
    "OPENAI-API-KEY": "hidden-2",
    "access_token": "hidden-3",
    "note": "sent with Bearer abcdefgh1234 as sk-proj-abcdefghijklmnop1234",
    "url": "https://me:hidden-4@host/v1?key=hidden-5",
    "deep": [{"cookie": "hidden-6"}],
}
SECRETS = ("hidden", "abcdefgh1234", "sk-proj")


def test_no_key_no_token_and_no_header_gets_into_a_corpus_or_its_card(tmp_path):
    problems = {"p": Problem("p", "Which number?", "number", "5")}
    chain = Chain("p", 0, "5", "", "5", "opening", "https://me:hidden-7@host/v1?key=hidden-8", sampling=LEAKS | {"max_tokens": 8})
    card = make_card([chain], CorpusCard("with key sk-proj-abcdefghijklmnop1234", "MIT"))
    for name in NAMES:
        to = tmp_path / ("c.parquet" if name == "understudy" else f"{name}.jsonl")
        export_chains([chain], problems, format=name, to=to, card=card)
    (kept,) = read_rows(tmp_path / "c.parquet", Chain)
    assert kept.sampling["max_tokens"] == 8, "a limit is no secret"
    written = [path.read_text() for path in tmp_path.glob("*.json*")] + [repr(kept), json.dumps(asdict(CARD))]
    written.append(repr(read_corpus_card(tmp_path / "c.parquet")))
    assert len(written) == 2 * (len(NAMES) - 1) + 3
    for text in written:
        assert not [secret for secret in SECRETS if secret in text]


JSON = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=2), max_leaves=6)


@given(st.dictionaries(st.sampled_from(["temperature", "max_tokens", "tokens", "monkey", "keyboard", "n"]), JSON))
def test_what_is_no_secret_stays_as_it_is(value):
    assert remove_secrets(value) == value


def test_an_address_loses_its_name_and_its_query_only():
    assert clean_text("endpoint http://a:b@host:8000/v1?x=1 chat m") == "endpoint http://host:8000/v1 chat m"
    assert clean_text("2 + 3 = 5? See http://host/v1.") == "2 + 3 = 5? See http://host/v1."
