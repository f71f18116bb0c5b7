"""One tiny run of the demo study that the tests of the verbs look at."""

from pathlib import Path

import pytest
from command import SETS, understudy


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A directory in which `understudy demo` has run, small enough for seconds; runs/demo is in it."""
    where = tmp_path_factory.mktemp("tiny")
    ran = understudy("demo", *SETS, cwd=where)
    assert ran.code == 0, ran.out + ran.err
    (where / "first.txt").write_text(ran.out)
    return where
