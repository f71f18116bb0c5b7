"""A student as a GGUF file: read back it is the same model, and llama.cpp reads the same tokens and gives the same greedy answer.

llama.cpp's Python binding is compiled when it is installed (ten minutes), so `make test-export` runs what needs it.
"""

import json
import re
import unicodedata

import pytest

pytest.importorskip("gguf", reason="gguf is not installed: pip install 'understudy[gguf]'")

import torch
from checkpoints import TEXTS, make, real_tokenizer
from exported import HOSTILE, load, make_disturbed, student, write_smollm2

from understudy.cli.arguments import make_parser
from understudy.cli.corpora import export
from understudy.core.asks import SamplePath
from understudy.core.errors import CheckpointError, UserError
from understudy.core.tokens import encode_text
from understudy.core.values import Problem
from understudy.engines.local.gguf_write import write_gguf
from understudy.engines.local.load import load_tokenizer
from understudy.pipeline.card import Card
from understudy.pipeline.stages.student import LEARNED, read_learned
from understudy.runs.export_student import export_student
from understudy.sampling.pool import StudyPool
from understudy.studies.options import Decode


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    return write_smollm2(tmp_path_factory.mktemp("smollm2"))


def tokenizer_for(family):
    """Qwen's own, or GPT-2's; with tokens as long as the parts that a text is split into, so that a wrong split is other tokens."""
    return real_tokenizer(family if family.startswith("qwen") else "gpt2", [*TEXTS, *HOSTILE] * 2, 700)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_model_read_back_from_its_file_is_the_same(family, tmp_path, tied):
    width = 512 if family == "qwen3" else 32  # transformers reads Qwen3's heads as 128 wide, as all published ones are
    knows = () if tied else [("Q", " A")]
    made = make_disturbed(family, tmp_path / "m", tokenizer=tokenizer_for(family), knows=knows, width=width)
    write_gguf(made, tmp_path / "m.gguf")
    before, after = load(made)[0], load(tmp_path / "m.gguf")[0]
    theirs = after.state_dict()
    for name, weight in before.state_dict().items():
        assert torch.equal(weight, theirs[name]), name
    assert before.config.rope_parameters == after.config.rope_parameters
    assert before.config.rms_norm_eps == pytest.approx(after.config.rms_norm_eps)
    for text in HOSTILE:
        assert encode_text(load_tokenizer(tmp_path / "m.gguf"), text) == encode_text(load_tokenizer(made), text)


def test_an_output_layer_of_its_own_is_written_whatever_the_config_says(tmp_path):
    made = make_disturbed("llama", tmp_path / "m", tokenizer=tokenizer_for("llama"), knows=[("Q", " A")])
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    write_gguf(made, tmp_path / "m.gguf")
    before, after = load(made)[0], load(tmp_path / "m.gguf")[0]
    assert not torch.equal(before.lm_head.weight, before.model.embed_tokens.weight)
    assert torch.equal(before.lm_head.weight, after.lm_head.weight)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "qwen3", "smollm2"])
def test_llama_cpp_reads_the_same_tokens_and_gives_the_same_greedy_answer(family, tmp_path, request):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama.cpp's binding is not installed: make test-export")
    if family == "smollm2":
        made = request.getfixturevalue("smollm2")
    else:
        made = make_disturbed(family, tmp_path / "m", tokenizer=tokenizer_for(family))
    write_gguf(made, tmp_path / "m.gguf")
    model, tokenizer = load(made)
    runtime = llama_cpp.Llama(str(tmp_path / "m.gguf"), n_ctx=128, n_threads=1, verbose=False)
    assert runtime.token_eos() == tokenizer.eos_token_id
    for text in HOSTILE:
        ids = encode_text(tokenizer, text)
        assert runtime.tokenize(text.encode(), add_bos=False, special=False) == ids, text
        with torch.no_grad():
            ours = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, eos_token_id=tokenizer.eos_token_id)[0]
        theirs = []
        for token in runtime.generate(ids, temp=0.0, repeat_penalty=1.0):
            theirs.append(token)
            if len(theirs) == 24 or token == tokenizer.eos_token_id:
                break
        assert ours[len(ids) :].tolist() == theirs, text
    composes = family.startswith("qwen")  # the tokenizer, and not llama.cpp
    apart = unicodedata.normalize("NFD", HOSTILE[1])
    assert (runtime.tokenize(apart.encode(), add_bos=False, special=False) != encode_text(tokenizer, apart)) is composes


