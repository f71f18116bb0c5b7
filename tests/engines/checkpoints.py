"""Small random checkpoints of every family, with a real tokenizer, saved as any `transformers` checkpoint is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GPT2Config,
    GPT2Tokenizer,
    LlamaConfig,
    LlamaTokenizer,
    OPTConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
    T5Config,
    T5Tokenizer,
)

from understudy.core.tokens import encode_source, encode_text
from understudy.training.words import train_words

FAMILIES = ("gpt2", "opt", "llama", "qwen2", "qwen3", "t5")
TEXTS = ["Q: How many coins has Ana?\nA: So the answer is: 4\n\n", "Bob finds 3 more, and then loses 12 of them."]
SURE = 8.0
"""Logit of what a model knows by heart: a probability of about 0.9 among the 300 tokens of these tokenizers."""
ROPE = {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def real_tokenizer(family: str, texts: list[str], size: int = 300) -> PreTrainedTokenizerBase:
    """A tokenizer of the family's own kind (byte-level BPE, SentencePiece-like BPE, Unigram), trained on ``texts``.

    As the published ones: OPT and Llama begin a text with BOS, which for OPT is the end token too; T5 ends it with the end
    token; GPT-2 and Llama have no padding token.
    """
    made = {
        "gpt2": GPT2Tokenizer,
        "opt": lambda: GPT2Tokenizer(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>"),
        "llama": LlamaTokenizer,
        "qwen2": Qwen2Tokenizer,
        "qwen3": Qwen2Tokenizer,
        "t5": lambda: T5Tokenizer(extra_ids=0),
    }[family.partition("-")[0]]()
    trained = made.train_new_from_iterator(texts, size, show_progress=False)
    if family in ("opt", "llama"):
        bos = trained.bos_token
        template = {"single": f"{bos} $A", "pair": f"{bos} $A {bos} $B", "special_tokens": [(bos, trained.bos_token_id)]}
        trained.backend_tokenizer.post_processor = TemplateProcessing(**template)
    return trained


def make(
    family: str,
    directory: Path,
    *,
    seed: int = 0,
    context: int = 128,
    tokenizer: PreTrainedTokenizerBase | None = None,
    width: int = 32,
    knows: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write the checkpoint into ``directory``. ``knows``: (prompt, reply) that it says by heart (`learn_by_heart`), which needs a
    ``width`` of as many as the replies have tokens."""
    tokenizer = tokenizer or train_words(TEXTS, min_count=1)
    size = len(tokenizer) + 9  # as real checkpoints have: more embeddings than tokens
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    rope = {**ROPE, **ids, "hidden_size": width, "vocab_size": size, "max_position_embeddings": context}
    t5: dict[str, Any] = {
        "vocab_size": size,
        "d_model": width,
        "d_kv": width // 4,
        "d_ff": 48,
        "num_layers": 2,
        "num_decoder_layers": 2,
        "num_heads": 4,
        "dropout_rate": 0.0,  # learned by heart in fewer steps, and the same in every process
        "decoder_start_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = {
        "gpt2": lambda: GPT2Config(vocab_size=size, n_embd=width, n_layer=2, n_head=4, n_positions=context, **ids),
        "opt": lambda: OPTConfig(
            vocab_size=size,
            hidden_size=width,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=context,
            word_embed_proj_dim=width,
            **ids,
        ),
        "llama": lambda: LlamaConfig(num_key_value_heads=2, **rope),
        "qwen2": lambda: Qwen2Config(num_key_value_heads=2, **rope),
        "qwen3": lambda: Qwen3Config(num_key_value_heads=2, head_dim=width // 4, **rope),
        "t5": lambda: T5Config(**t5),
        "t5-flan": lambda: T5Config(**t5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    }[family]()
    if knows:
        config.tie_word_embeddings = False
    torch.manual_seed(seed)
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = maker.from_config(config)
    with torch.no_grad():  # larger weights: a random model says the same of everything otherwise
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(1.5 if family.startswith("t5") else 8.0)
    if knows:
        learn_by_heart(model, tokenizer, knows)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def learn_by_heart(model: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, str]]) -> None:
    """Let ``model``, whose output layer is its own, say the reply of each (prompt, reply) of ``texts`` and end.

    Nothing is trained, for what a training comes to depends on the processor: the output layer is solved for, so that every token
    of the replies gets a logit of `SURE`, all others 0. That has a solution where the model is as wide as there are tokens.
    """
    seq2seq = model.config.is_encoder_decoder
    rows = []
    for prompt, reply in texts:
        source, target = encode_source(tokenizer, prompt, seq2seq=seq2seq), encode_text(tokenizer, reply)
        rows.append((source, [*target, tokenizer.eos_token_id]))
    targets = torch.tensor([token for _, target in rows for token in target])
    output = model.get_output_embeddings()
    seen: list[torch.Tensor] = []
    hook = output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))

    def logits() -> torch.Tensor:
        said = []
        for source, target in rows:
            if seq2seq:
                begun = torch.tensor([[model.config.decoder_start_token_id, *target[:-1]]])
                said.append(model(input_ids=torch.tensor([source]), decoder_input_ids=begun).logits[0])
            else:
                said.append(model(input_ids=torch.tensor([source + target[:-1]])).logits[0, len(source) - 1 :])
        return torch.cat(said)

    with torch.inference_mode():
        model.eval().double()
        logits()
        states = torch.cat([state[-len(target) :] for state, (_, target) in zip(seen, rows, strict=True)])
        assert states.shape[0] <= states.shape[1], f"width = {states.shape[1]} is too small for {states.shape[0]} tokens"
        wanted = SURE * torch.nn.functional.one_hot(targets, output.weight.shape[0]).double()
        output.weight.copy_(torch.linalg.lstsq(states, wanted).solution.T)
        model.float()
        assert (logits() - wanted).abs().max() < SURE / 8, "in float32 it does not say what it was solved for"
    hook.remove()
