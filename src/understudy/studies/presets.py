"""Presets, and the profiles of a study: the same experiment on other questions, with another teacher, at another size.

    [profiles.smoke]                  # understudy run FILE --profile smoke
    base = "bases/diary.toml"         # a file of tables to start from, relative to this file
    training = { steps = 100 }        # what it changes in the file's own tables
    arms."N chains".select.samples = 4    # an arm of the file, by name; or [[profiles.smoke.arms]], which replaces them all

A profile is merged from its base, then the file, then the profile itself; of two values the later one counts.
"""

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from understudy.core.errors import StudyError, with_known
from understudy.studies.schema import refuse_unknown

PACKAGED = Path(str(files("understudy.studies"))) / "presets"


class Preset(NamedTuple):
    """A packaged study. `understudy run` takes its ``name``; ``title`` and ``profiles`` come from its ``file``."""

    name: str
    file: Path
    title: str
    profiles: Mapping[str, Mapping[str, Any]]

    def files(self) -> list[Path]:
        """List its file, and those that its profiles start from."""
        return [self.file, *dict.fromkeys(self.file.parent / own["base"] for own in self.profiles.values() if "base" in own)]


def list_presets() -> Iterator[Preset]:
    """Yield the packaged experiments of the papers, by name."""
    for file in sorted(PACKAGED.glob("*.toml")):
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        yield Preset(file.stem, file, tables["study"]["title"], tables.get("profiles", {}))


def find_study(name: str | Path) -> Path:
    """Return the file ``name``, or the preset of that name if there is no such file."""
    path, packaged = Path(name), PACKAGED / f"{name}.toml"
    return packaged if not path.exists() and path.name == str(name) and packaged.is_file() else path


def apply_profile(tables: dict[str, Any], path: Path, profile: str) -> dict[str, Any]:
    """Return the ``tables`` of the study file ``path`` in one of its profiles, whose name is appended to the study's.

    Raises StudyError if the file has no such profile, if it has profiles and none is chosen, or if the profile changes an arm that
    the file does not have.
    """
    profiles = tables.pop("profiles", {})
    if not isinstance(profiles, Mapping) or not all(isinstance(table, Mapping) for table in profiles.values()):
        raise StudyError("profiles: must be tables, [profiles.NAME]")
    if profile not in profiles and (profile or profiles):
        if not profile:
            raise StudyError(f"choose a profile with --profile (its profiles: {', '.join(profiles)})")
        raise StudyError(f"--profile: there is no profile {with_known(profile, profiles, 'its profiles')}")
    if not profile:
        return tables
    chosen = dict(profiles[profile])
    base: dict[str, Any] = {}
    if "base" in chosen:
        file = path.parent / str(chosen.pop("base"))
        try:
            base = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StudyError(f"profiles.{profile}.base: {file} cannot be read: {error}") from None
    changes = chosen.get("arms", [])
    if isinstance(changes, Mapping):
        by_name = {str(arm.get("name")): arm for arm in tables.get("arms") or () if isinstance(arm, Mapping)}
        refuse_unknown(changes, by_name, f"profiles.{profile}.arms: there is no arm", "of the file")
        chosen["arms"] = [_merge(arm, changes.get(name, {})) for name, arm in by_name.items()]
    elif not isinstance(changes, list):
        reason = f"must be tables: [[profiles.{profile}.arms]], or one table per arm, under its name"
        raise StudyError(f"profiles.{profile}.arms = {changes!r}: {reason}")
    merged: dict[str, Any] = _merge(_merge(base, tables), chosen)
    if isinstance(head := merged.get("study"), dict) and "name" in head:
        merged["study"] = head | {"name": f"{head['name']}-{profile}"}
    return merged


def _merge(first: Any, second: Any) -> Any:
    """Merge ``second`` over ``first``: tables key by key, anything else whole."""
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return second
    return {**first, **second, **{key: _merge(first[key], second[key]) for key in first.keys() & second.keys()}}
