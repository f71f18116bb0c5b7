"""A sweep is several arms; a profile is the same study on other questions."""

import pytest

from understudy.core.errors import StudyError
from understudy.pipeline.plan import make_plan
from understudy.studies.load import load_study
from understudy.studies.sweeps import expand_sweeps

STUDY = """
[study]
name = "s"
[task]
name = "diary"
[[arms]]
name = "answer-only"
method = "answer_only"
[[arms]]
name = "chains"
method = "scotd"
sweep = { "teacher.samples" = [1, 2, 4] }
"""


def test_a_sweep_stands_for_an_arm_of_every_value_which_share_what_they_can(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)
    study = load_study(tmp_path / "s.toml")
    assert [arm.name for arm in study.arms] == ["answer-only", "chains, samples 1", "chains, samples 2", "chains, samples 4"]
    assert [arm.select.samples for arm in study.arms] == [None, 1, 2, 4]
    assert [(arm.point.of, arm.point.key, arm.point.value) for arm in study.arms[1:]] == [
        ("chains", "teacher.samples", value) for value in (1, 2, 4)
    ]
    with pytest.raises(
        StudyError, match=r"'chains, samples 4'\]\.select\.samples = 4: the teacher writes at most 3 chains per question"
    ):
        load_study(tmp_path / "s.toml", ["teacher.samples=3"])
    kinds = [stage.kind for stage in make_plan(study).stages.values()]
    assert (kinds.count("chains"), kinds.count("student")) == (1, 3 * 4)


def test_any_key_of_an_arm_can_be_swept_whatever_its_values():
    arm = {"name": "a", "training": {"steps": 9}, "sweep": {"student.hidden": [32, 64]}}
    assert [(one["name"], one["student"], one["training"]) for one in expand_sweeps([arm])] == [
        ("a, hidden 32", {"hidden": 32}, {"steps": 9}),
        ("a, hidden 64", {"hidden": 64}, {"steps": 9}),
    ]
    chosen = expand_sweeps([{"name": "a", "sweep": {"select.keep": ["correct", "all"]}}])
    assert [one["select"]["keep"] for one in chosen] == ["correct", "all"]


def test_of_several_keys_there_is_an_arm_for_all_values_together_and_a_curve_over_the_first_key_for_each_of_the_others():
    sweep = {"teacher.samples": [1, 4], "fraction": [0.5, 1], "student.hidden": [32, 64]}
    arms = expand_sweeps([{"name": "a", "sweep": sweep}])
    assert len({arm["name"] for arm in arms}) == 2 * 2 * 2
    assert arms[0] == {
        "name": "a, samples 1, fraction 0.5, hidden 32",
        "select": {"samples": 1},
        "fraction": 0.5,
        "student": {"hidden": 32},
        "point": {"of": "a, fraction 0.5, hidden 32", "key": "teacher.samples", "value": 1},
    }
    curves = {arm["point"]["of"]: [] for arm in arms}
    for arm in arms:
        curves[arm["point"]["of"]].append(arm["point"]["value"])
    assert list(curves.values()) == [[1, 4]] * 4


@pytest.mark.parametrize("sweep", [[1, 2], {}, {"fraction": 1}, {"fraction": []}, {"fraction": [1], "x": 2}])
def test_a_sweep_is_keys_and_their_values(sweep):
    with pytest.raises(StudyError, match=r"arms\['a'\]\.sweep = .*must be keys and their values"):
        expand_sweeps([{"name": "a", "sweep": sweep}])


def test_a_key_is_not_swept_twice_under_two_names():
    with pytest.raises(StudyError, match="two of its keys mean the same; leave one out"):
        expand_sweeps([{"name": "a", "sweep": {"teacher.samples": [1, 4], "select.samples": [2]}}])


ARMS = """
[profiles.few]
arms.chains.sweep."teacher.samples" = [2]
[profiles.one]
[[profiles.one.arms]]
name = "other"
method = "answer_only"
"""


def test_a_profile_changes_arms_by_name_or_takes_their_place(tmp_path):
    (tmp_path / "s.toml").write_text(STUDY + ARMS)
    few = load_study(tmp_path / "s.toml", profile="few")
    assert [(arm.name, arm.method) for arm in few.arms] == [("answer-only", "answer_only"), ("chains, samples 2", "scotd")]
    assert [arm.name for arm in load_study(tmp_path / "s.toml", profile="one").arms] == ["other"]
    (tmp_path / "s.toml").write_text(STUDY + ARMS.replace("arms.chains", "arms.chain"))
    with pytest.raises(
        StudyError, match=r"profiles\.few\.arms: there is no arm 'chain'; did you mean 'chains'\? \(of the file: answer-only, "
    ):
        load_study(tmp_path / "s.toml", profile="few")
    (tmp_path / "s.toml").write_text(STUDY + "[profiles.few]\narms = 3\n")
    with pytest.raises(StudyError, match=r"profiles\.few\.arms = 3: must be tables"):
        load_study(tmp_path / "s.toml", profile="few")


PROFILES = (
    STUDY
    + """
[training]
steps = 5
[profiles.small]
base = "base.toml"
training = { batch_size = 4 }
[profiles.large]
"""
)


def test_a_profile_is_its_base_then_the_file_then_itself(tmp_path):
    (tmp_path / "s.toml").write_text(PROFILES)
    (tmp_path / "base.toml").write_text("[task]\ntrain = 48\n[training]\nsteps = 7\nbatch_size = 8\nchecks = 1\n")
    small = load_study(tmp_path / "s.toml", ["training.checks=2"], "small")
    assert (small.name, small.profile, small.task_options) == ("s-small", "small", {"train": 48})
    assert (small.training.steps, small.training.batch_size, small.training.checks) == (5, 4, 2)
    assert load_study(tmp_path / "s.toml", profile="large").training.batch_size == 32
    for profile, says in (
        ("", r"choose a profile with --profile \(its profiles: small, large\)"),
        ("smal", "did you mean 'small'"),
    ):
        with pytest.raises(StudyError, match=says):
            load_study(tmp_path / "s.toml", profile=profile)
    (tmp_path / "base.toml").unlink()
    with pytest.raises(StudyError, match=r"profiles\.small\.base: .*base\.toml cannot be read"):
        load_study(tmp_path / "s.toml", profile="small")
    (tmp_path / "s.toml").write_text(STUDY)
    with pytest.raises(StudyError, match=r"--profile: there is no profile 'small' \(its profiles: none\)"):
        load_study(tmp_path / "s.toml", profile="small")
