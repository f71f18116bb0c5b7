"""A study of a few questions whose teacher is a server on loopback."""

import json

from here import perform

from understudy.pipeline.plan import make_plan
from understudy.studies.load import load_study

STUDY = """
[study]
name = "s"
[task]
name = "files"
train = "q.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"
kind = "number"
[exemplars]
file = "shown.jsonl"
[teacher]
engine = "endpoint"
url = "URL"
model = "tiny"
samples = 10
first_look = 0
retries = 0
[[arms]]
name = "a"
method = "scotd"
"""


class Lab:
    """A study of ``n`` questions in a directory, sampled in this process over a server that counts."""

    def __init__(self, where, server):
        self.where, self.server = where, server
        (where / "s.toml").write_text(STUDY.replace("URL", server.url))
        self.shown("7 + 7?")
        self.questions("dev", 90, 91)
        self.questions("test", 92, 93)
        self.questions("q", 0, 4)

    def questions(self, name, start, end):
        rows = (json.dumps({"id": f"q{i}", "question": f"{i} + 1?", "answer": i + 1}) + "\n" for i in range(start, end))
        (self.where / f"{name}.jsonl").write_text("".join(rows))

    def shown(self, question):
        (self.where / "shown.jsonl").write_text(json.dumps({"question": question, "answer": 14, "rationale": "Both."}) + "\n")

    def plan(self, *sets):
        return make_plan(load_study(self.where / "s.toml", sets))

    def sample(self, *sets):
        """(requests that the server got for it, what the stage says of itself)"""
        plan, before, run = self.plan(*sets), len(self.server.got), self.where / "run"
        perform(plan.problems, run)
        summary = perform(plan.chains, run)
        return len(self.server.got) - before, summary
