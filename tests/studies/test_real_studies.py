"""The studies with a pretrained student: their checks, their split, and pairs that their arms can be compared in."""

import sys
from pathlib import Path

import pytest

from understudy.core.values import Chain, Outcome, Problem
from understudy.studies.load import load_study

STUDIES = Path(__file__).resolve().parents[2] / "studies"
sys.path[:0] = [str(STUDIES), str(STUDIES / "real")]

from chain_kinds import UNDERSTUDY  # noqa: E402 - beside the studies
from prepare_arithmetic import keys, main, read  # noqa: E402

PROBLEM = Problem("p", "How many?", "number", answer="5")


@pytest.mark.parametrize(
    ("prompt", "teacher", "answer", "right"),
    [
        ("few-shot CoT", "gpt-4", "5", {"plain", "plain-one"}),
        ("few-shot CoT", "text-davinci-002", "5", {"plain"}),
        ("few-shot CoT", "gpt-4", "6", set()),
        ("few-shot least-to-most", "gpt-4", "5", {"asked"}),
        ("few-shot least-to-most", "gpt-3.5-turbo", "5", set()),
    ],
)
def test_a_check_of_chain_kinds_takes_right_chains_of_its_kind(prompt, teacher, answer, right):
    chain = Chain("p", 0, "2 + 3", "2 + 3", answer, "marker", teacher, sampling={"prompt": prompt})
    checks = UNDERSTUDY["check"].items()
    assert {name for name, check in checks if check(PROBLEM, chain).outcome is Outcome.CORRECT} == right


@pytest.mark.parametrize("path", sorted((STUDIES / "real").glob("*.toml")), ids=lambda path: path.name)
def test_a_real_study_trains_its_checkpoint_with_three_seeds_and_names_its_pairs(path):
    study = load_study(path)
    assert study.seeds == 3
    assert study.evaluation.compare
    assert study.student.checkpoint == "smollm2-135m-instruct"
    assert (study.training.optimizer, study.training.learning_rate) == ("adamw", 1e-4)


def test_the_two_sets_of_the_real_studies_are_split_with_near_duplicates_on_one_side(real_data, tmp_path):
    main([str(real_data), str(tmp_path), "--sets", "asdiv", "svamp", "--test", "0.2"])
    splits = {path.stem: list(read(path)) for path in tmp_path.glob("*.jsonl")}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 2175, "dev": 310, "test": 621}
    train, dev, test = ({key for row in splits[name] for key in keys(row["question"])} for name in ("train", "dev", "test"))
    assert not train & (dev | test) and not dev & test
