"""The [teacher] table: a key that its engine does not look at is refused, so that nobody believes in it."""

import pytest

from understudy.core.errors import StudyError
from understudy.studies.load import load_study

STUDY = """
[study]
name = "s"
[task]
name = "diary"
[teacher]
engine = "recorded"
chains = ["c.jsonl"]
[[arms]]
name = "a"
method = "scotd"
"""


@pytest.fixture
def load(tmp_path):
    def of(*overrides, text=STUDY):
        (tmp_path / "s.toml").write_text(text)
        return load_study(tmp_path / "s.toml", overrides).teacher

    return of


@pytest.mark.parametrize(
    "key",
    [
        "samples=5",
        "temperature=0.5",
        "top_p=0.9",
        "first_look=0",
        "method='zero_shot'",
        "options={max_tokens=64}",
        "prompts='mine'",
        "allocation={first=4}",
        "price={input=1.0,output=2.0}",
        "budget={requests=9}",
    ],
)
def test_recorded_chains_take_no_key_of_sampling(load, key):
    assert load().engine == "recorded"
    name = key.partition("=")[0]
    with pytest.raises(StudyError, match=rf"teacher.{name} = .*: engine 'recorded' samples nothing; leave it out"):
        load(f"teacher.{key}")


@pytest.mark.parametrize("key", ["price={input=1.0,output=2.0}", "budget={requests=9}"])
def test_a_price_and_a_budget_are_for_engines_that_are_paid(load, key):
    world = STUDY.replace('engine = "recorded"\nchains = ["c.jsonl"]', "samples = 5")
    with pytest.raises(StudyError, match=r"teacher.(price|budget) = .*: engine 'procedural' costs nothing; leave it out"):
        load(f"teacher.{key}", text=world)
    endpoint = world.replace("samples = 5", 'engine = "endpoint"\nurl = "http://localhost:1/v1"\nmodel = "m"')
    assert load(f"teacher.{key}", text=endpoint)
