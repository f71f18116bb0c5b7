"""What the process has from which `test_processes` forks others: the libraries. It ends with the tests, and they with it, so they
need not look for a parent that ends (`tests/pipeline/test_processes.py` has such)."""

import transformers.models.llama.modeling_llama
import transformers.models.t5.modeling_t5  # noqa: F401

import understudy.training.loop  # noqa: F401
from understudy.training import ranks

ranks.end_with_parent = lambda: None
