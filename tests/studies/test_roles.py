"""Methods that take turns, in the plan: who is trained on what, who plays which part, and where gold takes a part's place."""

import pytest
from here import stages_of

from understudy.core.errors import StudyError
from understudy.pipeline.plan import make_plan
from understudy.pipeline.stages.answers import GoldPlayer, TeacherPlayer, TrainedPlayer
from understudy.studies.load import load_study

STUDY = """
[study]
seeds = 1
name = "s"
[task]
name = "diary"
[teacher]
method = "decompose"
samples = 4
[[arms]]
name = "sci"
method = "sci_cot"
[[arms]]
name = "socratic"
method = "socratic"
"""


@pytest.fixture
def plan(tmp_path):
    def of(*overrides, text=STUDY):
        (tmp_path / "s.toml").write_text(text)
        return make_plan(load_study(tmp_path / "s.toml", overrides))

    return of


def labels(plan, kind):
    return [stage.label for stage in plan.stages.values() if stage.kind == kind]


def test_every_role_has_a_student_and_gold_takes_the_place_of_each_part_on_the_first_split(plan):
    made = plan()
    assert labels(made, "student") == ["sci (rationale)", "sci (answer)", "socratic (decomposer)", "socratic (solver)"]
    assert labels(made, "answers") == [
        "sci, test",
        "sci, test, gold rationale",
        "socratic, test",
        "socratic, test, gold decomposer",
        "socratic, test, gold solver",
    ]
    assert labels(plan("evaluation.attribution=false"), "answers") == ["sci, test", "socratic, test"]


def test_rationales_out_of_fold_need_a_stage_1_for_each_fold_which_never_saw_it(plan):
    made = plan("arms.0.options.source=out_of_fold", "arms.0.options.folds=3")
    assert labels(made, "student")[:5] == [
        "sci (rationale)",
        *(f"sci (rationale), without fold {i} of 3" for i in (1, 2, 3)),
        "sci (answer)",
    ]
    students = stages_of(made, "sci", "student")
    answer = students[0, "answer"]
    assert [stage.fold for stage in answer.folds["rationale"]] == [(0, 3), (1, 3), (2, 3)]
    assert students[0, "rationale"] not in list(answer.needs()), "what saw the problem never writes its rationale"


def test_the_students_of_two_roles_may_differ_in_size_and_in_training(plan):
    made = plan("arms.0.roles.rationale.student.hidden=256", "arms.0.roles.answer.training.tokens=9000", "training.steps=7")
    rationale, answer = (stages_of(made, "sci", "student")[0, role] for role in ("rationale", "answer"))
    assert (rationale.student.hidden, answer.student.hidden) == (256, 128)
    assert (rationale.training.steps, answer.training.steps) == (7, None)
    assert (rationale.training.tokens, answer.training.tokens) == (0, 9000)


@pytest.mark.parametrize(("part", "model"), [("decomposer", "teacher"), ("solver", "teacher"), ("solver", "gold")])
def test_a_part_that_somebody_else_plays_is_not_trained(plan, part, model):
    made = plan(f"arms.1.roles.{part}.model={model}")
    assert labels(made, "student")[2:] == [f"socratic ({'solver' if part == 'decomposer' else 'decomposer'})"]
    answers = stages_of(made, "socratic", "answers")[0, "test"]
    assert type(answers.cast[part]) is {"teacher": TeacherPlayer, "gold": GoldPlayer}[model]
    assert answers.pays == (model == "teacher"), "one writer of what is paid for"


def test_a_shared_student_plays_both_parts_unless_one_is_given_to_somebody_else(plan):
    made = plan("arms.1.options.models=shared", "arms.1.roles.decomposer.model=gold")
    assert labels(made, "student")[2:] == ["socratic"]
    cast = stages_of(made, "socratic", "answers")[0, "test"].cast
    assert cast == {"decomposer": GoldPlayer(), "solver": TrainedPlayer(stages_of(made, "socratic", "student")[0, "student"])}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "arms.0.roles.solver.model=gold",
            r"arms\['sci'\].roles.solver: method 'sci_cot' has no role 'solver'.* \(it has: rationale, answer\)",
        ),
        ("arms.0.roles.rationale.modle=gold", r"roles.rationale: unknown key 'modle'; did you mean 'model'\?"),
        ("arms.0.roles.rationale.model=golden", r"roles.rationale.model = 'golden'"),
        ("arms.0.roles=3", r"roles: must be a table of tables, not 3"),
        ("arms.1.roles.solver.model=untrained", r"roles.solver.model = \"untrained\": needs student.checkpoint"),
        ("arms.0.model=untrained", r"roles.rationale.model = \"untrained\": needs student.checkpoint"),
        ("arms.0.roles.rationale.training.steps=0", r"arms\['sci'\].roles.rationale.training.steps = 0"),
        ("teacher.method=sci_cot", r"teacher.method = 'sci_cot': .*does not ask a teacher"),
        ("arms.0.method=rationalise", r"method 'rationalise' is only for asking a teacher; set it as teacher.method"),
        ("evaluation.compare=[['sci','socrates']]", r"there is no arm 'socrates'; did you mean 'socratic'\?"),
    ],
)
def test_what_cannot_be_is_refused_by_name(plan, override, says):
    with pytest.raises(StudyError, match=says):
        plan(override)


def test_gold_in_every_part_or_in_a_part_with_settings_of_its_own_is_refused(plan):
    with pytest.raises(StudyError, match="gold plays every part"):
        plan("arms.1.roles.decomposer.model=gold", "arms.1.roles.solver.model=gold")
    with pytest.raises(StudyError, match=r"roles.answer.model = \"gold\": gold there would be the answer itself"):
        plan("arms.0.roles.answer.model=gold")
    with pytest.raises(StudyError, match=r'tokens_of = "arm": .*give tokens'):
        plan("arms.0.training.steps=3", "arms.0.training.tokens_of=arm")
    with pytest.raises(StudyError, match=r"trained here: answer"):
        plan("arms.0.roles.rationale.model=gold", "arms.0.roles.rationale.student.hidden=64")


def test_recorded_chains_cannot_play_a_part(plan, tmp_path):
    (tmp_path / "c.jsonl").write_text("{}\n")
    text = STUDY.replace('method = "decompose"\nsamples = 4\n', 'engine = "recorded"\nchains = ["c.jsonl"]\n', 1)
    with pytest.raises(StudyError, match=r"roles.solver.model = \"teacher\": engine 'recorded'"):
        plan("arms.1.roles.solver.model=teacher", text=text)


def test_own_prompts_are_in_the_key_of_the_chains_and_a_wrong_name_is_refused(plan, tmp_path):
    before = plan().chains
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "decompose-questions-maths.txt").write_text("Ask!\nQ: {{question}}\nQ1:")
    after = plan("teacher.prompts=mine")
    assert after.chains != before
    assert after.chains.prompts["decompose-questions-maths"].startswith("Ask!")
    (mine / "decompose-question-maths.txt").write_text("")
    with pytest.raises(StudyError, match=r"no method has a prompt with this name; did you mean 'decompose-questions-maths'\?"):
        plan("teacher.prompts=mine")
    with pytest.raises(StudyError, match=r"teacher\.prompts = .*yours"):
        plan("teacher.prompts=yours")
