"""The rooms: imports run one way, methods are pure, heavy libraries come late, nothing unsafe is called."""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "understudy"
TIERS = [
    {"core"},
    {"corpus", "flows"},
    {"tasks", "engines", "methods"},
    {"checks"},
    {"selection", "sampling", "training"},
    {"evaluation"},
    {"reports"},
    {"studies"},
    {"pipeline"},
    {"runs"},
    {"serving"},
    {"cli"},
]
TIER = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "transformers")
MAY_IMPORT_HEAVY = ("training/", "engines/local/")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at module level) for every import in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append((node.module, id(node) in top))
    return found


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    room = path.relative_to(SOURCE).parts[0]
    if room not in TIER:
        return
    for module, _ in imports(path):
        other = room_of(module) if module.startswith("understudy.") else ""
        if other in TIER and other != room:
            assert TIER[other] < TIER[room], f"{path.name} in {room}/ imports {module}"


@pytest.mark.parametrize("path", sorted((SOURCE / "methods").glob("*.py")), ids=lambda p: p.name)
def test_a_method_imports_core_and_the_standard_library_only(path):
    for module, _ in imports(path):
        assert module.startswith("understudy.core") or module.split(".")[0] in sys.stdlib_module_names, module


def test_core_imports_the_standard_library_only():
    for path in (SOURCE / "core").rglob("*.py"):
        for module, _ in imports(path):
            assert module.startswith("understudy.core") or module.split(".")[0] in sys.stdlib_module_names, (path, module)


def test_torch_and_transformers_are_imported_by_training_and_the_local_engine_only():
    for path in FILES:
        if not str(path.relative_to(SOURCE)).startswith(MAY_IMPORT_HEAVY):
            assert not [m for m, _ in imports(path) if m.split(".")[0] in HEAVY], path


def test_nothing_unsafe_is_called():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                assert name not in ("eval", "exec"), f"{path}:{node.lineno} calls {name}"
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path
        for module, _ in imports(path):
            assert module.split(".")[0] not in ("pickle", "marshal", "shelve", "dill"), path


def test_files_and_functions_hold_one_idea():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400, f"{path} holds two ideas"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 80, f"{path}:{node.lineno} {node.name} holds two ideas"


CAP = 19_546
"""Code lines of the source: no blanks, comments, docstrings. A new feature names what it deletes."""


def count_code_lines(text: str) -> int:
    no_code = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in no_code:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def test_the_source_stays_below_its_cap():
    assert count_code_lines('"Of it."\n\nX = [  # why\n    1,\n]\n') == 3
    assert sum(count_code_lines(path.read_text(encoding="utf-8")) for path in FILES) <= CAP


def test_no_class_name_is_used_twice():
    names = Counter(
        node.name for path in FILES for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, n in names.items() if n > 1]


def test_help_loads_nothing_heavy():
    code = "import sys; from understudy.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"'torch'", "'transformers'", "'numpy'", "'pydantic'", "'rich'"} & set(done.stderr.strip("[]\n").split(", "))
