"""The few-shot baseline (Wei et al. 2022, arXiv 2201.11903): solved problems in the prompt, nothing trained.

With ``chain`` the exemplars show their rationale (chain-of-thought prompting), and without it only their answers (standard
prompting): SCoTD's "before" and "teacher" rows (arXiv 2306.14050, Table 2). The arm's ``model`` says who answers.
"""

from dataclasses import dataclass, field, replace

from understudy.core.asks import Call, Count, Flow, Reply, SamplePath
from understudy.core.prompt_format import PromptFormat
from understudy.core.protocols import NoStudent, Pool
from understudy.core.values import Chain, Problem, Solution


@dataclass(frozen=True)
class FewShot(NoStudent):
    """The prompt shows the exemplars. The method trains nothing, so it needs a ``model`` other than the trained one."""

    chain: bool = True
    """The exemplars show their rationales (the paper's chain-of-thought prompting)."""
    max_tokens: Count = 256
    """The maximum number of tokens in a reply. Default chosen by this project: that of scotd."""
    format: PromptFormat = field(default_factory=PromptFormat)
    """How prompts are written."""

    def sample(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Chain]:
        call = self._call("teacher", problem, path, pool)
        reply: Reply = yield call
        return self.format.read_chain(problem, path, reply, prompt=call.prompt)

    def solve(self, problem: Problem, path: SamplePath, pool: Pool) -> Flow[Solution]:
        reply: Reply = yield self._call("student", problem, path, pool)
        return self.format.read_solution(problem, path, "student", reply)

    def _call(self, role: str, problem: Problem, path: SamplePath, pool: Pool) -> Call:
        exemplars = [(p, c if self.chain else replace(c, rationale="")) for p, c in pool.exemplars(path)]
        return Call(role, self.format.write_prompt(problem, exemplars), self.format.stop, self.max_tokens)
