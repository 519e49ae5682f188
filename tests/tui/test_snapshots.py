"""A picture of every screen, at three sizes, dark and light, of runs that were recorded (`tests/support/record_runs.py`).

After a wanted change: `pytest tests/tui/test_snapshots.py --snapshot-update`, and look at what changed.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sracl_tui.runs.dataset_access import open_dataset
from sracl_tui.tui.app import SraclApp
from store.home import Home
from store.journal.journal import Journal, read_events
from store.opening import open_store
from store.publishing.publish import write_sql
from tests.support.earlier_demo import add_earlier_demo
from tests.support.steady_pilot import SteadyPilot

RECORDED = Path(__file__).parents[1] / "support" / "recorded"
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
THEMES = ("sracl-dark", "sracl-light")
RUN = "20260101-092000-0003"
LINES = (
    "SELECT epoch, max(value) FILTER (name = 'hr@10') AS hr_10, max(value) FILTER (name = 'ndcg@10') AS ndcg_10 "
    "FROM metrics WHERE split = 'valid' AND subgroup = 'all' GROUP BY epoch"
)
SCREENS: dict[str, tuple[str, ...]] = {
    # what is drawn: keys that lead there from the list of runs
    "runs": (),
    "runs folded": ("f",),
    "help": ("question_mark",),
    "run": ("open",),
    "run log": ("open", "tab"),
    "run settings": ("open", "tab", "tab"),
    "run machine": ("open", "shift+tab"),
    "inspector": ("inspect",),
    "inspector at an epoch": ("inspect", "right_square_bracket", "full_stop", "full_stop"),
    "find user": ("inspect", "slash"),
    "launch": ("go launch",),
    "compare": ("go compare",),
    "compare users": ("go compare", "tab", "tab"),
    "sql": ("go sql",),
    "everyone": ("inspect", "e"),
    "everyone map": ("inspect", "e", "tab", "tab", "tab"),
    "data": ("go data",),
    "costs": ("go costs",),
    "queue": ("go queue",),
    "import": ("go data", "n", "G", "enter"),
    "item": ("inspect", "I"),
    "neighbor": ("inspect", "j", "enter"),
    "substitute": ("inspect", "I", "enter"),
    "inspector of two runs": ("inspect", "o", "enter"),
    "find item": ("inspect", "I", "slash"),
    "runs filtered": ("slash", "type:state:finished ndcg@20>0.05 -preset:backbone"),
    "tag": ("t",),
    "note": ("e",),
    "palette": ("ctrl+p",),
    "everyone weights": ("inspect", "e", "tab", "tab"),
    "remove data": ("go data", "x"),
    "launch field": ("go launch", "j", "j", "j", "enter"),
    "compare curves": ("go compare", "tab"),
    "sql tables": ("go sql", "f2", "type:results", "down", "right", "down"),
    "sql cell": ("go sql", "f4", "right", "enter"),
    "sql bars": ("go sql", "ctrl+r", "type:SELECT name, test_hr_20, seconds FROM run_results ", "f5", "ctrl+g"),
    "sql chart": ("go sql", "f7", f"type:{LINES} ", "f5", "ctrl+g", "left", "left"),
    "costs price": ("go costs", "p"),
    "queue workers": ("go queue", "w"),
    "study": ("go study",),
    "runs marked": ("j", "space", "space"),
    "columns": ("C", "j", "space"),
    "charts": ("j", "a", "left", "left", "left", "j"),
    "chart alone": ("j", "a", "left", "left", "left", "enter"),
    "settings": ("go settings", "j", "enter"),
    "panes": ("p",),
    "machine beside the list": ("j", "j", "p", "j", "j", "space", "j", "space", "enter"),
    "slices": ("go slices", "j", "j"),
    "slices without a baseline": ("G", "W"),
    "findings": ("go findings",),
    "finding's note": ("go findings", "e"),
    "everyone of a slice": ("go slices", "j", "j", "enter"),
}
SMALL = (
    "charts",
    "settings",
    "import",
    "item",
    "neighbor",
    "substitute",
    "inspector of two runs",
    "slices",
    "findings",
    "run machine",
    "sql tables",
    "sql bars",
    "sql chart",
    "inspector at an epoch",
)
"""Drawn at the two usual sizes."""
FEW = (
    *(
        "help",
        "runs folded",
        "run settings",
        "find user",
        "compare users",
        "everyone map",
        "find item",
        "runs filtered",
    ),
    *("tag", "note", "palette", "everyone weights", "remove data", "launch field"),
    *("compare curves", "sql cell", "costs price", "queue workers", "study"),
    *("slices without a baseline", "everyone of a slice", "finding's note"),
    *("runs marked", "columns", "panes", "machine beside the list", "chart alone"),
)
"""Drawn at one size: they are laid out as their neighbors are."""
RATINGS = "user_id,item_id,title,rating,timestamp\n" + "".join(
    f"{user},f{(3 * user + place) % 11},Film {(3 * user + place) % 11},{3 + place % 3},{1_600_000_000 + 86_400 * (7 * user + place)}\n"
    for user in range(12)
    for place in range(8)
)

FINDINGS = """INSERT INTO findings BY NAME
SELECT '20260101-10000' || n || '-0000' AS finding_id, TIMESTAMP '2026-01-01 10:00:00' + n * INTERVAL 9 MINUTE AS created_at,
  ['inspector', 'compare', 'what-if'][n] AS screen,
  ['Inspector  whole on demo', 'Compare  demo, test ranks of 60 users', 'What if  user 7, whole'][n] AS title,
  ['20260101-092000-0003'] AS run_ids, CASE n WHEN 2 THEN NULL ELSE 7 END AS user_id,
  $$sracl inspect 20260101-092000-0003 '#7'$$ AS command,
  ['Seven of ten neighbors buy the target next.', 'One seed each: nothing is shown yet. Come back with three.',
    'Without the tent the target falls to rank 31.'][n] AS note,
  repeat('│ 1  Pip & Pogo neon water bottle  ▲2  0.0947  ██████▋  │' || chr(10), 20) AS content
