"""The shape of the code: no circle of modules, and no file, function or top folder that has outgrown its reader."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.commands import ROOT

PACKAGES = ("engine", "store", "sracl_tui")
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_LOOSE_MODULES = 420, 60, 6
Graph = dict[str, set[str]]


def sources(*packages: str) -> dict[str, Path]:
    """Path of each module by its dotted name; a package has the name of its folder."""
    paths = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(tree: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    """Modules of ours that a file names in any import: at its top, in a function, or for types only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports are not read here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else str(node.module) for name in names]
        else:
            continue
        yield from (name for name in names if name in modules)


def import_graph() -> Graph:
    """What each module imports. Package files only hand names on from their own modules, so they are left out."""
    modules = sources(*PACKAGES)
    plain = {name for name, path in modules.items() if path.name != "__init__.py"}
    return {
        name: {found for found in imports(ast.parse(modules[name].read_text("utf-8")), modules) if found in plain}
        - {name}
        for name in plain
    }


def circles(graph: Graph) -> list[list[str]]:
    """Sets of modules that import each other by any way: strongly connected components (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            place = stack.index(node)
            component, stack[place:] = sorted(stack[place:]), []
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def test_circles_are_found() -> None:
    graph: Graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"g", "a"}, "g": {"f"}}
    assert circles(graph) == [["a", "b", "c"], ["f", "g"]]
    modules = sources(*PACKAGES)
    code = "from engine import config\ndef f():\n    import store.home\nfrom store.errors import StoreError\nimport os"
    assert set(imports(ast.parse(code), modules)) == {"engine.config", "store.home", "store.errors"}


def test_no_modules_import_each_other() -> None:
    assert circles(import_graph()) == []


def test_no_file_is_too_long() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in sources(*PACKAGES).items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_function_of_the_engine_or_the_store_is_too_long() -> None:
    lengths = {
        f"{name}.{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, path in sources("engine", "store").items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in lengths.items() if count > MOST_LINES_OF_A_FUNCTION} == {}


def test_few_modules_lie_loose_at_the_top_of_the_application() -> None:
    loose = sorted(path.stem for path in (ROOT / "sracl_tui").glob("*.py") if not path.stem.startswith("__"))
    assert len(loose) <= MOST_LOOSE_MODULES, loose
