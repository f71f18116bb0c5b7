"""Examples that share a row have the loss and the gradients of padded rows: none sees another."""

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


ROWS = [row(source, target, i) for i, (source, target) in enumerate([(9, 12), (3, 2), (1, 4), (20, 5), (6, 6), (2, 1)])]


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


def test_loss_and_gradients_are_those_of_padded_rows(model):
    scales = scale_losses(ROWS, reduction="token")
    rows = pack(ROWS, seq2seq=model.config.is_encoder_decoder)
    assert len(rows) < len(ROWS)
    packed = collate_packed(model, ROWS, scales, rows, **starts(model))
    loss, expected = gradients(model, collate(ROWS, scales, **starts(model)))
    packed_loss, found = gradients(model, packed)
    assert packed_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_what_one_example_says_changes_no_other(model):
    other = [*ROWS[:-1], row(2, 1, 99)]
    losses = []
    for examples in (ROWS, other):
        with torch.no_grad():
            batch = collate_packed(model, examples, [1.0] * 6, [list(range(6))], **starts(model))
            losses.append(model(**batch.inputs).logits[0, :-2])
    assert torch.equal(*losses)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=40), st.booleans())
def test_every_example_is_in_one_of_at_most_half_as_many_rows(lengths, seq2seq):
    examples = [row(source, target, i) for i, (source, target) in enumerate(lengths)]
    rows = pack(examples, seq2seq=seq2seq)
    assert sorted(i for one in rows for i in one) == list(range(len(examples)))
    assert len(rows) <= (len(examples) + 1) // 2
    for length in [lambda e: len(e.source), lambda e: len(e.target)] if seq2seq else [len]:
        assert max(sum(length(examples[i]) for i in one) for one in rows) <= 3 * max(map(length, examples))


def test_long_examples_share_a_row_with_short_ones():
    examples = [row(1, n - 1, i) for i, n in enumerate([20, 4, 11, 13, 2, 18])]
    assert [sorted(one) for one in pack(examples, seq2seq=False)] == [[0, 4], [1, 5], [2, 3]]


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
    examples = [row(100, 50), row(100, 50), row(79, 39), row(79, 39)]
    rows = pack(examples, seq2seq=seq2seq)
    assert [len(one) for one in rows] == [2, 2]
    assert not is_worth_packing(examples, rows, seq2seq=seq2seq)
