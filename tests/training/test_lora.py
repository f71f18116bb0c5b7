"""LoRA: only the adapter is trained, saved merged or alone, resumed exactly, and asked like any other student."""

import json
import shutil
import warnings

import pytest
import torch
from checkpoints import make
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from understudy.core.errors import CheckpointError, StudyError
from understudy.core.values import Example
from understudy.engines.local import load as loading
from understudy.engines.local.engine import TransformersEngine
from understudy.studies.schema import build
from understudy.training import student
from understudy.training.loop import train
from understudy.training.options import Lora, StudentOptions, TrainingOptions
from understudy.training.student import make_student, save_student

FAST = {"steps": 8, "batch_size": 4, "checks": 2, "save_every": 3, "optimizer": "adamw", "precision": "float32"}
EXAMPLES = [Example.of("student", f"Q: Ana has {i} coins?\nA:", f" So the answer is: {i}\n\n", problem=f"p{i}") for i in range(8)]


@pytest.fixture(scope="module", params=["gpt2", "llama", "t5"])
def start(request, tmp_path_factory):
    return make(request.param, tmp_path_factory.mktemp(request.param))


def run(start, out, *, lora=None, progress=lambda *_: None, **options):
    student = StudentOptions(checkpoint=str(start), lora=lora or Lora(rank=4))
    return train(EXAMPLES, student=student, options=TrainingOptions(**FAST | options), out=out, seed=1, progress=progress)


def plain_logits(directory, seq2seq):
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_pretrained(directory).eval()
    return logits_of(model)


def logits_of(model):
    ids = torch.tensor([[3, 4, 5]])
    extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        return model(input_ids=ids, **extra).logits


def test_a_merged_student_is_a_plain_checkpoint_of_the_same_form_and_has_learned(start, tmp_path):
    trained = run(start, tmp_path, steps=30, learning_rate=1e-2)
    assert trained.losses[-1][1] < 0.8 * trained.losses[0][1]
    before, after = load_file(start / "model.safetensors"), load_file(trained.checkpoint / "model.safetensors")
    assert {n: t.shape for n, t in before.items()} == {n: t.shape for n, t in after.items()}
    assert not (trained.checkpoint / "adapter_config.json").exists()
    assert any(not torch.equal(before[n], after[n]) for n in before)
    assert torch.equal(before[embeddings(before)], after[embeddings(after)]), "LoRA leaves embeddings alone"
    assert trained.trained < trained.parameters / 2
    assert TransformersEngine(trained.checkpoint).identity


def embeddings(tensors):
    return next(n for n in tensors if any(part in n for part in ("wte", "embed_tokens", "shared")))


def test_an_adapter_alone_says_what_the_merged_student_says_to_plain_transformers_and_to_the_engine(start, tmp_path):
    merged = run(start, tmp_path / "merged")
    alone = run(start, tmp_path / "alone", lora=Lora(rank=4, merge=False))
    assert merged.losses == alone.losses
    assert sorted(p.name for p in alone.checkpoint.glob("*.safetensors")) == ["adapter_model.safetensors"]
    seq2seq = "t5" in start.name
    expected = plain_logits(merged.checkpoint, seq2seq)
    assert torch.allclose(plain_logits(alone.checkpoint, seq2seq), expected, atol=1e-4)
    config, tokenizer = loading.load_config(alone.checkpoint), loading.load_tokenizer(alone.checkpoint)
    ours = loading.load_model(alone.checkpoint, config, tokenizer, dtype="float32", device="cpu")
    assert torch.allclose(logits_of(ours), expected, atol=1e-4)
    assert TransformersEngine(alone.checkpoint).identity != TransformersEngine(start).identity


def test_frozen_weights_that_bfloat16_holds_are_kept_in_it_and_what_is_learned_is_the_same_bit_for_bit(
    start, tmp_path, monkeypatch
):
    def frozen(directory):
        model, _ = make_student(StudentOptions(checkpoint=str(directory), lora=Lora(rank=4)), [], seed=0, narrow=True)
        weights = {name: weight for name, weight in model.named_parameters() if ".base_layer.weight" in name}
        others = [weight for name, weight in model.named_parameters() if name not in weights]
        assert all(weight.dtype == torch.float32 for weight in others), "embeddings, norms, adapters"
        return {weight.dtype for name, weight in weights.items() if ".wo." not in name}  # of T5

    assert frozen(start) == {torch.float32}, "they would be rounded"
    rounded = shutil.copytree(start, tmp_path / "rounded")
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(start / "model.safetensors").items()}
    save_file(tensors, rounded / "model.safetensors", {"format": "pt"})
    assert frozen(rounded) == {torch.bfloat16}
    options = {"lora": Lora(rank=4, dropout=0.1), "precision": "bfloat16"}
    narrow = run(rounded, tmp_path / "narrow", **options)
    monkeypatch.setattr(student, "narrow_frozen", lambda model: None)
    wide = run(rounded, tmp_path / "wide", **options)
    assert narrow.losses == wide.losses
    found, expected = (load_file(trained.checkpoint / "model.safetensors") for trained in (narrow, wide))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected), "merged in float32, too"


