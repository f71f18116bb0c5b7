"""Attention with shared keys and values is that of `transformers`, without its copies."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from understudy.engines.local.attention import GROUPED
from understudy.engines.local.load import choose_attention

SHAPE = {"vocab_size": 50, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 6}
MAKERS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


def make(family, groups, **more):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        MAKERS[family](**SHAPE, num_key_value_heads=groups, **more), attn_implementation="eager", dtype=torch.float64
    )


@pytest.mark.parametrize("family", MAKERS)
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_logits_and_gradients_are_those_of_eager_attention(family, groups):
    eager, grouped = make(family, groups), make(family, groups)
    choose_attention(grouped, "cpu")
    assert grouped.config._attn_implementation == GROUPED
    ids = torch.randint(50, (3, 7))
    mask = torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 2 + [0] * 5])
    for model in (eager, grouped):
        model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss.backward()
    torch.testing.assert_close(grouped(ids, attention_mask=mask).logits, eager(ids, attention_mask=mask).logits)
    for ours, theirs in zip(grouped.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(grouped.generate(ids, max_new_tokens=9), eager.generate(ids, max_new_tokens=9))


def test_weights_are_dropped_as_the_model_says():
    model = make("llama", 2, attention_dropout=0.5)
    choose_attention(model, "cpu")
    ids = torch.randint(50, (2, 9))
    model.train()
    assert not torch.equal(model(ids).logits, model(ids).logits)
    model.eval()
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_heads_that_share_nothing_keep_eager_attention():
    model = make("llama", 6)
    choose_attention(model, "cpu")
    assert model.config._attn_implementation == "eager"


def test_a_saved_config_does_not_name_it(tmp_path):
    model = make("llama", 2)
    choose_attention(model, "cpu")
    model.save_pretrained(tmp_path)
    assert GROUPED not in (tmp_path / "config.json").read_text()
