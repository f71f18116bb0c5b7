"""Loss groups and example weights: what a step's loss is, written out; what is drawn together; what a negative weight does."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from known import KnownLogits
from transformers import AutoModelForCausalLM, AutoTokenizer

from understudy.core.values import Example, Segment
from understudy.training.batches import EncodedExample, VisitOrder, collate, encode, scale_losses
from understudy.training.loop import train
from understudy.training.objectives import cross_entropy
from understudy.training.options import StudentOptions, TrainingOptions
from understudy.training.student import make_student

REDUCTIONS = pytest.mark.parametrize("reduction", ["token", "example"])
SMALL = StudentOptions(hidden=32, layers=2, heads=2)


def rows_of(groups, weights):
    """Rows of at least one target token, the last of which is learned."""
    tokens = st.lists(st.sampled_from([1.0, 0.5, 0.0]), max_size=3).map(lambda seen: (*seen, 1.0))
    row = st.tuples(tokens, st.sampled_from(weights), st.sampled_from(groups))
    made = st.lists(row, min_size=1, max_size=6)
    return made.map(lambda rows: [EncodedExample("p", None, (1,), (2,) * len(t), t, weight=w, group=g) for t, w, g in rows])


def loss(logits, batch):
    """The cross-entropy of a model that gives ``logits``."""
    return cross_entropy(KnownLogits(logits), batch)


ANY_ROWS = rows_of(["label", "rationale"], [1.0, 0.5, -0.1, 0.0])
PLAIN_ROWS = rows_of(["main"], [1.0])


def batch_of(rows, reduction):
    return collate(rows, scale_losses(rows, reduction=reduction), pad=0, start=0)


def logits_of(rows):
    return torch.randn(len(rows), max(len(r.target) for r in rows), 5, generator=torch.Generator().manual_seed(7))


def losses_of(rows):
    """Row by row, token by token: -log p of the target."""
    nll_BT = -torch.log_softmax(logits_of(rows), -1)[..., 2]
    return [[float(nll) for nll in nll_T[: len(r.target)]] for nll_T, r in zip(nll_BT, rows, strict=True)]


@given(ANY_ROWS)
@settings(max_examples=200)
def test_the_loss_of_a_step_is_the_sum_over_groups_of_means_and_an_examples_weight_is_in_no_divisor(rows):
    nll = losses_of(rows)
    added = [sum(x * w for x, w in zip(n, r.weights, strict=True)) for n, r in zip(nll, rows, strict=True)]
    expected = {"token": 0.0, "example": 0.0}
    for group in {r.group for r in rows}:
        mine = [(r.weight, total, sum(map(abs, r.weights))) for r, total in zip(rows, added, strict=True) if r.group == group]
        expected["token"] += sum(weight * total for weight, total, _ in mine) / sum(size for _, _, size in mine)
        expected["example"] += sum(weight * total / size for weight, total, size in mine) / len(mine)
    for reduction, value in expected.items():
        assert float(loss(logits_of(rows), batch_of(rows, reduction))) == pytest.approx(value, rel=1e-5, abs=1e-5)


@given(PLAIN_ROWS)
def test_with_one_group_and_no_weights_it_is_the_mean_over_tokens_or_over_examples(rows):
    nll, weights = losses_of(rows), [r.weights for r in rows]
    quotients = [sum(x * w for x, w in zip(n, v, strict=True)) / sum(v) for n, v in zip(nll, weights, strict=True)]
    sums = [q * sum(v) for q, v in zip(quotients, weights, strict=True)]
    found = {name: float(loss(logits_of(rows), batch_of(rows, name))) for name in ("token", "example")}
    assert found["token"] == pytest.approx(sum(sums) / sum(map(sum, weights)), rel=1e-5)
    assert found["example"] == pytest.approx(sum(quotients) / len(rows), rel=1e-5)


@given(ANY_ROWS, st.sampled_from(["token", "example"]), st.integers(1, 6))
def test_the_losses_of_the_parts_of_a_step_add_up_to_the_steps(rows, reduction, size):
    logits, scale = logits_of(rows), scale_losses(rows, reduction=reduction)
    parts = 0.0
    for i in range(0, len(rows), size):
        batch = collate(rows[i : i + size], scale[i : i + size], pad=0, start=0)
        parts += float(loss(logits[i : i + size, : batch.targets.shape[1]], batch))
    assert parts == pytest.approx(float(loss(logits, batch_of(rows, reduction))), rel=1e-5, abs=1e-5)


@REDUCTIONS
def test_alpha_weighs_two_tasks_however_long_their_targets_are(reduction):
    """Distilling step-by-step: alpha x the labels' mean + (1 - alpha) x the rationales' mean."""
    labels = [EncodedExample("p", None, (1,), (2,) * 2, (1.0,) * 2, weight=0.3, group="label") for _ in range(3)]
    rationales = [EncodedExample("p", None, (1,), (2,) * 40, (1.0,) * 40, weight=0.7, group="rationale") for _ in range(3)]
    rows = labels + rationales
    nll = losses_of(rows)
    mean = [sum(map(sum, part)) / sum(map(len, part)) for part in (nll[:3], nll[3:])]
    assert float(loss(logits_of(rows), batch_of(rows, reduction))) == pytest.approx(0.3 * mean[0] + 0.7 * mean[1], rel=1e-5)


def rows_with_groups(problems=7):
    """Problem i has i + 1 rationales and one label, but the first, which has no label."""
    made = []
    for p in range(problems):
        made += [EncodedExample(f"p{p}", f"c{i}", (1,) * (i + 1), (2,), (1.0,), group="rationale") for i in range(p + 1)]
        made += [EncodedExample(f"p{p}", None, (1,), (2,), (1.0,), group="label")] if p else []
    return made


def test_a_visit_of_a_problem_takes_one_example_of_each_of_its_loss_groups():
    rows = rows_with_groups()
    order = VisitOrder(rows, visits="problem", batch_size=7, seed=0)
    drawn = [[(rows[i].problem, rows[i].group) for i in order.batch(step)] for step in range(30)]
    expected = {(r.problem, r.group): 1 for r in rows}
    assert all(Counter(batch) == expected for batch in drawn)
    assert (len(drawn[0]), order.largest) == (13, 14)
    every = VisitOrder(rows, visits="example", batch_size=len(rows), seed=0)
    assert sorted(every.batch(3)) == list(range(len(rows)))


def test_examples_of_two_groups_that_were_made_of_the_same_chains_come_of_one_chain():
    rows = [EncodedExample("p", f"c{i}", (1,), (2,), (1.0,), group=group) for group in ("label", "rationale") for i in range(5)]
    order = VisitOrder(rows, visits="problem", batch_size=1, seed=0)
    pairs = [[rows[i].chain for i in order.batch(step)] for step in range(40)]
    assert all(one == other for one, other in pairs)
    assert len({one for one, _ in pairs}) == 5


def test_with_one_group_the_draws_are_a_permutation_of_the_problems_and_then_a_number_for_each():
    rows = [r for r in rows_with_groups() if r.group == "rationale"]
    order, at = VisitOrder(rows, visits="problem", batch_size=7, seed=3), {}
    for i, row in enumerate(rows):
        at.setdefault(row.problem, []).append(i)
    for epoch in range(5):
        rng = np.random.default_rng([3, epoch])
        places, u = rng.permutation(7), rng.random(7)
        assert order.batch(epoch) == [at[f"p{p}"][int(u[p] * len(at[f"p{p}"]))] for p in places]


def one(problem, text, weight=1.0):
    return Example("student", (Segment(f"Q: {problem}?\nA:", 0.0), Segment(f" {text}")), problem, weight=weight)


def logprob(model, tokenizer, example):
    row = encode(example, tokenizer, seq2seq=False)
    with torch.inference_mode():
        logits = model(torch.tensor([row.source + row.target])).logits[0, len(row.source) - 1 : -1]
    return float(torch.log_softmax(logits, -1).gather(1, torch.tensor(row.target)[:, None]).sum())


@REDUCTIONS
def test_a_step_makes_a_positive_example_likelier_and_a_negative_one_less_likely(tmp_path, reduction):
    good, bad = one("a", "seven coins"), one("b", "nine apples", weight=-0.5)
    texts = ["Q: a?\nA: seven coins", "Q: b?\nA: nine apples"]
    model, tokenizer = make_student(SMALL, texts, seed=1)
    before = [logprob(model.eval(), tokenizer, e) for e in (good, bad)]
    options = TrainingOptions(
        steps=1, batch_size=2, checks=1, reduction=reduction, optimizer="adamw", learning_rate=1e-3, precision="float32"
    )
    trained = train([good, bad], student=SMALL, options=options, out=tmp_path, seed=1, vocabulary=texts)
    loaded = AutoModelForCausalLM.from_pretrained(trained.checkpoint).eval(), AutoTokenizer.from_pretrained(trained.checkpoint)
    after = [logprob(*loaded, e) for e in (good, bad)]
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_a_loss_below_zero_is_no_divergence(tmp_path):
    made = [one("a", "seven coins"), one("b", "nine apples", weight=-0.5)]
    texts = ["Q: a?\nA: seven coins", "Q: b?\nA: nine apples"]
    options = TrainingOptions(steps=40, batch_size=2, checks=1)
    trained = train(made, student=SMALL, options=options, out=tmp_path, seed=1, vocabulary=texts)
    assert trained.losses[-1][1] < 0
    assert all(math.isfinite(value) for _, value in trained.losses)


def test_both_tasks_of_an_item_are_trained_in_every_step_and_counted_by_group(tmp_path):
    made = [one(p, text) for p in "abcd" for text in ("so it is two", "two")]
    made = [Example(e.role, e.segments, e.problem, group=g) for e, g in zip(made, ["rationale", "label"] * 4, strict=True)]
    texts = ["".join(s.text for s in e.segments) for e in made]
    options = TrainingOptions(steps=3, batch_size=2, checks=1)
    trained = train(made, student=SMALL, options=options, out=tmp_path, seed=1, vocabulary=texts)
    assert trained.tokens == 3 * 2 * (5 + 2), "each visit learns four words, one word, and two end tokens"
