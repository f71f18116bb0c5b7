"""The calculator while a reply is written, against a slow decoding by plain `transformers`, with tokenizers of every kind.

The models know wrong values by heart, so that what the calculator writes is never what they would have said.
"""

import json
import random
import re

import pytest
import torch
from checkpoints import make, real_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from test_local import Queue, call, plain, serve

from understudy.core.answers.arithmetic import evaluate
from understudy.core.answers.arithmetic import write_number as written
from understudy.core.asks import GREEDY, Call, Decoding, Request
from understudy.core.tokens import encode_source, encode_text
from understudy.engines.calculator import fill_value
from understudy.engines.local.engine import TransformersEngine
from understudy.engines.local.forward import Network
from understudy.training.words import train_words

CALCULATOR = Decoding(calculator=True)
TAUGHT = [
    ("Q: half of 48?\nA:", " 48/2 = <<48/2=25>>25 coins."),
    ("Q: 3 less 8?\nA:", " It is 3-8 = <<3-8=-4>>-4, and (2+3)*4 = <<(2+3)*4=21>>21."),
    ("Q: a third of 7?\nA:", " 7/3 = <<7/3=2>>2 of <<two=2>>2 and <<50%*8=5>>5 in <<1,000+1=2>>2."),
    ("Q: none?\nA:", " Nothing is calculated, x = 3 and << 4."),
    ("Q: twice?\nA:", " <<9**9**9=1>>1 and <<2*3=7>>7=7 so <<7=7=8>>8."),
]
NUMBERS = random.Random(0)
TEXTS = [prompt + text for prompt, text in TAUGHT] + [
    f"Q: {a} {word} {b}?\nA: {a}{op}{b} = <<{a}{op}{b}={a - b}>>{a - b} coins."
    for op, word in (("+", "and"), ("-", "less"), ("*", "times"), ("/", "by"))
    for a, b in [(NUMBERS.randrange(99), NUMBERS.randrange(99)) for _ in range(50)]
]
PROMPTS = [prompt for prompt, _ in TAUGHT]
KINDS = ("gpt2", "opt", "llama", "qwen2", "t5", "words", "words-t5")


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = teach(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return of


def teach(kind, directory):
    """A small model that knows TAUGHT by heart, with the family's own tokenizer, or that of students from scratch."""
    family = {"words": "llama", "words-t5": "t5"}.get(kind, kind)
    tokenizer = train_words(TEXTS, min_count=1) if kind.startswith("words") else real_tokenizer(kind, TEXTS)
    return make(family, directory, tokenizer=tokenizer, context=256, width=320, knows=TAUGHT)


def slow(directory, prompt, *, most=80):
    """Text, and how many tokens the model said itself: greedily, one whole forward pass per token, without a cache. None where it
    does not know how the tokenizer, which is trained anew each time, writes a value."""
    model, tokenizer = plain(directory)
    seq2seq = model.config.is_encoder_decoder
    source, ids, said = encode_source(tokenizer, prompt, seq2seq=seq2seq), [], 0

    def text(tokens):
        return tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    while len(ids) < most:
        with torch.inference_mode():
            if seq2seq:
                begun = torch.tensor([[model.config.decoder_start_token_id, *ids]])
                logits = model(input_ids=torch.tensor([source]), decoder_input_ids=begun).logits[0, -1]
            else:
                logits = model(input_ids=torch.tensor([source + ids])).logits[0, -1]
        token = int(logits.argmax())
        said += 1
        if token == tokenizer.eos_token_id:
            break
        before, ids = ids, [*ids, token]
        for match in re.finditer("=", text(ids)):
            mark = re.search(r"<<((?:(?!<<).)*)=$", text(ids)[: match.end()], re.DOTALL)
            value = mark and evaluate(mark[1])
            whole = value is not None and match.start() >= len(text(before)) and f"{text(ids)[: match.end()]}{written(value)}>>"
            if not whole or text(ids).startswith(whole):
                continue
            added = again(tokenizer, text, ids, whole, mark[0])
            if added is None:
                added, said = again(tokenizer, text, before, whole, mark[0]), said - 1
                ids = before
            if added is None:
                return None
            ids = ids + added
            break
    return text(ids[:most]), said


def again(tokenizer, text, ids, whole, mark):
    """The tokens that are missing, as the tokenizer writes them after the mark as far as it is there, or alone."""
    if not whole.startswith(text(ids)):
        return None
    here = text(ids)[text(ids).rfind(mark[:2]) :]
    for context in (here, ""):
        added = encode_text(tokenizer, context + whole[len(text(ids)) :])[len(encode_text(tokenizer, context)) :]
        if text([*ids, *added]) == whole:
            return added
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_values_come_into_the_text_as_a_slow_decoding_puts_them_there(taught, kind):
    directory = taught(kind)
    replies = serve(TransformersEngine(directory, batch_size=4), [call(p, decoding=CALCULATOR, max_tokens=80) for p in PROMPTS])
    known = [(reply, *said) for prompt, reply in zip(PROMPTS, replies, strict=True) if (said := slow(directory, prompt))]
    assert len(known) > len(PROMPTS) / 2
    for reply, text, said in known:
        assert reply.text == text
        assert reply.tokens == len(reply.logprobs) == said
    assert "48/2 = <<48/2=24>>" in replies[0].text
    assert "<<3-8=-5>>" in replies[1].text
    assert "<<7/3=7/3>>" in replies[2].text


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_row_does_not_grow_beyond_its_limit_also_not_by_a_value(taught, kind):
    engine = TransformersEngine(taught(kind))
    replies = serve(engine, [call(PROMPTS[1], decoding=CALCULATOR, max_tokens=n) for n in range(1, 30)])
    for n, reply in enumerate(replies, 1):
        assert (reply.text, reply.tokens) == slow(taught(kind), PROMPTS[1], most=n)


@pytest.mark.parametrize("kind", ["gpt2", "words", "t5"])
def test_stop_strings_end_a_reply_also_where_they_begin_in_a_value(taught, kind):
    engine = TransformersEngine(taught(kind))
    (whole,) = serve(engine, [call(PROMPTS[1], decoding=CALCULATOR, max_tokens=80)])
    assert "<<3-8=-5>>" in whole.text
    stops = ["=", "=-", "-5", "5>>", ">>", "8=-5>", whole.text[whole.text.index("5>>") :][1:5]]
    replies = serve(engine, [call(PROMPTS[1], decoding=CALCULATOR, max_tokens=80, stop=(stop,)) for stop in stops])
    for stop, reply in zip(stops, replies, strict=True):
        assert (reply.text, reply.finish) == (whole.text.partition(stop)[0], "stop"), stop


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_values_are_written_without_reading_a_prompt_again_and_do_not_disturb_the_other_rows(taught, kind, monkeypatch):
    seen, read = [], Network.read
    monkeypatch.setattr(Network, "read", lambda self, prompts, *starts: seen.extend(prompts) or read(self, prompts, *starts))
    engine = TransformersEngine(taught(kind), batch_size=8)
    without = serve(engine, [call(p, max_tokens=40) for p in PROMPTS])
    mixed = serve(engine, [call(p, max_tokens=40, decoding=d) for p in PROMPTS for d in (GREEDY, CALCULATOR)])
    assert sum(map(len, seen)) == sum(r.prompt_tokens for r in without)
    assert [r.text for r in mixed[::2]] == [r.text for r in without]
    assert [r.text for r in mixed[1::2]] != [r.text for r in without]


@pytest.mark.parametrize("kind", ["llama", "words-t5"])
def test_sampled_replies_with_a_calculator_do_not_depend_on_the_batch(taught, kind):
    drawn = Decoding(0.8, 0.95, calculator=True)
    requests = [call(p, decoding=drawn, path=path, max_tokens=30) for p in PROMPTS for path in range(4)]
    one = serve(TransformersEngine(taught(kind), batch_size=1), requests)
    many = serve(TransformersEngine(taught(kind), batch_size=16), requests)
    assert [(r.text, r.tokens) for r in one] == [(r.text, r.tokens) for r in many]
    assert len({r.text for r in one}) > len(PROMPTS)


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("half is 48/2 = <<48/2=", "half is 48/2 = <<48/2=24>>"),
        ("<<3-8=-4>>", "<<3-8=-5>>"),
        ("<<1/8=", "<<1/8=0.125>>"),
        ("<<10/3=3.33", "<<10/3=10/3>>"),
        ("<<x=<<2+2=5", "<<x=<<2+2=4>>"),
        ("<<1,000 + $1=", "<<1,000 + $1=1001>>"),
        ("2+2=", None),
        ("<<=", None),
        ("<<1/0=", None),
        ("<<9**9**9=", None),
        ("<<__import__('os').system('true')=", None),
        ("<<" + "(" * 10_000 + "=", None),
        ("<<" + "9" * 10_000 + "=", None),
        ("<<" + "1+" * 10_000 + "1=", None),
        ("<<=" * 3_000, None),
        ("<<2+2=4>> and 3=", "<<2+2=4>>"),
    ],
)
def test_what_stands_in_a_mark_is_calculated_or_left_alone(text, becomes):
    assert fill_value(text) == becomes


