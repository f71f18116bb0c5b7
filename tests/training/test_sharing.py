"""A prompt that is read once for all its chains gives the loss and the gradients of plain rows, for every family."""

from pathlib import Path

import pytest
import torch
from checkpoints import FAMILIES, make
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from understudy.core.values import Example
from understudy.engines.local.load import find_cache_argument
from understudy.training import loop
from understudy.training.batches import EncodedExample, VisitOrder, collate, scale_losses
from understudy.training.objectives import cross_entropy, logits_at
from understudy.training.options import StudentOptions, TrainingOptions
from understudy.training.sharing import can_share, is_worth_sharing, read_once


def rows(*, prompts=3, chains=4):
    """``prompts`` of different lengths, each with ``chains`` of different lengths and weights, but the first with one."""
    found = []
    for p in range(prompts):
        source = tuple(5 + (7 * i + p) % 40 for i in range(4 + 3 * p))
        for c in range(chains if p else 1):
            target = tuple(3 + (11 * i + 5 * c + p) % 50 for i in range(2 + c))
            weights = tuple(0.0 if i == 1 and c == 2 else 1.0 + c for i in range(len(target)))
            found.append(EncodedExample(f"p{p}", f"c{c}", source, target, weights, weight=-0.1 if c == 1 else 1.0))
    return found


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    directory: Path = make(request.param, tmp_path_factory.mktemp(request.param))
    kind = AutoModelForSeq2SeqLM if request.param == "t5" else AutoModelForCausalLM
    return kind.from_pretrained(directory, attn_implementation="eager").eval()  # no dropout


def gradients(model, batch):
    model.zero_grad(set_to_none=True)
    loss = cross_entropy(model, batch)
    loss.backward()
    return float(loss.detach()), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def batches(model, examples):
    start = model.config.decoder_start_token_id if model.config.is_encoder_decoder else None
    arguments = examples, scale_losses(examples, reduction="token")
    return collate(*arguments, pad=0, start=start), read_once(model, *arguments, pad=0, start=start)


@pytest.mark.parametrize("order", [1, 5], ids=["side by side", "scattered"])
def test_loss_and_gradients_are_those_of_plain_rows(model, order):
    examples = rows()  # nine
    plain, shared = batches(model, [examples[order * i % len(examples)] for i in range(len(examples))])
    loss, expected = gradients(model, plain)
    shared_loss, found = gradients(model, shared)
    assert shared_loss == pytest.approx(loss, abs=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_every_prompt_goes_through_the_model_once(model):
    read = []
    embeddings = (model.get_encoder() if model.config.is_encoder_decoder else model).get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, ids, __: read.append(ids[0].shape))
    examples = rows(prompts=2, chains=6)
    batches(model, examples)
    hook.remove()
    assert read[0][0] == 2  # rows of prompts, for seven examples


def test_padding_may_reach_beyond_the_last_position_of_the_model(model):
    if model.config.is_encoder_decoder:
        pytest.skip("its positions are relative")
    last = model.config.max_position_embeddings
    long, short = tuple(range(3, 3 + last - 20)), tuple(range(3, 23))
    examples = [EncodedExample("a", "1", long, (4, 5), (1.0, 1.0)), EncodedExample("a", "2", long, (4, 6), (1.0, 1.0))]
    examples += [EncodedExample("b", str(c), short, tuple(range(c, c + 40)), (1.0,) * 40) for c in (3, 4)]
    plain, shared = batches(model, examples)
    assert gradients(model, shared)[0] == pytest.approx(gradients(model, plain)[0], abs=1e-5)


def test_logits_are_computed_only_where_they_are_asked_for(model):
    start = model.config.decoder_start_token_id if model.config.is_encoder_decoder else None
    batch = collate(rows(), scale_losses(rows(), reduction="token"), pad=0, start=start)
    with torch.no_grad():
        every = model(**batch.inputs).logits
        with logits_at(model, batch.bearing):
            some = model(**batch.inputs).logits
        again = model(**batch.inputs).logits
    torch.testing.assert_close(some, every[batch.bearing])
    assert torch.equal(again, every)


def test_families_that_the_tests_do_not_hold_are_not_shared(model):
    assert can_share(model)
    kind, model.config.model_type = model.config.model_type, "mamba"
    assert not can_share(model)
    model.config.model_type = kind


def test_sharing_is_worth_it_only_where_prompts_come_several_times():
    assert is_worth_sharing(rows(), seq2seq=False)
    assert not is_worth_sharing(rows(chains=1), seq2seq=False)
    one = [EncodedExample("a", str(c), (7,), (4, 5), (1.0, 1.0)) for c in range(4)]
    assert not is_worth_sharing(one, seq2seq=False)  # nothing is left of a prompt of one token
    assert is_worth_sharing(one, seq2seq=True)


def test_a_visit_takes_as_many_different_chains_as_it_is_told():
    examples = rows(prompts=4, chains=5)  # 1 + 5 + 5 + 5
    order = VisitOrder(examples, visits="problem", batch_size=4, seed=3, per_visit=3)
    assert order.largest == 12
    drawn: dict[str, int] = {}
    for step in range(200):
        epoch = [examples[i] for i in order.batch(step)]
        assert len(epoch) == len({(e.problem, e.chain) for e in epoch}) == 1 + 3 + 3 + 3
        for e in epoch:
            drawn[f"{e.problem} {e.chain}"] = drawn.get(f"{e.problem} {e.chain}", 0) + 1
    assert all(80 <= n <= 160 for name, n in drawn.items() if not name.startswith("p0"))  # each is drawn 3 times in 5
    mean = sum(len(examples[i]) for step in range(200) for i in order.batch(step)) / 200
    assert order.tokens == pytest.approx(mean, rel=0.02)


def test_loss_groups_of_a_visit_are_of_the_same_chains():
    groups = [
        EncodedExample(f"p{p}", f"c{c}", (5, 6), (7, 8), (1.0, 1.0), group=group)
        for p in range(3)
        for group in ("label", "rationale")
        for c in range(4)
    ]
    order = VisitOrder(groups, visits="problem", batch_size=3, seed=0, per_visit=2)
    for step in range(20):
        chosen = [groups[i] for i in order.batch(step)]
        by_group = {g: sorted((e.problem, e.chain) for e in chosen if e.group == g) for g in ("label", "rationale")}
        assert by_group["label"] == by_group["rationale"]
        assert len(chosen) == 12


def test_prompts_are_read_in_the_precision_of_the_training(tmp_path, monkeypatch):
    rounded = []

    def look(model, batch):
        values = batch.inputs[find_cache_argument(model)].layers[0].values
        rounded.append(torch.equal(values, values.bfloat16().to(values.dtype)))
        return cross_entropy(model, batch)

    monkeypatch.setattr(loop, "find", lambda what, name: look)
    examples = [Example.of("student", "How many eggs are there?", f"There are {n}.", problem="p", chain=str(n)) for n in range(4)]
    student = StudentOptions(hidden=16, layers=1, heads=2, context=64)
    for precision in ("bfloat16", "float32"):
        options = TrainingOptions(steps=1, checks=1, batch_size=1, chains_per_visit=4, precision=precision)
        loop.train(examples, student=student, options=options, out=tmp_path / precision, seed=0)
    assert rounded == [True, False]
