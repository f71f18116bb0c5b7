"""The check ``judged``: an engine's verdict on a chain that it saw without the gold answer (docs/judge.md)."""

from understudy.core.values import Chain, Outcome, Problem, Verdict


def judged(_problem: Problem, chain: Chain) -> Verdict:
    """Return UNDECIDABLE. An engine's verdict replaces it if the study names the file that has it (``study.relabels``)."""
    return Verdict(chain.id, Outcome.UNDECIDABLE, "no engine judged it (understudy judge RUN --chains --by FILE.toml)")
