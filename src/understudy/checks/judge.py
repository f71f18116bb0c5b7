"""The verdict of a check on a chain: what no check may decide is decided here, for teachers and students alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from understudy.core.errors import StudyError
from understudy.core.protocols import Check
from understudy.core.thoughts import only_thought
from understudy.core.values import Chain, Outcome, Problem, Verdict


def judge(problem: Problem, chain: Chain, check: Check, name: str) -> Verdict:
    """placeholder until the checks are merged"""
    raise NotImplementedError


_ = (Callable, replace, StudyError, only_thought, Outcome)
