"""A sweep: an arm that stands for several, one for each value of one of its keys; their results are the points of a curve. A sweep
over several keys makes an arm for each combination of values, and a curve over the first key for each combination of the others.

[[arms]]
name = "SCoTD"
method = "scotd"
sweep = { "select.samples" = [1, 5, 10, 30] }     # the arms "SCoTD, samples 1", "SCoTD, samples 5", ...
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from understudy.core.errors import StudyError

ALIASES = {"teacher.samples": "select.samples"}
"""A teacher asked for fewer chains would have written the first ones of each question, so nothing is asked again."""


def expand_sweeps(arms: Sequence[Any]) -> list[Any]:
    """Replace each [[arms]] table that sweeps by the arms of its sweep. Raises StudyError for an invalid sweep."""
    return [variant for arm in arms for variant in (_expand(arm) if isinstance(arm, Mapping) and "sweep" in arm else [arm])]


def _expand(arm: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name, sweep = arm.get("name"), arm["sweep"]
    location = f"arms[{name!r}].sweep"
    if not (isinstance(sweep, Mapping) and sweep and all(isinstance(items, list) and items for items in sweep.values())):
        raise StudyError(f'{location} = {sweep!r}: must be keys and their values, e.g. {{ "select.samples" = [1, 5, 10] }}')
    if ALIASES.keys() & sweep.keys() and set(ALIASES.values()) & sweep.keys():
        raise StudyError(f"{location} = {sweep!r}: two of its keys mean the same; leave one out")
    for values in itertools.product(*sweep.values()):
        variant = copy.deepcopy({key: item for key, item in arm.items() if key != "sweep"})
        first, *rest = [_put(variant, key, value, location) for key, value in zip(sweep, values, strict=True)]
        point = {"of": ", ".join([f"{name}", *rest]), "key": next(iter(sweep)), "value": values[0]}
        yield variant | {"name": ", ".join([f"{name}", first, *rest]), "point": point}


def _put(arm: dict[str, Any], key: str, value: Any, location: str) -> str:
    """Set ``key`` of ``arm``, and return the piece of the arm's name that says so."""
    *parents, last = str(ALIASES.get(key, key)).split(".")
    for parent in parents:
        arm = arm.setdefault(parent, {})
        if not isinstance(arm, dict):
            raise StudyError(f"{location}: {parent} of {key!r} is {arm!r}, not a table")
    arm[last] = value
    return f"{last} {value}"
