"""A student for CTranslate2, asked by CTranslate2: for every family the greedy answers and log-probabilities of transformers."""

import importlib.util
import json
import re

import pytest

pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install 'understudy[ctranslate2]'")

import ctranslate2
import torch
from checkpoints import FAMILIES, TEXTS, make, real_tokenizer
from ctranslate2.converters import transformers as theirs
from exported import HOSTILE, load, make_disturbed, student, write_smollm2
from peft import LoraConfig, get_peft_model
from test_local import serve

from understudy.cli.arguments import make_parser
from understudy.cli.corpora import export
from understudy.core.asks import GREEDY, Request
from understudy.core.errors import CheckpointError
from understudy.core.tokens import encode_source, encode_text
from understudy.core.values import Problem
from understudy.engines.local.beams import score
from understudy.engines.local.ctranslate2_write import _score_written, write_ctranslate2
from understudy.engines.local.engine import TransformersEngine
from understudy.engines.local.forward import Network
from understudy.engines.local.prompts import Prompts
from understudy.pipeline.card import read_card
from understudy.runs.export_student import export_student
from understudy.sampling.pool import StudyPool
from understudy.studies.options import Decode

NEAR = 1e-4


def generate(model, source, end, tokens=16):
    """The greedy tokens by transformers, and the log-probability of each."""
    begun = [] if model.config.is_encoder_decoder else source
    with torch.no_grad():
        told = torch.tensor([source])
        said = model.generate(told, attention_mask=torch.ones_like(told), max_new_tokens=tokens, do_sample=False, eos_token_id=end)
        ids = said[0, len(begun) or 1 :].tolist()
        before = {"decoder_input_ids": said} if model.config.is_encoder_decoder else {}
        logits = model(input_ids=told if before else said, **before).logits[0, -len(ids) - 1 : -1]
    return ids, logits.log_softmax(-1)[range(len(ids)), ids]


def generate_by_ctranslate2(path, tokenizer, source, end, tokens=16, *, seq2seq):
    """The same by CTranslate2, whose scoring adds the end token to what a decoder with an encoder says."""
    asked = [tokenizer.convert_ids_to_tokens(source)]
    how = {"end_token": [end], "return_end_token": True}
    if seq2seq:
        runtime = ctranslate2.Translator(str(path), intra_threads=1)
        said = runtime.translate_batch(asked, beam_size=1, max_decoding_length=tokens, **how)[0].hypotheses[0]
        names = json.loads((path / "shared_vocabulary.json").read_text())
        ids = [names.index(token) for token in said]
        scored = runtime.score_batch(asked, [[token for token in said if token != tokenizer.convert_ids_to_tokens(end)]])[0]
        return ids, scored.log_probs[: len(ids)]
    runtime = ctranslate2.Generator(str(path), intra_threads=1)
    said = runtime.generate_batch(asked, max_length=tokens, include_prompt_in_result=False, **how)[0]
    scored = runtime.score_batch([asked[0] + said.sequences[0]])[0]
    return said.sequences_ids[0], scored.log_probs[len(source) - 1 :]


def compare(made, path, texts=HOSTILE):
    """Whether both say the same to every text, and how far their log-probabilities are apart at most."""
    model, tokenizer = load(made)
    seq2seq, end, far = model.config.is_encoder_decoder, tokenizer.eos_token_id, 0.0
    for text in texts:
        if seq2seq and not text.strip():  # for T5 that is no token, and CTranslate2 says nothing to nothing
            continue
        source = encode_source(tokenizer, text, seq2seq=seq2seq)
        wanted, logprobs = generate(model, source, end)
        ids, found = generate_by_ctranslate2(path, tokenizer, source, end, seq2seq=seq2seq)
        assert ids == wanted, text
        far = max(far, (torch.tensor(found) - logprobs).abs().max().item())
    return far


@pytest.mark.parametrize("tokenizer", ["real", "words"])
@pytest.mark.parametrize("family", [*FAMILIES, "t5-flan"])
def test_every_family_says_the_same_with_the_same_probabilities(family, tokenizer, tmp_path):
    made = make_disturbed(family, tmp_path / "m", tokenizer=real_tokenizer(family, TEXTS) if tokenizer == "real" else None)
    write_ctranslate2(made, tmp_path / "out")
    assert compare(made, tmp_path / "out" / "model") < NEAR


@pytest.mark.parametrize("family", ["llama", "t5", "t5-flan"])
def test_a_model_with_an_output_layer_of_its_own_does_too(family, tmp_path):
    knows = [(text, " So" if at % 2 else " coins") for at, text in enumerate(HOSTILE)]
    made = make(family, tmp_path / "m", tokenizer=real_tokenizer(family, TEXTS), width=64, knows=knows)
    write_ctranslate2(made, tmp_path / "out")
    assert compare(made, tmp_path / "out" / "model") < NEAR


