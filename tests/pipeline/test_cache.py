"""Stages at rest: named by inputs and code, complete or not there."""

import json

import pytest

from understudy.core.errors import DataError
from understudy.pipeline import cache
from understudy.pipeline.plan import PLAN, read_plan
from understudy.training.record import CURVE, SEEN, read_curve, read_seen


def test_the_version_of_a_module_covers_everything_of_ours_that_it_imports():
    assert cache.hash_code(["understudy.core.asks"]) == cache.hash_code(["understudy.core.asks"])
    assert cache.hash_code(["understudy.core.asks"]) != cache.hash_code(["understudy.core.values"])
    _, imports = cache._read_imports("understudy.flows.drive")
    assert "understudy.core.asks" in imports


def test_changed_source_changes_the_version_of_whatever_imports_it(tmp_path, monkeypatch):
    package = tmp_path / "understudy_fake"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("import understudy.core.errors\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = cache.hash_code(["understudy_fake.a"])
    (package / "a.py").write_text("import understudy.core.errors\nx = 1\n")
    cache._read_imports.cache_clear()
    assert cache.hash_code(["understudy_fake.a"]) != before


def test_the_version_of_another_package_covers_its_own_modules_too(tmp_path, monkeypatch):
    package = tmp_path / "some_methods"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("from . import inner\nfrom .inner import x\nimport json\n")
    (package / "inner.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    _, imports = cache._read_imports("some_methods.method")
    assert imports == {"some_methods", "some_methods.inner"}
    before = cache.hash_code(["some_methods.method"])
    (package / "inner.py").write_text("x = 2\n")
    cache._read_imports.cache_clear()
    assert cache.hash_code(["some_methods.method"]) != before


def write_manifest(directory, **summary):
    manifest = cache.Manifest("chains", "x", "2026-01-01T00:00:00Z", 1.0, (), {}, summary)
    cache.write_manifest(directory, manifest)


def test_a_stage_is_done_only_when_its_manifest_is_there(tmp_path):
    (tmp_path / "half.parquet").write_text("x")
    assert not cache.is_done(tmp_path)
    write_manifest(tmp_path, chains=3)
    assert cache.is_done(tmp_path)
    assert cache.read_manifest(tmp_path).summary == {"chains": 3}


def flip(path, at):
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    path.write_bytes(body)


def test_a_file_of_a_stage_that_is_missing_cut_or_has_a_flipped_bit_is_named(tmp_path):
    (tmp_path / "student").mkdir()
    for name in ("rows.parquet", "student/model.safetensors"):
        (tmp_path / name).write_bytes(bytes(range(100)))
    write_manifest(tmp_path, chains=3)
    assert cache.find_damage(tmp_path, deep=True) == ""
    flip(tmp_path / "student/model.safetensors", 50)
    assert cache.find_damage(tmp_path, deep=False) == ""
    assert "model.safetensors: is damaged" in cache.find_damage(tmp_path, deep=True)
    flip(tmp_path / "rows.parquet", 99)
    assert "rows.parquet: is damaged" in cache.find_damage(tmp_path, deep=False)
    (tmp_path / "rows.parquet").write_bytes(b"")
    assert "rows.parquet: is damaged" in cache.find_damage(tmp_path, deep=False)
    (tmp_path / "rows.parquet").unlink()
    assert "rows.parquet: is missing" in cache.find_damage(tmp_path, deep=False)


def test_every_flipped_bit_of_a_manifest_that_changes_what_it_says_is_damage(tmp_path):
    write_manifest(tmp_path, chains=3)
    path = tmp_path / cache.MANIFEST
    written, said = path.read_bytes(), cache.read_manifest(tmp_path)
    for at in range(len(written)):
        flip(path, at)
        damage = cache.find_damage(tmp_path, deep=True)
        assert damage or json.loads(path.read_bytes()).get("version") != cache.VERSION or cache.read_manifest(tmp_path) == said, at
        path.write_bytes(written)
    assert cache.find_damage(tmp_path, deep=True) == ""


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"version": 2}', '{"version": 2, "study": 3}', "[" * 5000, '"\\ud83d"'])
def test_damaged_files_of_a_run_are_one_message(tmp_path, content):
    for name, read in (
        (PLAN, read_plan),
        (cache.MANIFEST, cache.read_manifest),
        (SEEN, read_seen),
        (CURVE, read_curve),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=name):
            read(tmp_path)


def test_a_stage_of_an_earlier_understudy_is_said_to_be_old(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "chains", "label": "x", "inputs": {}, "says": {"chains": 3}}))
    with pytest.raises(DataError, match=r"made by an earlier Understudy.*run the study again.*what was paid for is in the ledger"):
        cache.read_manifest(tmp_path)


def test_a_json_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "x.json"
    cache.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        cache.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_what_is_no_stage_among_the_stages_is_left_alone(tmp_path):
    run = tmp_path / "run"
    for name in ("chains-c", "selection-s"):
        (run / "stages" / name).mkdir(parents=True)
    write_manifest(run / "stages" / "chains-c")
    (run / "stages" / ".DS_Store").write_text("a file of another program")
    cache.remove_dependents(run, "c")
    assert {path.name for path in (run / "stages").iterdir()} == {"chains-c", "selection-s", ".DS_Store"}


def test_removal_takes_the_manifest_first(tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir()
    write_manifest(stage)
    cache.remove(stage)
    assert not stage.exists()
