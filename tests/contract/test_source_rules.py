"""Rules about the source itself: what must never be in it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import yolocore

ROOT = Path(yolocore.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
SDKS = {"wandb", "clearml", "mlflow", "comet_ml", "dvclive", "neptune", "ray", "tensorboard"}
OTHER_FRAMEWORKS = {"ultralytics", "libreyolo"}
FORBIDDEN_CALLS = {"exec", "eval", "compile", "__import__"}
PICKLE_READER = ROOT / "nn" / "unpickle.py"
TEST_KIT_PROCESSES = ROOT / "testing" / "process.py"  # checks plugins in child processes; only tests import it


def name_of(node: ast.expr) -> str:
    """Return the dotted name of a call's function."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.AST]:
    assert len(FILES) > 100
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def test_no_code_runs_from_data(trees: dict[Path, ast.AST]) -> None:
    for path, tree in trees.items():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        for call in calls:
            name = name_of(call.func)
            assert name not in FORBIDDEN_CALLS, f"{path}:{call.lineno}: {name}"
            assert name not in {"os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load"}, f"{path}: {name}"
            for keyword in call.keywords:
                constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                assert not (keyword.arg in {"shell", "allow_pickle"} and constant), f"{path}:{call.lineno}"
                assert not (keyword.arg == "weights_only" and constant is False), f"{path}:{call.lineno}"
        if path != PICKLE_READER:
            assert "pickle" not in imports(tree), path


def test_the_core_imports_no_integration_and_no_other_framework(trees: dict[Path, ast.AST]) -> None:
    for path, tree in trees.items():
        assert not imports(tree) & (SDKS | OTHER_FRAMEWORKS), path


def test_nothing_is_installed_at_run_time(trees: dict[Path, ast.AST]) -> None:
    """Only the tuner and the kit for plugin tests start processes: this interpreter with a module of this package."""
    starters = {path.relative_to(ROOT) for path, tree in trees.items() if "subprocess" in imports(tree)}
    assert starters <= {Path("engine/tune_process.py"), Path("testing/process.py")}


def test_files_and_functions_stay_small(trees: dict[Path, ast.AST]) -> None:
    for path, tree in trees.items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 600, f"{path} has {lines} lines"
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 80, f"{path}:{node.lineno}: {node.name} has {length} lines"


def test_no_module_has_changing_state(trees: dict[Path, ast.AST]) -> None:
    for path, tree in trees.items():
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.Global)], path
