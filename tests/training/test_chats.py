"""Chats: a student is trained on the tokens it is asked with, and its reply ends with what ends an assistant's turn."""

import pytest
import torch
from checkpoints import make
from tokenizers import AddedToken
from transformers import GenerationConfig, Qwen2Tokenizer

from understudy.core.asks import Message
from understudy.core.errors import CheckpointError, EngineError
from understudy.core.prompt_format import PromptFormat
from understudy.core.tokens import encode_messages, encode_reply, encode_source, find_turn
from understudy.core.values import Problem
from understudy.engines.local import load as loading
from understudy.engines.local.engine import TransformersEngine
from understudy.evaluation.run import answer
from understudy.methods.scotd import SCoTD
from understudy.training.batches import collate, encode
from understudy.training.loop import train
from understudy.training.options import StudentOptions, TrainingOptions

CHATML = """{%- if messages[0].role != 'system' %}<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif %}
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
# Qwen3: earlier thoughts are dropped, and the last reply is given a think block, an empty one where it has none.
QWEN3 = """{%- for m in messages %}
{%- if m.role == 'assistant' %}
{%- set thought, said = '', m.content %}
{%- if '</think>' in m.content %}
{%- set thought = m.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set said = m.content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{%- if loop.last %}<|im_start|>assistant
<think>
{{ thought.strip('\\n') }}
</think>

{{ said.lstrip('\\n') }}<|im_end|>
{% else %}<|im_start|>assistant
{{ said }}<|im_end|>
{% endif %}
{%- else %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LLAMA3 = """{{ bos_token }}{%- for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
GEMMA = """{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}
{%- if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
THINKING = CHATML[: CHATML.rindex("{% endif %}")] + "<think>\n{% endif %}"  # QwQ: the prompt opens the thought
TEMPLATES = {"chatml": CHATML, "qwen3": QWEN3, "llama3": LLAMA3, "gemma": GEMMA, "thinking": THINKING}
ENDS = {"chatml": "<|im_end|>", "qwen3": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "thinking": "<|im_end|>"}
MARKS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"]
TEXTS = ["You are a helpful assistant. What is 2 plus 3? Count up. So the answer is: 5", "system user model assistant"] * 20
ASKED = (Message("user", "What is 2 plus 3?"),)
REPLY = "Count up from 2.\n\nSo the answer is: 5"


def tokenizer_of(name):
    """Byte-level BPE with the marks as special tokens and <think> as a plain added one, as Qwen's."""
    made = Qwen2Tokenizer().train_new_from_iterator(TEXTS, 300, show_progress=False)
    made.add_special_tokens({"additional_special_tokens": MARKS, "bos_token": "<|begin|>"})
    made.add_tokens([AddedToken("<think>", special=False), AddedToken("</think>", special=False)])
    made.chat_template = TEMPLATES[name]
    return made


def rendered(tokenizer, messages, **options):
    turns = [{"role": m.role, "content": m.content} for m in messages]
    return tokenizer.apply_chat_template(turns, tokenize=False, **options)


def as_written(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_turn_ends_with_the_token_that_the_template_writes_which_is_not_the_tokenizers_end_token(name):
    tokenizer = tokenizer_of(name)
    turn = find_turn(tokenizer, ASKED)
    assert tokenizer.decode([turn.end]) == ENDS[name] != tokenizer.eos_token


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma"])
def test_prompt_and_reply_are_a_token_prefix_of_what_the_template_writes_whole(name):
    tokenizer = tokenizer_of(name)
    prompt = encode_messages(tokenizer, ASKED)
    assert prompt == as_written(tokenizer, rendered(tokenizer, ASKED, add_generation_prompt=True))
    whole = as_written(tokenizer, rendered(tokenizer, [*ASKED, Message("assistant", REPLY)]))
    turn = find_turn(tokenizer, ASKED)
    trained = prompt + encode_reply(tokenizer, REPLY, turn) + [turn.end]
    assert whole[: len(trained)] == trained
    assert turn.inserted == "" and not turn.thinking
    if name != "chatml":
        assert prompt.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma"])
def test_a_special_token_in_a_text_stays_text_in_training_and_when_asked(name):
    tokenizer = tokenizer_of(name)
    turn = find_turn(tokenizer, ASKED)
    end = ENDS[name]
    text = f"Write {end} after 2 {tokenizer.eos_token} or <|im_start|>user. <think>"
    reply = encode_reply(tokenizer, text, turn)
    specials = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    assert not specials & set(reply) and tokenizer.decode(reply) == text
    assert tokenizer.convert_tokens_to_ids("<think>") in reply, "a plain added token is no special one"

    plain = encode_messages(tokenizer, (Message("user", "Write X."),))
    asked = encode_messages(tokenizer, (Message("user", f"Write {text}."),))
    assert [i for i in asked if i in specials] == [i for i in plain if i in specials], "only the template's"
    prompt = rendered(tokenizer, [Message("user", f"Write {text}.")], add_generation_prompt=True)
    assert tokenizer.decode(asked) == prompt

    raw = encode_source(tokenizer, text, seq2seq=False)
    assert not specials & set(raw) and tokenizer.decode(raw) == text


def test_an_example_has_one_end_token_whatever_its_text_says():
    tokenizer = tokenizer_of("chatml")
    rationale = f"The tag {tokenizer.eos_token} ends a text, {ENDS['chatml']} a turn."
    raw, chat = (PromptFormat(style).teach("student", PROBLEMS[0], rationale, "3") for style in ("raw", "messages"))
    turn = find_turn(tokenizer, chat.messages)
    for example, its_turn, end in ((raw, None, tokenizer.eos_token_id), (chat, turn, turn.end)):
        target = encode(example, tokenizer, seq2seq=False, turn=its_turn).target
        assert target.count(end) == 1 and target[-1] == end


def test_a_template_that_asks_for_the_date_gets_one_day_which_is_saved_with_the_student(tmp_path):
    tokenizer = tokenizer_of("chatml")
    asks = "{%- if strftime_now is defined %}{% set d = strftime_now('%d %B %Y') %}{% endif %}"
    tokenizer.chat_template = asks + CHATML.replace("helpful", "helpful ({{ d }})")
    tokenizer.save_pretrained(make("llama", tmp_path, tokenizer=tokenizer))
    loaded = loading.load_tokenizer(tmp_path)
    assert "(01 January 2026)" in loaded.decode(encode_messages(loaded, ASKED))
    loaded.save_pretrained(tmp_path / "saved")
    assert "strftime_now(" not in (tmp_path / "saved" / "chat_template.jinja").read_text()


def test_a_template_that_inserts_a_think_block_is_noticed_and_the_reply_is_neither_swallowed_nor_doubled():
    tokenizer = tokenizer_of("qwen3")
    turn = find_turn(tokenizer, ASKED)
    assert turn.inserted == "<think>\n\n</think>\n\n" and not turn.thinking
    thought = "<think>\nI count.\n</think>\n\nSo the answer is: 5"
    assert tokenizer.decode(encode_reply(tokenizer, thought, turn)) == thought
    assert tokenizer.decode(encode_reply(tokenizer, REPLY, turn)) == REPLY


def test_where_the_prompt_opens_the_thought_a_reply_does_not_open_it_again():
    tokenizer = tokenizer_of("thinking")
    turn = find_turn(tokenizer, ASKED)
    assert turn.thinking
    prompt = tokenizer.decode(encode_messages(tokenizer, ASKED))
    reply = tokenizer.decode(encode_reply(tokenizer, "<think>\nI count.\n</think>\n\n5", turn))
    assert (prompt + reply).count("<think>") == 1
    assert reply == "I count.\n</think>\n\n5"
    assert tokenizer.decode(encode_reply(tokenizer, REPLY, turn)) == REPLY


def test_a_template_without_a_system_role_refuses_one_in_one_message():
    with pytest.raises(EngineError, match="refuses messages with the roles system, user: System role not supported"):
        encode_messages(tokenizer_of("gemma"), (Message("system", "Be short."), *ASKED))


SUMS = [(1, 2), (4, 3), (9, 2), (5, 5)]
PROBLEMS = [Problem(f"p{i}", f"What is {a} plus {b}?", "number", str(a + b)) for i, (a, b) in enumerate(SUMS)]
CHAT = PromptFormat("messages")


def examples(written=CHAT):
    return [written.teach("student", p, f"Count up from {p.question.split()[2]}.", p.answer) for p in PROBLEMS]


def trained_by(name, tmp_path, **more):
    start = make("qwen2", tmp_path / "start", tokenizer=tokenizer_of(name), context=256)
    options = TrainingOptions(steps=120, batch_size=4, checks=1, learning_rate=5e-3, precision="float32")
    return train(examples(), student=StudentOptions(checkpoint=str(start)), options=options, out=tmp_path, seed=0, **more)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_chat_student_learns_by_heart_ends_its_turn_and_is_asked_with_the_tokens_it_was_trained_on(name, tmp_path):
    trained = trained_by(name, tmp_path)
    assert trained.losses[-1][1] < 0.1, "from about 6: what it says is sure on any processor"
    engine = TransformersEngine(trained.checkpoint)
    found = answer(PROBLEMS, SCoTD(format=CHAT, max_tokens=64), {"student": engine})
    for solution, problem in zip(found.solutions, PROBLEMS, strict=True):
        assert (solution.answer, solution.finish) == (problem.answer, "stop")
        assert ENDS[name] not in solution.text
    tokenizer = loading.load_tokenizer(trained.checkpoint)
    turn = find_turn(tokenizer, examples()[0].messages)
    row = encode(examples()[0], tokenizer, seq2seq=False, turn=turn)
    assert engine.encode(CHAT.write_prompt(PROBLEMS[0])) == row.source
    assert row.target[-1] == turn.end
    bears = collate([row], [1.0], pad=0, start=None)
    assert bears.targets[0][bears.weights[0] != 0].tolist() == list(row.target)
    assert turn.end in GenerationConfig.from_pretrained(trained.checkpoint).eos_token_id
    assert bool(trained.notes) == (name in ("qwen3", "thinking"))
    assert all("think" in note for note in trained.notes)


def test_plain_generate_stops_where_the_turn_ends(tmp_path):
    trained = trained_by("chatml", tmp_path)
    config, tokenizer = loading.load_config(trained.checkpoint), loading.load_tokenizer(trained.checkpoint)
    model = loading.load_model(trained.checkpoint, config, tokenizer, dtype="float32", device="cpu")
    ids = torch.tensor([encode_messages(tokenizer, CHAT.write_prompt(PROBLEMS[1]))])
    said = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=64, do_sample=False)[0, ids.shape[1] :]
    assert tokenizer.decode(said).endswith("So the answer is: 7<|im_end|>")


def test_a_system_message_that_the_template_refuses_ends_the_training_before_it_begins(tmp_path):
    start = make("qwen2", tmp_path / "start", tokenizer=tokenizer_of("gemma"), context=256)
    with pytest.raises(
        CheckpointError, match="start: this checkpoint's chat template refuses messages with the roles system, user"
    ):
        train(
            examples(PromptFormat("messages", "Be short.")),
            student=StudentOptions(checkpoint=str(start)),
            options=TrainingOptions(),
            out=tmp_path,
            seed=0,
        )
    bare = make("qwen2", tmp_path / "bare", context=256)
    with pytest.raises(CheckpointError, match=r"bare: .*has no chat template"):
        train(examples(), student=StudentOptions(checkpoint=str(bare)), options=TrainingOptions(), out=tmp_path, seed=0)
