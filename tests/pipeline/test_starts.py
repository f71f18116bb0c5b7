"""What a study's checkpoints are is found out when it is planned: before a teacher is asked or a student trained."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from checkpoints import make
from here import perform, stages_of
from safetensors.torch import load_file, save_file

from understudy.cli.run import dry_run
from understudy.cli.table import Screen
from understudy.core.errors import DataError, StudyError
from understudy.core.values import Problem, digest
from understudy.corpus.store import write_json
from understudy.pipeline import run
from understudy.pipeline.card import Card, remark_on_start, write_card
from understudy.pipeline.executor import Machine
from understudy.pipeline.plan import make_plan
from understudy.pipeline.run import share_machine
from understudy.pipeline.stages.student import LEARNED, count_seen, read_learned
from understudy.studies.load import load_study
from understudy.tasks.overlap import copy_key, exact_key

STUDY = """
[study]
name = "s"
[task]
name = "diary"
[student]
checkpoint = "models/start"
[[arms]]
name = "a"
method = "scotd"
"""
CHAT = 'arms.0.options.format={ style = "messages" }'


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make("llama", tmp_path_factory.mktemp("made"))


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path / "models" / "start")
    (tmp_path / "s.toml").write_text(STUDY)
    return tmp_path


def plan(root, *overrides):
    return make_plan(load_study(root / "s.toml", overrides))


def student_key(root, *overrides):
    (stage,) = [s for s in plan(root, *overrides).stages.values() if s.kind == "student"]
    return stage.key


def test_a_checkpoint_is_a_path_from_the_study_file_and_its_files_decide_the_key(root):
    before = student_key(root)
    (root / "models" / "start" / "README.md").write_text("says nothing")
    assert student_key(root) == before
    path = root / "models" / "start" / "model.safetensors"
    weights = load_file(path)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, path, metadata={"format": "pt"})
    assert student_key(root) != before


def spoil_config(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "colour"}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (shutil.rmtree, "there is no directory"),
        (lambda d: (d / "model.safetensors").rename(d / "model.bin"), "only safetensors are read"),
        (spoil_config, "model_type 'colour'"),
        (lambda d: [p.unlink() for p in d.glob("tokenizer*")], "no tokenizer"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_named_when_the_study_is_planned(root, spoil, says):
    spoil(root / "models" / "start")
    with pytest.raises(StudyError, match=rf"arms\['a'\]\.student\.checkpoint = 'models/start': .*{says}"):
        plan(root)
    teacher = ("teacher.engine=transformers", "teacher.checkpoint=models/start", "arms.0.student.checkpoint=other")
    with pytest.raises(StudyError, match=rf"teacher\.checkpoint = 'models/start': .*{says}"):
        plan(root, *teacher)


def test_messages_need_a_chat_template_and_a_student_from_scratch_has_none(root):
    with pytest.raises(StudyError, match=r"models/start has no chat template .* style = \"raw\""):
        plan(root, CHAT)
    (root / "models" / "start" / "chat_template.jinja").write_text("{{ messages }}")
    assert plan(root, CHAT).places
    (root / "s.toml").write_text(STUDY.replace('checkpoint = "models/start"', ""))
    with pytest.raises(StudyError, match="a student from scratch has no chat template"):
        plan(root, CHAT)


def test_pretrained_students_share_the_cores(root, monkeypatch):
    monkeypatch.setattr(run, "count_cores", lambda: 16)
    stages = list(plan(root, "study.seeds=3", 'evaluation.splits=["test", "test-longer"]').stages.values())
    assert share_machine(stages, stages, 0) == Machine(3, 5, [])
    assert share_machine(stages, stages, 1) == Machine(1, 16, [])
    assert share_machine(stages, stages, 99) == Machine(6, 2, [])  # no more answers can be asked for at once


def test_lora_is_part_of_the_key_and_needs_a_checkpoint_and_peft(root, monkeypatch):
    assert student_key(root, "student.lora.rank=4") != student_key(root)
    assert student_key(root, "student.lora.rank=4") != student_key(root, "student.lora.rank=8")
    monkeypatch.setattr("understudy.pipeline.arms.importlib.util.find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"arms\['a'\]\.student\.lora needs peft"):
        plan(root, "student.lora.rank=4")
    (root / "s.toml").write_text(STUDY.replace('checkpoint = "models/start"', "lora = {}"))
    with pytest.raises(StudyError, match="give checkpoint, or leave lora out"):
        plan(root)


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ("q_prj", r"no layer 'q_prj'; did you mean 'q_proj'\? \(it has: down_proj, embed_tokens, .*, v_proj\)"),
        ("q_proj, c_attn", "no layer 'c_attn'"),
        ("input_layernorm", "no layer 'input_layernorm'"),
        ("q_proj, model.embed_tokens", "share their weights"),
        ("lm_head", "share their weights"),
    ],
)
def test_targets_of_lora_that_cannot_be_are_named_when_the_study_is_planned(root, targets, says):
    path = root / "models" / "start" / "model.safetensors"
    tied = load_file(path)
    tied.pop("lm_head.weight", None)
    save_file(tied, path, metadata={"format": "pt"})
    with pytest.raises(StudyError, match=rf"arms\['a'\]\.student\.lora\.targets = '{targets}': .*{says}"):
        plan(root, f"student.lora.targets={targets}")
    assert plan(root, "student.lora.targets=model.layers.0.self_attn.q_proj,v_proj").places
    save_file(tied | {"lm_head.weight": tied["model.embed_tokens.weight"].clone()}, path, metadata={"format": "pt"})
    assert plan(root, "student.lora.targets=embed_tokens, lm_head").places


def test_an_adapter_of_an_adapter_is_refused_when_the_study_is_planned(root):
    adapter = root / "models" / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(root / "models" / "start")}))
    save_file({"none": torch.zeros(1)}, adapter / "adapter_model.safetensors")
    over = "student.checkpoint=models/adapter"
    assert plan(root, over, "student.lora.targets=q_proj").places
    with pytest.raises(StudyError, match=r"student\.checkpoint = 'models/adapter': .*lora\.merge = false .*set merge = true"):
        plan(root, over, "student.lora.merge=false")


def test_a_model_of_the_hub_is_found_in_the_local_cache(root, made, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--acme--tiny"
    shutil.copytree(made, model / "snapshots" / ("1" * 40))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("1" * 40)
    (stage,) = [s for s in plan(root, "student.checkpoint=acme/tiny").stages.values() if s.kind == "student"]
    assert stage.student.checkpoint.endswith("1" * 40)
    assert any(path.endswith("model.safetensors") for path in stage.files)
    with pytest.raises(StudyError, match="'acme/none': there is no directory"):
        plan(root, "student.checkpoint=acme/none")


def test_a_dry_run_plans_with_models_of_the_hub_that_are_not_here_names_each_once_and_takes_them_for_different_ones(root, capsys):
    sizes = 'arms.0.sweep={ "student.checkpoint" = ["acme/small", "acme/large"] }'
    study = load_study(root / "s.toml", ["study.seeds=2", sizes])
    students = [stage for stage in make_plan(study, fetch=False).stages.values() if stage.kind == "student"]
    assert len({stage.key for stage in students}) == 4
    dry_run(study, root / "run", "student", Screen())
    said = " ".join(capsys.readouterr().out.split())
    assert re.findall(r"memory is not estimated: '(\S+)': there is no directory", said) == ["acme/small", "acme/large"]
    assert "a run would download it" in said
    with pytest.raises(StudyError, match=r"checkpoint = 'acme/small': .*cannot be downloaded"):
        make_plan(study)
    (root / "models" / "start" / "config.json").unlink()
    with pytest.raises(StudyError, match=r"no config\.json"):
        make_plan(load_study(root / "s.toml"), fetch=False)


def test_what_a_start_had_learned_from_is_counted_wherever_it_lies(tmp_path):
    asked = [Problem(str(i), f"How many are {i} and 1?", "number", "2", split="train") for i in range(5)]
    assert [read_learned(start) for start in (None, str(tmp_path), str(tmp_path / "a.gguf"))] == [set()] * 3, "no student of ours"
    write_json(tmp_path / LEARNED, {"questions": [digest(copy_key(asked[i])) for i in (0, 1, 3)]})
    for start in (tmp_path, tmp_path / "student.gguf"):
        assert [count_seen(str(start), asked[k:]) for k in (0, 2, 4)] == [3, 1, 0]
    copies = [replace(problem, question=problem.question.replace("?", " ?").upper()) for problem in asked]
    assert count_seen(str(tmp_path), copies) == 3, "case and the marks of sentences make no other question"
    write_json(tmp_path / LEARNED, {"questions": [digest(exact_key(asked[0]))]})
    assert count_seen(str(tmp_path), asked) == 1, "as earlier students have them"
    for text, says in (
        ("damaged", "not JSON"),
        ('{"q": 1}', "must be a JSON object with a list 'questions'"),
        ('{"questions": 5}', "must"),
    ):
        (tmp_path / LEARNED).write_text(text)
        with pytest.raises(DataError, match=rf"learned\.json: {says}"):
            count_seen(str(tmp_path), asked)


def test_going_on_from_a_student_that_was_trained_otherwise_is_remarked(tmp_path):
    def card(**options):
        write_card(tmp_path, Card("scotd", options, "student", "number", "float32", 0))

    assert remark_on_start(tmp_path, "scotd", {}) is None, "no card, no student of ours"
    card(max_tokens=64)
    assert remark_on_start(tmp_path, "scotd", {"max_tokens": 64}) is None
    assert "trained by scotd; now it is trained by answer_only" in remark_on_start(tmp_path, "answer_only", {})
    assert "{'max_tokens': 64}; now they are {'max_tokens': 32}" in remark_on_start(tmp_path, "scotd", {"max_tokens": 32})
    (tmp_path / "understudy.json").write_text("[]")
    assert "card cannot be read" in remark_on_start(tmp_path, "scotd", {})


def test_the_time_of_answers_begins_when_the_weights_are_there(root, monkeypatch):
    class AskedError(Exception):
        pass

    def look(_problems, _method, engines, **_options):
        raise AskedError([("_prompts" in vars(engine)) for engine in engines.values()])

    monkeypatch.setattr("understudy.pipeline.stages.answers.answer", look)
    (root / "s.toml").write_text(STUDY + 'model = "untrained"')
    made = plan(root, "task.train=2", "task.dev=2", "task.test=2")
    perform(made.problems, root / "run")
    (stage,) = stages_of(made, "a", "answers").values()
    with pytest.raises(AskedError) as asked:
        perform(stage, root / "run")
    assert asked.value.args == ([True],)
