"""A sweep: an arm that stands for several, one for each value of one of its keys, whose results are the points of a curve.

[[arms]]
name = "SCoTD"
method = "scotd"
sweep = { "select.samples" = [1, 5, 10, 30] }     # the arms "SCoTD, samples 1", "SCoTD, samples 5", ...
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.core.errors import StudyError

ALIASES = {"teacher.samples": "select.samples"}
"""The first chains of a question are what a teacher would have written who is asked for fewer: nothing is asked again."""


def expand_sweeps(arms: Sequence[Any]) -> list[Any]:
    """The [[arms]] tables with those that sweep in place of the tables that say so. Raises StudyError for a sweep that is none."""
    return [one for arm in arms for one in (_expand(arm) if isinstance(arm, Mapping) and "sweep" in arm else [arm])]


def _expand(arm: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    where, sweep = f"arms[{arm.get('name')!r}].sweep", arm["sweep"]
    if not (isinstance(sweep, Mapping) and len(sweep) == 1 and all(isinstance(each, list) and each for each in sweep.values())):
        raise StudyError(f'{where} = {sweep!r}: must be one key and its values, e.g. {{ "select.samples" = [1, 5, 10] }}')
    key, values = next(iter(sweep.items()))
    *parents, last = str(ALIASES.get(key, key)).split(".")
    for value in values:
        one = copy.deepcopy({name: item for name, item in arm.items() if name != "sweep"})
        here = one
        for name in parents:
            here = here.setdefault(name, {})
            if not isinstance(here, dict):
                raise StudyError(f"{where}: {name} of {key!r} is {here!r}, not a table")
        here[last] = value
        yield one | {"name": f"{arm.get('name')}, {last} {value}", "point": {"of": arm.get("name"), "key": key, "value": value}}
