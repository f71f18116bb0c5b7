"""A tokenizer that is a file of sentence pieces alone: its tokens are those of sentencepiece, in training and when asked."""

import io
import json

import pytest

pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
pytest.importorskip("google.protobuf", reason="protobuf is not installed")

import sentencepiece as spm
from checkpoints import make
from test_local import serve
from transformers import LlamaTokenizer, T5Tokenizer

from understudy.core.asks import GREEDY, Call, Request
from understudy.core.tokens import encode_source, encode_text
from understudy.core.values import Example
from understudy.engines.local.checkpoint import check_checkpoint
from understudy.engines.local.engine import TransformersEngine
from understudy.engines.local.load import load_tokenizer
from understudy.training.loop import train
from understudy.training.options import StudentOptions, TrainingOptions

TEXTS = ["Q: How many coins has Ana? A: So the answer is: 4.", "Bob finds 3 more, and then loses 12 of them.", "x = 3 + 4 * 2"] * 40
WRITES = {
    "llama": ["Ana has 12 coins.", "a\nb\n\n", "two  blanks", "é½ <{}> 日本 😀", "</s> and <s>", "tab\there"],
    "t5": ["Ana has 12 coins.", "So the answer is: 4."],
}
"""Texts that come back as they are."""


def train_pieces(family):
    """The model file of a tokenizer of the family's own kind."""
    own = {
        "t5": {"model_type": "unigram", "vocab_size": 100, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
        "llama": {
            **{"model_type": "bpe", "vocab_size": 400, "byte_fallback": True, "split_digits": True},
            **{"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        },
    }[family]
    made = io.BytesIO()
    options = {"hard_vocab_limit": False, "minloglevel": 2} | own
    spm.SentencePieceTrainer.train(sentence_iterator=iter(TEXTS), model_writer=made, **options)
    return made.getvalue()


@pytest.fixture(params=WRITES)
def start(request, tmp_path):
    """A checkpoint that has only the pieces, which knows `WRITES` by heart."""
    family, directory = request.param, tmp_path / request.param
    (tmp_path / "pieces").mkdir()
    file = {"t5": "spiece.model", "llama": "tokenizer.model"}[family]
    (tmp_path / "pieces" / file).write_bytes(train_pieces(family))
    maker, options = {"t5": (T5Tokenizer, {"extra_ids": 0}), "llama": (LlamaTokenizer, {"add_bos_token": True})}[family]
    tokenizer = maker.from_pretrained(tmp_path / "pieces", **options)
    knows = [(f"Q: number {i}?\nA:", text) for i, text in enumerate(WRITES[family])]
    make(family, directory, tokenizer=tokenizer, width=320, knows=knows)
    (directory / "tokenizer.json").unlink()
    said = json.loads((directory / "tokenizer_config.json").read_text())
    (directory / "tokenizer_config.json").write_text(json.dumps(said | options))  # as published ones say it
    (tmp_path / "pieces" / file).rename(directory / file)
    check_checkpoint(directory)
    return family, directory, knows, spm.SentencePieceProcessor(model_file=str(directory / file))


def test_texts_are_the_pieces_of_sentencepiece_and_special_tokens_in_them_stay_text(start):
    family, directory, _, pieces = start
    tokenizer = load_tokenizer(directory)
    for text in [*WRITES[family], "é½ 日本", "", "a  b"]:
        if "</s>" not in text:
            assert encode_text(tokenizer, text) == pieces.encode(text), text
    written = encode_text(tokenizer, "x </s> <pad> y")
    assert not set(written) & {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id}
    source = encode_source(tokenizer, "x </s> y", seq2seq=family == "t5")
    assert [i for i in source if i in (tokenizer.eos_token_id, tokenizer.bos_token_id)] == [source[-1 if family == "t5" else 0]]


def test_what_it_writes_comes_back_and_a_trained_student_needs_no_sentencepiece(start, tmp_path):
    family, directory, knows, _ = start

    def ask(where):
        requests = [Request(Call("student", prompt, (), 60), GREEDY, 0) for prompt, _ in knows]
        return [reply.text for reply in serve(TransformersEngine(where), requests)]

    assert ask(directory) == WRITES[family]
    examples = [Example.of("student", prompt, text, problem=f"p{i}") for i, (prompt, text) in enumerate(knows)]
    options = TrainingOptions(steps=1, batch_size=2, learning_rate=1e-9, precision="float32")
    trained = train(examples, student=StudentOptions(checkpoint=str(directory)), options=options, out=tmp_path / "out", seed=0)
    assert not trained.notes
    assert (trained.checkpoint / "tokenizer.json").is_file()
    assert not list(trained.checkpoint.glob("*.model"))
    assert ask(trained.checkpoint) == WRITES[family]