def test_ollama_is_told_the_students_own_prompt_stop_strings_and_limits(tmp_path):
    made = student(make("llama", tmp_path / "m", tokenizer=real_tokenizer("gpt2", TEXTS)), tmp_path)
    (made / LEARNED).write_text('{"questions": ["a"]}')
    export_student(made, tmp_path / "out")
    assert read_learned(str(tmp_path / "out" / "student.gguf")) == {"a"}, "what it had learned from stays known"
    told = (tmp_path / "out" / "Modelfile").read_text()
    question = "Ana has 4 coins. How many?"
    method = Card("scotd", {"max_tokens": 24}, "student", "number", "float32", 3).make_method()
    call = next(method.solve(Problem("q", question, "number"), SamplePath("q", 0, 3), StudyPool()))
    template = told.partition('TEMPLATE """')[2].partition('"""')[0]
    assert template.replace("{{ .Prompt }}", question) == call.prompt
    assert re.findall(r'(?s)PARAMETER stop """(.*?)"""', told) == list(call.stop), "Ollama reads no escapes"
    for line in (
        "FROM ./student.gguf",
        "PARAMETER temperature 0",
        "PARAMETER top_p 1",
        "PARAMETER top_k 0",
        "PARAMETER num_predict 24",
        "PARAMETER num_ctx 128",
    ):
        assert line in told.splitlines()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`scotd`" in card and "licence: MIT" in card and "terms: none" in card
    assert (tmp_path / "out" / "student.gguf").stat().st_size > 0
    with pytest.raises(UserError, match="already exists"):
        export_student(made, tmp_path / "out")


def test_a_chats_template_is_written_out(tmp_path):
    tokenizer = real_tokenizer("gpt2", TEXTS)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    made = make("llama", tmp_path / "m", tokenizer=tokenizer)
    made = student(made, tmp_path, options={"max_tokens": 24, "format": {"style": "messages", "system": "Be {{brief}}."}})
    export_student(made, tmp_path / "out")
    template = (tmp_path / "out" / "Modelfile").read_text().partition('TEMPLATE """')[2].partition('"""')[0]
    assert template.startswith('[system]Be {{ "{{" }}brief}}.[user]{{ .Prompt }}')
    assert template.endswith("[assistant]")


def test_what_a_file_cannot_say_is_refused_and_told_what_serves_it(tmp_path):
    words = make("llama", tmp_path / "words")
    with pytest.raises(CheckpointError, match=r"no tokenizer like this one \(BPE, Split ByteLevel\).*understudy serve"):
        write_gguf(words, tmp_path / "w.gguf")
    with pytest.raises(CheckpointError, match=r"'opt' are not written as GGUF \(only gpt2, llama, qwen2, qwen3\)"):
        write_gguf(make("opt", tmp_path / "opt"), tmp_path / "o.gguf")
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    for key, value, said in (("use_sliding_window", True, "use_sliding_window = True"), ("rope_parameters", scaled, "'linear'")):
        made = make("qwen2", tmp_path / key, tokenizer=tokenizer_for("qwen2"))
        (made / "config.json").write_text(json.dumps(json.loads((made / "config.json").read_text()) | {key: value}))
        with pytest.raises(CheckpointError, match=rf"not written as GGUF \(.*{said}\).*understudy serve"):
            write_gguf(made, tmp_path / "q.gguf")
    usual = {"gpt2": {"activation_function": "relu", "scale_attn_weights": False}, "llama": {"hidden_act": "gelu"}}
    for family, options in usual.items():
        for key, value in options.items():
            made = make(family, tmp_path / key, tokenizer=tokenizer_for(family))
            (made / "config.json").write_text(json.dumps(json.loads((made / "config.json").read_text()) | {key: value}))
            with pytest.raises(CheckpointError, match=f"not written as GGUF \\({key} = {value!r}\\)"):
                write_gguf(made, tmp_path / "g.gguf")
    two = student(words, tmp_path, method="sci_cot", options={})
    with pytest.raises(UserError, match=r"answers in turns with others .* understudy serve"):
        export_student(two, tmp_path / "out")
    (tmp_path / "b").mkdir()
    calculating = student(words, tmp_path / "b", decode=Decode(calculator=True))
    with pytest.raises(UserError, match="has a calculator"):
        export_student(calculating, tmp_path / "out")
    (tmp_path / "c").mkdir()
    secret = student(make("llama", tmp_path / "m", tokenizer=real_tokenizer("gpt2", TEXTS)), tmp_path / "c", licence="")
    with pytest.raises(UserError, match=r"its card lacks licence, .*--no-terms"):
        export_student(secret, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_student(secret, tmp_path / "out", no_terms=True)


def test_an_export_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(CheckpointError, match="no tokenizer like this one"):
        export_student(student(make("llama", tmp_path / "words"), tmp_path), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student", "words"]


@pytest.mark.parametrize("option", ["--arm=a", "--what=examples", "--bare", "--problems=q.jsonl", "--kind=number"])
def test_an_option_that_says_which_chains_is_refused_for_a_student(tmp_path, option):
    with pytest.raises(UserError, match=option.partition("=")[0]):
        export(make_parser("export"), [str(tmp_path), "--format", "gguf", "--to", str(tmp_path / "out"), option])
