"""Examples that share a row have the loss and the gradients of padded rows: none sees another."""

import pytest
import torch
from checkpoints import make
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from understudy.training.batches import EncodedExample, collate, scale_losses
from understudy.training.objectives import cross_entropy
from understudy.training.packing import collate_packed, is_worth_packing, pack

DECODERS = ("gpt2", "opt", "llama", "qwen2", "qwen3")


def row(source, target, number=0):
    tokens = tuple(3 + (7 * i + 5 * number) % 50 for i in range(source + target))
    return EncodedExample(str(number), None, tokens[:source], tokens[source:], tuple(1.0 + i % 2 for i in range(target)))


ROWS = [row(source, target, i) for i, (source, target) in enumerate([(9, 12), (3, 2), (1, 4), (20, 5), (6, 6), (2, 1)])]


@pytest.fixture(scope="module", params=DECODERS)
def model(request, tmp_path_factory):
    directory = make(request.param, tmp_path_factory.mktemp(request.param))
    return AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager").eval()


def gradients(model, batch):
    model.zero_grad(set_to_none=True)
    loss = cross_entropy(model, batch)
    loss.backward()
    return float(loss.detach()), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_are_those_of_padded_rows(model):
    scales = scale_losses(ROWS, reduction="token")
    rows = pack(ROWS)
    assert len(rows) < len(ROWS)
    packed = collate_packed(ROWS, scales, rows, pad=0, like=torch.zeros(0))
    loss, expected = gradients(model, collate(ROWS, scales, pad=0, start=None))
    packed_loss, found = gradients(model, packed)
    assert packed_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_what_one_example_says_changes_no_other(model):
    other = [*ROWS[:-1], row(2, 1, 99)]
    losses = []
    for examples in (ROWS, other):
        batch = collate_packed(examples, [1.0] * 6, [list(range(6))], pad=0, like=torch.zeros(0))
        with torch.no_grad():
            losses.append(model(**batch.inputs).logits[0, :-2])
    assert torch.equal(*losses)


@given(st.lists(st.integers(2, 60), min_size=1, max_size=40))
def test_every_example_is_in_one_row_that_has_room_for_it(lengths):
    examples = [row(1, n - 1, i) for i, n in enumerate(lengths)]
    rows = pack(examples)
    assert sorted(i for one in rows for i in one) == list(range(len(examples)))
    assert all(sum(len(examples[i]) for i in one) <= 2 * max(lengths) for one in rows)


def test_packing_is_worth_it_only_where_it_saves_padding():
    even = [row(5, 5, i) for i in range(6)]
    assert not is_worth_packing(even, pack(even))
    assert is_worth_packing(ROWS, pack(ROWS))
