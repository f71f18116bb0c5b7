"""Fixtures that more than one room uses."""

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The same cases on every run; a search for new ones: pytest --hypothesis-profile=default
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

# Whoever runs the tests may have set it; what they start prints as it does for everybody else.
os.environ.pop("PYTHONUNBUFFERED", None)

# A shell that starts the tests in the background lets them ignore Ctrl-C, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep what was imported out of the collections that follow: students are collected as soon as they are trained."""
    gc.collect()
    gc.freeze()


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of real questions and real teachers' chains, or a skip that says where it would have to be."""
    folder = Path(os.environ.get("UNDERSTUDY_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"the real data are not at {folder}; set UNDERSTUDY_DATA to their directory")
    return folder