@pytest.mark.slow
def test_the_real_pretrained_model_does_too(tmp_path):
    made = write_smollm2(tmp_path)
    write_ctranslate2(made, tmp_path / "out")
    assert compare(made, tmp_path / "out" / "model", HOSTILE[:2]) < NEAR


def test_ctranslate2s_own_converter_gets_flan_t5s_probabilities_wrong(tmp_path):
    made = make_disturbed("t5-flan", tmp_path / "m", tokenizer=real_tokenizer("t5", TEXTS))
    theirs.TransformersConverter(str(made)).convert(str(tmp_path / "theirs"))
    write_ctranslate2(made, tmp_path / "ours")
    model, tokenizer = load(made)
    source = encode_source(tokenizer, HOSTILE[0], seq2seq=True)
    target = [*encode_text(tokenizer, TEXTS[0])[:8], tokenizer.eos_token_id]
    [right] = score(Prompts(Network(model, name="t5-flan")), [(tuple(source), tuple(target))], size=1)

    def find_error(path):
        return abs(_score_written(path, tokenizer, source, target, seq2seq=True) - right).max()

    assert find_error(tmp_path / "theirs") > 0.1  # its greedy answer is right, so only the log-probabilities show it
    assert find_error(tmp_path / "ours" / "model") < NEAR


def test_a_model_that_it_reads_otherwise_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    made = student(make("gpt2", tmp_path / "m"), tmp_path)
    loader = theirs._MODEL_LOADERS["GPT2Config"]

    def shifted(spec, module):
        type(loader).set_layer_norm(loader, spec, module)
        spec.beta = module.bias + 0.01

    monkeypatch.setattr(loader, "set_layer_norm", shifted)
    with pytest.raises(CheckpointError, match=r"log-probabilities differ from those of transformers by up to .*understudy serve"):
        export_student(made, tmp_path / "out", format="ctranslate2")
    monkeypatch.undo()
    monkeypatch.setattr(loader, "get_model_spec", lambda _: {}["activation"])
    with pytest.raises(CheckpointError, match=r"cannot run it \('activation'\)"):
        export_student(made, tmp_path / "out", format="ctranslate2")
    monkeypatch.delitem(theirs._MODEL_LOADERS, "GPT2Config")
    with pytest.raises(CheckpointError, match=r"no models of type 'gpt2'.*understudy serve"):
        export_student(made, tmp_path / "out", format="ctranslate2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"pip install 'understudy\[ctranslate2\]'"):
        export_student(made, tmp_path / "out", format="ctranslate2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "student"]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_an_adapter_is_merged(tmp_path):
    base = make("llama", tmp_path / "base")
    model, tokenizer = load(base)
    adapted = get_peft_model(
        model, LoraConfig(target_modules=["q_proj"], init_lora_weights=False, base_model_name_or_path=str(base))
    )
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    write_ctranslate2(tmp_path / "adapter", tmp_path / "out")
    assert compare(tmp_path / "adapter", tmp_path / "out" / "model") < NEAR
    with pytest.raises(AssertionError):
        compare(base, tmp_path / "out" / "model")


CHAT = (
    "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}"
)


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "chat", "words", "t5"])
def test_the_cards_program_says_what_the_student_says(family, tmp_path, monkeypatch, capsys):
    """Prompts with and without a first token, a chat's, an encoder's; a stop string, an end token and a limit end the reply."""
    tokenizer = None if family == "words" else real_tokenizer({"chat": "opt"}.get(family, family), TEXTS)
    options = {"max_tokens": 12}
    if family == "chat":
        tokenizer.chat_template = CHAT
        options |= {"format": {"style": "messages", "system": 'Be "brief".'}}
    kind = {"chat": "opt", "words": "qwen2"}.get(family, family)
    made = student(make(kind, tmp_path / "m", tokenizer=tokenizer), tmp_path, options=options)
    said = export_student(made, tmp_path / "out", format="ctranslate2")
    assert re.fullmatch(rf"{tmp_path}/out/model \([\d,]+ bytes\)", said["model"]) and "Modelfile" not in said
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`scotd`" in card and "licence: MIT" in card and "terms: none" in card
    program = "\n".join(line[4:] for line in card.splitlines() if line.startswith("    ") or not line)
    monkeypatch.chdir(tmp_path / "out")
    exec(program, {})
    call = next(read_card(made).make_method().solve(Problem("q", "your question", "number"), None, StudyPool()))
    (reply,) = serve(TransformersEngine(made), [Request(call, GREEDY, 0)])
    assert capsys.readouterr().out == reply.text + "\n"
    assert len(reply.text) > 1


def test_a_student_that_samples_is_asked_so(tmp_path):
    decode = Decode(votes=8, temperature=0.6, top_p=0.9)
    made = student(make("gpt2", tmp_path / "m"), tmp_path, decode=decode)
    export(make_parser("export"), [str(made), "--format", "ctranslate2", "--to", str(tmp_path / "out")])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "max_length=24, sampling_topk=0, sampling_topp=0.9, sampling_temperature=0.6, end_token=['<end>']" in card
    assert "the majority of 8 sampled answers" in card
