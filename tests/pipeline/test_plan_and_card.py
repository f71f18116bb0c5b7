"""What depends on what, and what a student's card may say."""

import dataclasses
import json
import shutil

import pytest
from checkpoints import make
from here import stages_of

from understudy.core import registry
from understudy.core.errors import CheckpointError, StudyError
from understudy.pipeline.card import CARD, Card, read_card, write_card
from understudy.pipeline.plan import make_plan, save_plan
from understudy.pipeline.preview import list_first_prompts
from understudy.runs.holdings import collect_garbage, list_holdings
from understudy.studies.load import load_study
from understudy.studies.options import Decode
from understudy.studies.study import build_training

STUDY = """
[study]
name = "s"
seeds = 2
[task]
name = "diary"
[teacher]
samples = 4
[evaluation]
splits = ["test", "test-longer"]
[[arms]]
name = "a"
method = "scotd"
[[arms]]
name = "b"
method = "scotd"
decode = { votes = 4 }
[[arms]]
name = "c"
method = "answer_only"
"""


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)

    def of(*overrides):
        return make_plan(load_study(tmp_path / "s.toml", overrides))

    return of


def kinds(keys, *plans):
    return sorted({p.stages[key].kind for key in keys for p in plans if key in p.stages})


def test_an_arm_whose_method_takes_only_some_chains_selects_for_itself(plan):
    same, other = plan(), plan("arms.1.method=socratic")
    selections = [stages_of(made, arm, "selection") for made, arm in ((same, "a"), (same, "b"), (other, "a"), (other, "b"))]
    assert selections[0] == selections[1] == selections[2] != selections[3]


def test_arms_that_agree_share_their_stages(plan):
    made = plan()
    students, selections, answers = ([stages_of(made, arm, what) for arm in "abc"] for what in ("student", "selection", "answers"))
    assert students[0] == students[1]
    assert selections[0] == selections[1] == selections[2]
    assert answers[0] != answers[1]
    assert len(plan().stages) == 3 + 1 + 2 * 2 + 3 * 2 * 2  # shared, selection, students, answers


def test_a_student_waits_for_all_that_it_reads_and_is_stale_where_any_of_it_is_made_anew(plan):
    for student in stages_of(plan(), "a", "student").values():
        assert [need.kind for need in student.needs()] == ["problems", "chains", "verdicts", "selection"]


def test_what_is_no_stage_among_the_stages_is_left_alone(tmp_path, plan):
    (tmp_path / "stages" / "chains-012345abcdef").mkdir(parents=True)
    (tmp_path / "stages" / ".DS_Store").write_text("a file of another program")
    (tmp_path / "stages" / "my-notes").mkdir()
    (tmp_path / "stages" / "chains-backup").mkdir()
    save_plan(plan(), tmp_path)
    assert [(held.kind, held.complete) for held in list_holdings(tmp_path)] == [("chains", False)]
    assert [held.key for held in collect_garbage(tmp_path)] == ["012345abcdef"]
    assert {path.name for path in (tmp_path / "stages").iterdir()} == {".DS_Store", "my-notes", "chains-backup"}


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("evaluation.cluster=passage", []),
        ("study.title=x", []),
        ("arms.1.decode.votes=5", ["answers"]),
        ("arms.0.decode.temperature=0.3", ["answers"]),
        ("arms.0.decode.top_p=0.9", ["answers"]),
        ("arms.0.decode.beams=2", ["answers"]),
        ("arms.0.decode.calculator=true", ["answers"]),
        ("arms.1.decode.weighted=true", []),
        ("evaluation.compare=[['a','c']]", []),
        ("arms.0.fraction=0.5", ["answers", "selection", "student"]),
        ("arms.0.training.steps=7", ["answers", "student"]),
        ("training.steps=7", ["answers", "student"]),
        ("arms.0.select.keep=all", ["answers", "selection", "student"]),
        ("teacher.first_look=3", []),
        ("teacher.slip=0.1", ["answers", "chains", "selection", "student", "verdicts"]),
        ("teacher.samples=5", ["answers", "chains", "selection", "student", "verdicts"]),
        ("study.seed=1", ["answers", "chains", "problems", "selection", "student", "verdicts"]),
    ],
)
def test_a_change_changes_what_depends_on_it_and_nothing_else(plan, override, changed):
    before, after = plan(), plan(override)
    assert kinds(set(before.stages) ^ set(after.stages), before, after) == changed


@pytest.mark.parametrize("keys", ["per_problem=2", "dedup=true", "dedup=near", "per_problem=2 choose=diverse"])
def test_how_chains_are_selected_changes_the_selection_and_what_learns_from_it(plan, keys):
    before, after = plan(), plan(*(f"arms.0.select.{key}" for key in keys.split()))
    assert kinds(set(before.stages) ^ set(after.stages), before, after) == ["answers", "selection", "student"]