def with_its_own_output_layer(directory):
    """A T5 as the published Flan ones: the file has an output layer besides the embeddings."""
    tensors = load_file(directory / "model.safetensors")
    save_file(
        tensors | {"lm_head.weight": tensors["shared.weight"].flip(0).contiguous()},
        directory / "model.safetensors",
        {"format": "pt"},
    )


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "qwen2", "qwen3", "t5", "t5-flan"])
def test_a_saved_student_is_the_trained_one_with_every_layer_that_lora_may_train(family, merge, tmp_path):
    start, seq2seq = make(family, tmp_path / "start"), family.startswith("t5")
    if family == "t5-flan":
        with_its_own_output_layer(start)
    targets = {"t5-flan": "q, lm_head"}.get(family, "all-linear" if family in TIED else "q_proj, embed_tokens, lm_head")
    lora = Lora(rank=2, targets=targets, merge=merge)
    model, tokenizer = make_student(StudentOptions(checkpoint=str(start), lora=lora), [], seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    save_student(model, tokenizer, tmp_path / "student", lora=lora)
    expected = logits_of(model.eval())
    assert not torch.allclose(plain_logits(start, seq2seq), expected, atol=1e-2), "it has learned"
    config = loading.load_config(tmp_path / "student")
    ours = loading.load_model(tmp_path / "student", config, tokenizer, dtype="float32", device="cpu")
    assert torch.allclose(logits_of(ours), expected, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of peft, which goes by a config that says tied
        assert torch.allclose(plain_logits(tmp_path / "student", seq2seq), expected, atol=1e-4)


TIED = {"gpt2": "wte", "opt": "embed_tokens", "t5": "shared"}
"""Families whose output layer is their embeddings, which have this name."""


@pytest.mark.parametrize("family", TIED)
@pytest.mark.parametrize("proven", [True, False])
def test_a_layer_that_shares_its_weights_is_refused(family, proven, tmp_path, monkeypatch):
    start = make(family, tmp_path / "start")
    if not proven:  # the names in the files prove nothing
        monkeypatch.setattr("understudy.training.targets.PROVEN", ())
    for target in ("lm_head", TIED[family]):
        with pytest.raises(StudyError, match=rf"student\.lora\.targets = '{target}': .*share their weights"):
            make_student(StudentOptions(checkpoint=str(start), lora=Lora(targets=target)), [], seed=0)


def test_training_goes_on_from_an_adapter_as_from_any_student(start, tmp_path):
    alone = run(start, tmp_path / "alone", lora=Lora(rank=4, merge=False), steps=30, learning_rate=1e-2)
    more = run(alone.checkpoint, tmp_path / "more", steps=2)
    assert more.losses[0][1] < alone.losses[0][1]
    with pytest.raises(CheckpointError, match="adapter of an adapter: set merge = true"):
        run(alone.checkpoint, tmp_path / "never", lora=Lora(merge=False))


def test_an_interrupted_training_of_an_adapter_goes_on_with_the_same_losses(start, tmp_path):
    whole = run(start, tmp_path / "whole", lora=Lora(rank=2, dropout=0.1))

    class Killed(BaseException):
        pass

    def kill(_stage, done, _total, _note=""):
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        run(start, tmp_path / "broken", lora=Lora(rank=2, dropout=0.1), progress=kill)
    with safe_open(tmp_path / "broken" / "state" / "state.safetensors", framework="pt") as state:
        weights = [name for name in state.keys() if name.startswith("model.")]  # noqa: SIM118 - not a dict
    assert weights and all("lora_" in name for name in weights), "only what is trained is in the state"
    resumed = run(start, tmp_path / "broken", lora=Lora(rank=2, dropout=0.1))
    assert resumed.losses == whole.losses
    one, two = (load_file(t.checkpoint / "model.safetensors") for t in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_wrong_options_of_lora_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="give checkpoint, or leave lora out"):
        StudentOptions(lora=Lora())
    for wrong in ({"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": " "}):
        with pytest.raises(StudyError, match=rf"student.lora\W* {next(iter(wrong))} = |student\.lora\.{next(iter(wrong))} = "):
            build(Lora, wrong, "student.lora")
    start = make("llama", tmp_path / "llama")
    with pytest.raises(StudyError, match=r"student\.lora\.targets = 'q_prj'"):
        run(start, tmp_path / "out", lora=Lora(targets="q_prj"))
    with (
        monkeypatch.context() as patch,
        pytest.raises(StudyError, match=r"targets = 'q_proj,v_prj': the model has no layer 'v_prj'"),
    ):
        patch.setattr("understudy.training.targets.PROVEN", ())
        run(start, tmp_path / "out", lora=Lora(targets="q_proj,v_prj"))
    trained = run(start, tmp_path / "some", lora=Lora(targets="q_proj, v_proj", merge=False))
    assert set(json.loads((trained.checkpoint / "adapter_config.json").read_text())["target_modules"]) == {"q_proj", "v_proj"}


def test_without_peft_one_message_says_what_to_install(tmp_path, monkeypatch):
    start = make("llama", tmp_path / "llama")
    alone = run(start, tmp_path / "alone", lora=Lora(merge=False))
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    with pytest.raises(CheckpointError, match=r"pip install 'understudy\[lora\]'"):
        TransformersEngine(alone.checkpoint)


def test_an_adapter_whose_model_is_gone_or_whose_weights_lack_says_so(tmp_path):
    start = make("llama", tmp_path / "llama")
    alone = run(start, tmp_path / "alone", lora=Lora(merge=False)).checkpoint
    weights = load_file(alone / "adapter_model.safetensors")
    from safetensors.torch import save_file

    save_file({n: t for n, t in weights.items() if "layers.1.self_attn.q_proj" not in n}, alone / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit its model .Found missing adapter keys.*save it again"):
        loading.load_model(alone, loading.load_config(alone), loading.load_tokenizer(alone), dtype="float32", device="cpu")
    start.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"the adapter's base model: .*no such directory"):
        TransformersEngine(alone)
