"""Names that a study may use, and what a wrong one is told."""

import importlib

import pytest

from understudy.core import registry
from understudy.core.errors import StudyError, UserError, counted


@pytest.mark.parametrize("table", [registry.METHODS, registry.TASKS, registry.CHECKS])
def test_every_registered_name_can_be_imported(table):
    for where in table.values():
        module, _, attribute = where.partition(":")
        assert hasattr(importlib.import_module(module), attribute)


def test_an_unknown_name_is_told_the_nearest_known_one():
    with pytest.raises(StudyError, match=r"unknown method 'scodt'; did you mean 'scotd'\?"):
        registry.find("method", "scodt")


def test_what_a_user_did_wrong_is_a_value_error():
    assert issubclass(UserError, ValueError)


def test_a_count_and_its_noun_agree():
    assert [counted(n, noun) for noun in ("id", "reply") for n in (0, 1, 1200)] == [
        *("0 ids", "1 id", "1,200 ids"),
        *("0 replies", "1 reply", "1,200 replies"),
    ]
