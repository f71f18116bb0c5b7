"""Turns of one conversation as one sequence: the same replies are learned from the same tokens, and the question is read once."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from understudy.core.values import Chain, Problem, Step
from understudy.methods.sci_cot import SciCoT
from understudy.methods.socratic import Socratic
from understudy.pipeline.stages.student import make_examples
from understudy.sampling.pool import StudyPool
from understudy.training.batches import EncodedExample, collate, encode, join_turns
from understudy.training.loop import train
from understudy.training.objectives import cross_entropy
from understudy.training.options import StudentOptions, TrainingOptions
from understudy.training.student import make_student

STEPS = tuple(Step(f"She has {i + 4}.", f"How many after day {i}?") for i in range(3))
PROBLEM = Problem("p", "Ana has 4 coins. How many coins does Ana have?", "number", "6")
CHAIN = Chain("p", 0, "t", " ".join(s.text for s in STEPS), "6", "marker", "teacher", steps=STEPS)


def made(method, role):
    return make_examples(method, role, StudyPool(learn=[PROBLEM], chains=[CHAIN]), {}, seed=0)


@pytest.fixture(scope="module")
def student():
    words = [text for method in (Socratic(), Socratic(models="shared")) for text in method.words]
    words += [segment.text for role in ("decomposer", "solver") for e in made(Socratic(), role) for segment in e.segments]
    return make_student(StudentOptions(hidden=32, layers=1, heads=2), words * 2, seed=0)


@pytest.mark.parametrize(
    ("method", "role"),
    [
        (Socratic(), "decomposer"),
        (Socratic(), "solver"),
        (Socratic(models="shared"), "student"),
        (Socratic(guidance="number"), "decomposer"),
    ],
)
def test_every_reply_has_the_same_loss_in_the_joined_sequence_as_alone(student, method, role):
    model, tokenizer = student
    alone = [encode(e, tokenizer, seq2seq=False) for e in made(method, role)]
    joined = join_turns(alone, 512)
    # What a shared student concludes does not go on from the turn in which it ended its questions.
    assert len(joined) == (2 if method.models == "shared" else 1) < len(alone)
    end = tokenizer.eos_token_id
    with torch.no_grad():

        def summed(examples):
            """Without end tokens, of which the joined sequence has only the last."""
            rows = [e.weights if e.target[-1] != end else (*e.weights[:-1], 0.0) for e in examples]
            bare = [replace(e, weights=row) for e, row in zip(examples, rows, strict=True)]
            batches = [collate([e], [1.0], pad=tokenizer.pad_token_id, start=None) for e in bare]
            return sum(float(cross_entropy(model, batch)) for batch in batches)

        assert summed(joined) == pytest.approx(summed(alone), rel=1e-4)
    assert sum(w != 0 for e in joined for w in e.weights) == sum(w != 0 for e in alone for w in e.weights) - (
        len(alone) - len(joined)
    )
    assert sum(map(len, joined)) < sum(map(len, alone)) / 1.5, "the question is read once"


@pytest.mark.parametrize(("method", "role", "turns"), [(Socratic(), "solver", 4), (SciCoT(), "answer", 1)])
def test_without_the_option_every_turn_is_an_example_and_what_has_one_turn_is_trained_the_same(tmp_path, method, role, turns):
    examples = made(method, role)
    given = {"student": StudentOptions(hidden=32, layers=1, heads=2), "seed": 0}
    texts = ["".join(segment.text for segment in e.segments) for e in examples]
    joined, apart = (
        train(
            examples,
            options=TrainingOptions(steps=1, batch_size=1, checks=1, join_turns=join),
            out=tmp_path / str(join),
            vocabulary=texts,
            **given,
        )
        for join in (True, False)
    )
    assert (joined.examples, apart.examples) == (1, turns)
    assert (joined.losses == apart.losses) == (turns == 1)


def test_a_solver_that_sees_the_last_answer_only_and_two_stages_stay_as_they_are(student):
    _, tokenizer = student
    for method, role in [(SciCoT(), "rationale"), (SciCoT(), "answer")]:
        alone = [encode(e, tokenizer, seq2seq=False) for e in made(method, role)]
        assert join_turns(alone, 512) == alone
    last = [encode(e, tokenizer, seq2seq=False) for e in made(Socratic(context="last"), "solver")]
    assert len(join_turns(last, 512)) > 1


def test_what_would_not_fit_together_stays_apart(student):
    _, tokenizer = student
    alone = [encode(e, tokenizer, seq2seq=False) for e in made(Socratic(), "decomposer")]
    longest = max(map(len, alone))
    assert all(len(e) <= longest - 1 for e in join_turns(alone, longest - 1)[:-1])
    assert len(join_turns(alone, longest - 1)) > 1


@given(
    st.lists(
        st.tuples(st.sampled_from("pq"), st.sampled_from(["c", "d", None]), st.lists(st.integers(1, 2), min_size=1, max_size=6)),
        max_size=6,
    )
)
def test_only_what_goes_on_word_for_word_is_joined_and_nothing_learned_is_lost(rows):
    examples = [EncodedExample(p, c, tuple(source), (3, 0), (1.0, 1.0)) for p, c, source in rows]
    joined = join_turns(examples, 100)
    learned = sum(1 for e in joined for token, w in zip(e.target, e.weights, strict=True) if token == 3 and w)
    assert learned == len(examples)
    assert all(len(e.target) == len(e.weights) for e in joined)
    assert all(e.weights[-1] for e in joined)