def test_a_check_that_compares_chains_cannot_score_students(plan):
    plan('study.checks=["answer", "majority"]', "arms.0.select.check=majority")
    with pytest.raises(StudyError, match=r"study\.checks\[0\] = 'majority': compares the chains of a problem"):
        plan('study.checks=["majority", "answer"]')


def test_one_more_seed_keeps_the_seeds_that_are_there(plan):
    assert set(plan().stages) < set(plan("study.seeds=3").stages)


def test_the_plan_settles_the_precision_of_training_by_the_processor_and_only_students_depend_on_it(plan, monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    here, named, other = plan(), plan("training.precision=float32"), plan("training.precision=bfloat16")
    assert {s.training.precision for s in here.stages.values() if s.kind == "student"} == {"float32"}
    assert set(here.stages) == set(named.stages)
    assert kinds(set(here.stages) ^ set(other.stages), here, other) == ["answers", "student"]


def test_the_plan_settles_the_precision_of_a_local_teacher_before_its_chains_have_a_key(plan, monkeypatch, tmp_path):
    make("llama", tmp_path / "teacher")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    local = ("teacher.engine=transformers", "teacher.checkpoint=teacher")
    here, named, other = (plan(*local, *more) for more in ((), ("teacher.precision=float32",), ("teacher.precision=bfloat16",)))
    assert here.chains.engine.precision == "float32"
    assert here.chains == named.chains != other.chains


FILES = """
[study]
seeds = 1
name = "s"
[task]
name = "files"
kind = "number"
root = "data"
path = "questions.jsonl"
sizes = { dev = 1, test = 1 }
[exemplars]
file = "by-hand.jsonl"
[teacher]
engine = "recorded"
chains = ["data/chains.jsonl"]
[student]
checkpoint = "start"
[[arms]]
name = "a"
method = "scotd"
[[arms]]
name = "untrained"
method = "scotd"
model = "untrained"
"""


def test_a_study_that_is_moved_or_copied_keeps_every_stage_and_changed_content_keeps_none_of_what_it_decides(tmp_path):
    here = tmp_path / "here"
    make("llama", here / "start")
    (here / "data").mkdir()
    (here / "s.toml").write_text(FILES)
    for name in ("data/questions.jsonl", "data/chains.jsonl", "by-hand.jsonl"):
        (here / name).write_text('{"id": "1", "question": "1 + 1?", "answer": "2", "text": "2", "rationale": "1, 2"}\n')

    def keys(directory, *overrides):
        return set(make_plan(load_study(directory / "s.toml", overrides)).stages)

    there = shutil.copytree(here, tmp_path / "there" / "deep")
    local = ("teacher.engine=transformers", "teacher.checkpoint=start")
    bare = FILES.replace('chains = ["data/chains.jsonl"]\n', "")
    assert keys(here) == keys(there)
    for directory in (here, there):
        (directory / "local.toml").write_text(bare)
    assert (
        make_plan(load_study(here / "local.toml", local)).stages.keys()
        == make_plan(load_study(there / "local.toml", local)).stages.keys()
    )
    for name in ("data/questions.jsonl", "by-hand.jsonl", "data/chains.jsonl", "start/config.json"):
        before = keys(there)
        (there / name).write_text((there / name).read_text() + "\n")
        assert keys(there) != before, name


@pytest.mark.parametrize(("whose", "tokens"), [("student", [900, 900, 900, 900]), ("arm", [900, 450, 450, 900])])
def test_tokens_are_those_of_each_student_or_are_shared_by_those_of_an_arm(tmp_path, whose, tokens):
    two = '[[arms]]\nname = "two"\nmethod = "sci_cot"\n'
    (tmp_path / "s.toml").write_text(f'{STUDY}{two}{two.replace("two", "gold")}roles.rationale.model = "gold"\n')
    study = load_study(tmp_path / "s.toml", ["training.tokens=900", f"training.tokens_of={whose}", "training.precision=float32"])
    asked = [(0, "student"), (3, "rationale"), (3, "answer"), (4, "answer")]
    found = [build_training(study, study.arms[i], role) for i, role in asked]
    assert [one.tokens for one in found] == tokens
    own = dataclasses.replace(study.training, tokens=1, device="cpu").settle(study.student)
    assert {dataclasses.replace(one, tokens=1) for one in found} == {own}
    unbound = load_study(tmp_path / "s.toml", ["training.tokens=900", f"training.tokens_of={whose}", "arms.3.training.steps=7"])
    assert build_training(unbound, unbound.arms[3], "answer").steps == 7


def test_an_arm_that_says_how_long_it_trains_is_not_bound_by_the_other_key(tmp_path):
    def options(training, arm):
        text = STUDY.replace("[evaluation]", f"[training]\n{training}\n[evaluation]") + f"training = {{ {arm} }}\n"
        (tmp_path / "s.toml").write_text(text)
        study = load_study(tmp_path / "s.toml")
        made = [build_training(study, one, "student") for one in (study.arms[0], study.arms[-1])]
        return [(one.steps, one.tokens, one.batch_size) for one in made]

    assert options("steps = 7\nbatch_size = 3", "tokens = 900") == [(7, 0, 3), (None, 900, 3)]
    assert options("tokens = 900", "steps = 7") == [(None, 900, 32), (7, 0, 32)]
    assert options("tokens = 900", "batch_size = 4") == [(None, 900, 32), (None, 900, 4)]
    with pytest.raises(StudyError, match="training: steps = 7 and tokens = 900"):
        options("steps = 7\ntokens = 900", "batch_size = 4")


DECODE = Decode(votes=4, temperature=0.5, weighted=True, calculator=True)
CARD_OF = Card("scotd", {"max_tokens": 64}, "student", "number", "float32", 0, decode=DECODE)


def test_a_card_comes_back_and_makes_its_method(tmp_path):
    write_card(tmp_path, CARD_OF)
    assert read_card(tmp_path) == CARD_OF
    assert read_card(tmp_path).make_method().max_tokens == 64


def test_an_older_card_is_read_and_decodes_greedily(tmp_path):
    older = {
        name: value for name, value in dataclasses.asdict(CARD_OF).items() if name not in ("decode", "terms", "licence", "students")
    }
    (tmp_path / CARD).write_text(json.dumps(older))
    assert read_card(tmp_path) == dataclasses.replace(CARD_OF, decode=Decode())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "written by another Understudy"),
        ({"kind": "colour"}, "not a card"),
        ({"extractor": "answers-0"}, "evaluate it again"),
        ({"metod": "x"}, "did you mean 'method'"),
    ],
)
def test_a_card_that_cannot_be_trusted_is_refused(tmp_path, change, says):
    (tmp_path / CARD).write_text(json.dumps(dataclasses.asdict(CARD_OF) | change))
    with pytest.raises(CheckpointError, match=says):
        read_card(tmp_path)


