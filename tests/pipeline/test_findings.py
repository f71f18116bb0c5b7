"""What an endpoint's replies show besides their texts is recorded while they come, for the corpus as for an arm of the teacher."""

import pytest
from aiohttp import web
from here import perform, stages_of
from lab import Lab
from loopback import Server, completion

from understudy.sampling.status import status

ONE_AT_A_TIME = ("teacher.concurrency=1", "teacher.samples=1")


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """What `status` showed at each request, and the lab whose server looked."""
    monkeypatch.setattr("understudy.engines.remote.findings.RECORD_INTERVAL", 0.0)
    shown = []

    def script(_path, body, n):
        if "stop" in body:
            return web.json_response({"error": {"message": "'stop' is not supported"}}, status=400)
        facts = status(tmp_path / "run").capabilities.values()
        shown.append({name: value for urls in facts for found in urls.values() for name, value in found.items()})
        text = "" if len(shown) == 2 else " So the answer is: 2"
        return completion(text, finish_reason="tired" if len(shown) == 1 else "stop") | {"model": f"v{min(3, len(shown))}"}

    with Server(script) as server:
        yield shown, Lab(tmp_path, server)


def test_findings_of_a_sampling_and_of_an_arm_are_in_the_status_while_they_go_on(seen):
    shown, lab = seen
    lab.sample(*ONE_AT_A_TIME)
    assert "unknown ends" not in shown[0]
    assert shown[1]["unknown ends"] == "tired (1)"
    assert shown[1]["left out"] == "stop"
    assert (shown[3]["versions"], shown[3]["empty answers"]) == ("v1 (1), v2 (1), v3 (1)", "1 of 3")


def test_findings_of_an_arm_that_the_teacher_answers_are_recorded_while_it_goes_on_and_at_the_end(seen):
    shown, lab = seen
    lab.questions("test", 92, 96)
    plan = lab.plan(*ONE_AT_A_TIME, 'arms.0.model="teacher"')
    perform(plan.problems, lab.where / "run")
    answers = stages_of(plan, "a", "answers")[0, "test"]
    perform(answers, lab.where / "run")
    assert (shown[3]["versions"], shown[3]["empty answers"]) == ("v1 (1), v2 (1), v3 (1)", "1 of 3")
    (facts,) = [found for urls in status(lab.where / "run").capabilities.values() for found in urls.values()]
    assert (facts["versions"], facts["empty answers"], facts["left out"]) == ("v3 (2), v1 (1), v2 (1)", "1 of 4", "stop")