FROM range(1, 4) t(n)"""
"""Rows of the table of findings, which take no journal."""


def add_samples(folder: Path) -> None:
    """What the recorded run might have used of a machine, which the runs do not have: they are older than the samples."""
    last = [line.at for _, line in read_events(folder)][-1]
    journal = Journal(folder)
    for n in range(1, 91):
        wave, training = math.sin(n / 5), n > 20
        own = {"cores": 1.0 + 0.8 * training + 0.1 * wave, "machine_cores": 2.4 + 0.8 * training + 0.3 * wave}
        own |= {
            "memory_bytes": int((0.4 + min(n, 40) / 50) * 2**30),
            "machine_memory_bytes": int((5.5 + 0.2 * wave) * 2**30),
        }
        gpu = {"gpu_memory_bytes": 3 << 30, "machine_gpu_memory_bytes": 5 << 30, "machine_gpu_percent": 70 + 25 * wave}
        journal.append("machine_sampled", {"seconds": 10.0 * n} | own | (gpu if training else {}), at=last)
    journal.close()


RECORDINGS = f"""INSERT INTO user_epochs SELECT '{RUN}', e, 10 * e, 8, round(200 / (1 + e) + 3),
  list_transform(range(10), lambda n: ((1 + 0.1 * e * sin(n + e)) / 10)::FLOAT), NULL, NULL FROM range(7) t(e)"""
"""User 8 over the epochs of the recorded run, which is older than recordings."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the recorded runs, its times fixed."""
    home = Home(tmp_path_factory.mktemp("recorded") / "home")
    add_earlier_demo(home)
    with open_store(home) as store:
        open_dataset(store, "demo", max_users=60)
    shutil.copytree(RECORDED, home.runs, dirs_exist_ok=True)
    add_samples(home.runs / RUN)
    with open_store(home) as store:
        assert len(store.rows("FROM runs")) == 5
    (home.path.parent / "ratings.csv").write_text(RATINGS)
    write_sql(home, FINDINGS)
    write_sql(home, RECORDINGS)
    write_sql(home, "UPDATE datasets SET imported_at = TIMESTAMP '2026-01-01 08:50:00'")
    return home.path


@pytest.fixture
def drawn(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SraclApp]:
    """The app on that home, with nothing in it that moves."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    time.tzset()
    monkeypatch.chdir(recorded.parent)
    monkeypatch.setattr("sracl_tui.tui.preferences.Preferences.write", lambda self, home: None)
    monkeypatch.setattr("sracl_tui.services.query_history.add", lambda *words, **named: None)

    def make(theme: str) -> SraclApp:
        app = SraclApp(Home(Path("home")), theme=theme)
        app.animation_level = "none"
        app.preferences.catalog = False  # its list of all tables is another one with every migration; F2 shows it
        return app

    return make


def leads_to(steps: tuple[str, ...]) -> Callable[[Any], Awaitable[None]]:
    """Presses the keys, and waits for what they start."""

    async def lead(given: Any) -> None:
        app, pilot = given.app, SteadyPilot(given.app)
        await pilot.quiet()
        for step in steps:
            if step == "open":
                app.open_run(RUN)
            elif step == "inspect":
                app.open_inspector(RUN, "7")
            elif step == "go compare":
                await pilot.press("j", *["space"] * 4)
                app.action_go("compare")
            elif step.startswith("go "):
                app.run_id = RUN
                app.action_go(step.removeprefix("go "))
            elif step.startswith("type:"):
                await pilot.press(*step.removeprefix("type:"))
            else:
                await pilot.press(step)
            await pilot.quiet()
        _still(app)
        await pilot.quiet()

    return lead


def _still(app: SraclApp) -> None:
    """No blinking cursor, no measured time, no temporary folder."""
    from textual.widgets import Input, Static, TextArea

    for field in app.screen.query(Input):
        field.cursor_blink = False
    for area in app.screen.query(TextArea):
        area.cursor_blink = False
    for screen in app.screen_stack:
        if type(screen).__name__ == "SqlScreen":
            screen.query_one("#told", Static).update("rows, seconds")
    for field in app.screen.query("#path").results(Input):
        with app.screen.prevent(Input.Changed):
            field.value = Path(field.value).name


def sizes_of(screen: str) -> list[str]:
    """At which sizes a screen is drawn."""
    return ["120x40"] if screen in FEW else [*SIZES][: 2 if screen in SMALL else 3]


CASES = [
    pytest.param(screen, size, theme, id=f"{screen}-{size}-{theme}".replace(" ", "-").replace("'", ""))
    for screen in SCREENS
    for size in sizes_of(screen)
    for theme in THEMES
]


@pytest.mark.parametrize(("screen", "size", "theme"), CASES)
def test_picture(drawn: Callable[[str], SraclApp], snap_compare: Any, screen: str, size: str, theme: str) -> None:
    assert snap_compare(drawn(theme), terminal_size=SIZES[size], run_before=leads_to(SCREENS[screen]))