def test_a_card_can_name_registered_methods_only(tmp_path):
    write_card(tmp_path, dataclasses.replace(CARD_OF, method="os:system"))
    with pytest.raises(ValueError, match="unknown method 'os:system'"):
        read_card(tmp_path).make_method()
    with pytest.raises(CheckpointError, match="holds no student"):
        read_card(tmp_path / "none")


PLUGIN = """
from understudy.core.values import Outcome, Verdict
from understudy.methods.scotd import SCoTD

def check(problem, chain):
    return Verdict(chain.id, Outcome.WRONG)

UNDERSTUDY = {"check": {"mine": check}} if KIND == "check" else {"method": {"mine": SCoTD}}
"""


@pytest.mark.parametrize(
    ("kind", "names", "changed"),
    [
        ("check", ("study.checks=['mine']",), ["answers", "selection", "student", "verdicts"]),
        ("method", ("arms.2.method=mine",), ["answers", "student"]),
        ("method", (), []),
    ],
)
def test_a_changed_plug_in_changes_the_stages_that_use_it_and_no_others(tmp_path, monkeypatch, plan, kind, names, changed):
    monkeypatch.setattr(registry, "_added", {})
    file = tmp_path / "mine.py"
    file.write_text(f"KIND = {kind!r}\n{PLUGIN}")
    sets = ("study.plugins=['mine.py']", *names)
    before = plan(*sets)
    assert plan(*sets).stages == before.stages
    file.write_text(f"KIND = {kind!r}\n{PLUGIN}# changed")
    after = plan(*sets)
    assert kinds(set(before.stages) ^ set(after.stages), before, after) == changed
    if kind == "method" and names:
        assert stages_of(after, "a", "answers") == stages_of(before, "a", "answers")
        assert stages_of(after, "c", "student") != stages_of(before, "c", "student")


def test_first_prompts_are_those_of_each_arms_method_whatever_the_teachers_is(tmp_path):
    arms = '[[arms]]\nname = "a"\nmethod = "decompose"\nmodel = "teacher"\n'
    (tmp_path / "s.toml").write_text(f'[study]\nname = "s"\n[task]\nname = "diary"\n[exemplars]\nn = 2\n{arms}')
    shown = dict(list_first_prompts(make_plan(load_study(tmp_path / "s.toml"), until="chains")))
    assert [(what, prompt.rpartition("\n")[2]) for what, prompt in shown.items()] == [
        ("teacher (scotd)", "A:"),
        ("teacher (decompose)", "Q1:"),
    ]
