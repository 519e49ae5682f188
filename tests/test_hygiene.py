"""What starts fast imports nothing heavy; every module can be imported."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import engine
import sracl_tui
import store
from tests.support.commands import environment

HEAVY = ("torch", "sentence_transformers", "sklearn", "scipy", "openai", "annoy")
MODULES = [
    module.name
    for package in (engine, store, sracl_tui)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.endswith(("__main__", "_file_swap"))
]


def run(code: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, env=environment(home)
    )


@pytest.mark.parametrize(
    "arguments", [["--version"], ["runs"], ["--help"], ["data", "list"], ["show", "--help"]], ids=" ".join
)
def test_light_commands_import_nothing_heavy(arguments, tmp_path):
    done = run(
        f"import sys; sys.argv = ['sracl', *{arguments!r}]\n"
        "from sracl_tui.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout


def test_the_list_of_runs_as_json_imports_neither_arrow_nor_numpy_nor_rich(tmp_path):
    made = run(
        f"from pathlib import Path; from store.home import Home; from store.opening import open_store\nopen_store(Home(Path({str(tmp_path)!r})))",
        tmp_path,
    )
    assert made.returncode == 0, made.stderr
    done = run(
        "import sys; sys.argv = ['sracl', 'runs', '--json']\n"
        "from sracl_tui.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('HEAVY', sorted({'numpy', 'pyarrow', 'rich.console', 'engine.config'} & set(sys.modules)))",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "HEAVY []"]


def test_the_first_screen_imports_nothing_heavy(tmp_path):
    done = run(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from sracl_tui.tui.app import SraclApp\n"
        "from store.home import Home\n"
        "async def look():\n"
        f"    app = SraclApp(Home(Path({str(tmp_path)!r})))\n"
        "    async with app.run_test() as pilot:\n"
        "        await app.workers.wait_for_complete()\n"
        "        await pilot.pause()\n"
        "asyncio.run(look())\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout


def test_every_module_can_be_imported(tmp_path):
    code = "import importlib, sys\n" + "\n".join(f"importlib.import_module({name!r})" for name in MODULES)
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
