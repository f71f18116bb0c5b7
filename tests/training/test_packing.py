"""Examples that share a row, and perhaps a source in it, have the loss and the gradients of padded rows: none sees another."""

from dataclasses import replace

import pytest
import torch
from checkpoints import make
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from understudy.training.batches import EncodedExample, collate, scale_losses
from understudy.training.objectives import cross_entropy
from understudy.training.packing import collate_packed, is_worth_packing, pack

FAMILIES = ("gpt2", "opt", "llama", "qwen2", "qwen3", "t5")


def row(source, target, number=0):
    tokens = tuple(3 + (7 * i + 5 * number) % 50 for i in range(source + target))
    return EncodedExample(str(number), None, tokens[:source], tokens[source:], tuple(1.0 + i % 2 for i in range(target)))


def chains(source, targets, number=0):
    """Examples of one source, which differ in all that they learn."""
    first = row(source, 1, number)
    return [replace(row(1, target, 9 * number + i), source=first.source) for i, target in enumerate(targets)]


ROWS = [row(source, target, i) for i, (source, target) in enumerate([(9, 12), (3, 2), (1, 4), (20, 5), (6, 6), (2, 1)])]
SHARED = [*chains(12, [3, 1, 6]), row(2, 5, 7), *chains(1, [2, 4], 2), *chains(8, [5, 5], 3)]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    directory = make(request.param, tmp_path_factory.mktemp(request.param))
    kind = AutoModelForSeq2SeqLM if request.param == "t5" else AutoModelForCausalLM
    return kind.from_pretrained(directory, attn_implementation="eager").eval()


def starts(model):
    """The arguments that tell a decoder from an encoder-decoder."""
    return {"pad": 0, "start": model.config.decoder_start_token_id if model.config.is_encoder_decoder else None}


def gradients(model, batch):
    model.zero_grad(set_to_none=True)
    loss = cross_entropy(model, batch)
    loss.backward()
    return float(loss.detach()), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("examples", [ROWS, SHARED], ids=["sources of one example each", "shared sources"])
def test_loss_and_gradients_are_those_of_padded_rows(model, examples):
    scales = scale_losses(examples, reduction="token")
    rows = pack(examples, seq2seq=model.config.is_encoder_decoder)
    assert len(rows) < len(examples)
    packed = collate_packed(model, examples, scales, rows, **starts(model))
    loss, expected = gradients(model, collate(examples, scales, **starts(model)))
    packed_loss, found = gradients(model, packed)
    assert packed_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_what_one_example_says_changes_no_other(model):
    losses = []
    for first in (ROWS[0], row(9, 12, 99)):
        with torch.no_grad():
            batch = collate_packed(model, [first, *ROWS[1:]], [1.0] * 6, [[[i] for i in range(6)]], **starts(model))
            losses.append(model(**batch.inputs).logits[0, 12 if model.config.is_encoder_decoder else 9 + 11 :])
    assert torch.equal(*losses)


def test_one_chain_changes_no_other_of_its_source(model):
    losses = []
    for first in (row(1, 4, 50), row(1, 4, 99)):
        examples = [replace(first, source=chains(12, [1])[0].source), *chains(12, [3, 6])]
        with torch.no_grad():
            batch = collate_packed(model, examples, [1.0] * 3, [[[0, 1, 2]]], **starts(model))
            losses.append(model(**batch.inputs).logits[0, 4 if model.config.is_encoder_decoder else 11 + 4 :])
    assert torch.equal(*losses)


def test_a_shared_source_is_read_once(model):
    examples, columns = chains(12, [3, 1, 6]), []
    embeddings = (model.get_encoder() if model.config.is_encoder_decoder else model).get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda _, ids, __: columns.append(tuple(ids[0].shape)))
    batch = collate_packed(model, examples, [1.0] * 3, pack(examples, seq2seq=model.config.is_encoder_decoder), **starts(model))
    model(**batch.inputs)
    hook.remove()
    # A decoder reads the last token of the source with each chain, which leaves out its own last token.
    assert columns[0] == ((1, 12) if model.config.is_encoder_decoder else (1, 11 + 3 + 1 + 6))


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=40), st.booleans())
def test_every_example_is_in_one_of_at_most_half_as_many_rows_or_has_its_own(lengths, seq2seq):
    examples = [replace(row(1, target), source=(i,) * source) for i, (source, target) in enumerate(lengths)]
    rows = pack(examples, seq2seq=seq2seq)
    assert sorted(i for one in rows for (i,) in one) == list(range(len(examples)))
    assert len(rows) <= (len(examples) + 1) // 2 or all(len(one) == 1 for one in rows)
    for length in [lambda e: len(e.source), lambda e: len(e.target)] if seq2seq else [len]:
        assert max(sum(length(examples[i]) for (i,) in one) for one in rows) <= 3 * max(map(length, examples))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60)), min_size=1, max_size=40), st.booleans())
def test_a_group_has_one_source_and_the_groups_hold_every_example_once(drawn, seq2seq):
    examples = [replace(row(1, target), source=(number,) * (2 + 20 * number)) for number, target in drawn]
    groups = [group for one in pack(examples, seq2seq=seq2seq) for group in one]
    assert all(len({examples[i].source for i in group}) == 1 for group in groups)
    assert sorted(i for group in groups for i in group) == list(range(len(examples)))


@pytest.mark.parametrize(
    ("source", "target", "scores", "counts"),
    [(300, 30, 500, {15}), (300, 30, 1728, {30}), (100, 100, 500, {2, 3}), (100, 100, 1728, {4, 5}), (30, 300, 500, {1})],
)
def test_a_source_is_read_again_where_scores_would_cost_more(source, target, scores, counts):
    rows = pack(chains(source, [target] * 30), seq2seq=False, scores=scores)
    assert {len(group) for one in rows for group in one} == counts
    assert all(len(one) == 1 for one in rows)


def test_long_examples_share_a_row_with_short_ones():
    examples = [row(1, n - 1, i) for i, n in enumerate([20, 4, 11, 13, 2, 18])]
    assert [sorted(i for (i,) in one) for one in pack(examples, seq2seq=False)] == [[0, 4], [1, 5], [2, 3]]


def test_one_long_example_does_not_make_rows_of_two_short_ones():
    examples = [row(1, n - 1, i) for i, n in enumerate([60, *[6] * 19])]
    assert len(pack(examples, seq2seq=False)) == 3


@pytest.mark.parametrize("seq2seq", [False, True])
def test_packing_is_worth_it_only_where_it_saves_padding(seq2seq):
    even = [row(5, 5, i) for i in range(6)]
    assert not is_worth_packing(even, pack(even, seq2seq=seq2seq), seq2seq=seq2seq)
    assert is_worth_packing(ROWS, pack(ROWS, seq2seq=seq2seq), seq2seq=seq2seq)


@pytest.mark.parametrize("seq2seq", [False, True])
def test_rows_with_more_attention_scores_than_padded_ones_are_not_worth_it(seq2seq):
    examples = [row(100, 50, 1), row(100, 50, 2), row(79, 39, 3), row(79, 39, 4)]
    rows = [[[0], [2]], [[1], [3]]]
    assert not is_worth_packing(examples, rows, seq2seq=seq2seq)
    assert is_worth_packing(examples, rows, seq2seq=seq2seq, scores=10**6), "where scores cost less"