def value_of(mark):
    return evaluate(mark.partition("=")[2].removesuffix(">>"))


def test_the_marks_of_gsm8k_get_the_values_that_people_gave_them(real_data):
    marks = []
    for split in ("train", "test"):
        for line in (real_data / "gsm8k" / f"{split}.jsonl").read_text("utf-8").split("\n")[:-1]:
            marks += re.findall(r"<<[^=<>]*=[^<>]*>>", json.loads(line)["rationale"])
    assert len(marks) > 25_000
    filled = {mark: fill_value(mark) for mark in marks}
    left = [mark for mark in marks if filled[mark] is None]
    assert left == ["<<560//10=56>>", "<<180//3=60>>"], "whole-number division is no arithmetic of people"
    values = [(value_of(mark), value_of(whole)) for mark, whole in filled.items() if whole is not None]
    assert [(said, value) for said, value in values if said != value] == []


def test_a_mark_that_was_there_before_is_not_looked_at_again():
    text = "<<2+2=5>> and "
    assert fill_value(text + "<<2*4=", len(text)) == text + "<<2*4=8>>"
    assert fill_value(text + "a = b", len(text)) is None


@settings(deadline=None)
@given(st.text("0123456789+-*/().,%$ <=>x\n", max_size=60))
def test_any_text_is_either_left_alone_or_cut_behind_an_equals_sign_and_given_a_value(text):
    whole = fill_value(text)
    if whole is not None:
        head, _, value = whole[:-2].rpartition("=")
        assert text.startswith(head + "=")
        assert whole.endswith(">>")
        assert evaluate(head.rpartition("<<")[2]) == evaluate(value)


def test_a_calculator_has_a_key_of_its_own_and_is_refused_to_beams(taught):
    ask = Call("s", "p")
    own = '{"calculator":true,"max_tokens":256,"prompt":"p","stop":[],"temperature":0.0,"top_p":1.0}'
    assert Request(ask, CALCULATOR, 0).canonical == own
    queue = Queue([call("x", decoding=Decoding(beams=2, calculator=True))])
    TransformersEngine(taught("gpt2")).serve(queue)
    assert "no calculator" in str(queue.errors[0])
