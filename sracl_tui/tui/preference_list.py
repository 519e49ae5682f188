"""What a person can set of the app: each preference with its help and its choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sracl_tui.services.population import ORDERS


@dataclass(frozen=True)
class Setting:
    """A preference; without choices it is a list that is arranged."""

    name: str
    """Field of `Preferences`."""
    section: str
    title: str
    help: str
    choices: Mapping[object, str] = field(default_factory=dict)
    """Text by value; the first one is the default."""


SWITCH: Mapping[object, str] = {False: "no", True: "yes"}
SETTINGS = (
    Setting(
        "theme",
        "colors",
        "theme",
        "Background and colors; ctrl+t switches, too.",
        {"sracl-dark": "dark", "sracl-light": "light"},
    ),
    Setting(
        "palette",
        "colors",
        "palette",
        "Colors that color-blind people can tell apart: blue for good and vermilion for bad, curves after Okabe and Ito.",
        {"standard": "standard", "colorblind": "colorblind"},
    ),
    Setting("columns", "list of runs", "columns", "Columns of the list and their order (C on Runs)."),
    Setting("panes", "list of runs", "panes", "What stands beside the list from 120 columns on (p on Runs)."),
    Setting(
        "pane_widths", "list of runs", "widths of panes", "Sized by < and > or by dragging on Runs; z takes them back."
    ),
    Setting(
        "folded", "list of runs", "fold seeds", "Seeds of one configuration in a group as one row (f on Runs).", SWITCH
    ),
    Setting(
        "plots",
        "curves",
        "plots of a run",
        "Losses and a metric, or one of them at full size (p on Run).",
        {"both": "both", "losses": "losses", "metrics": "metrics"},
    ),
    Setting(
        "smoothing",
        "curves",
        "smoothing",
        "Weight of the exponential moving average (w where curves are).",
        {0: "none", 1: "0.5", 2: "0.8", 3: "0.95"},
    ),
    Setting("logarithmic", "curves", "logarithmic losses", "A logarithmic axis (o where curves are).", SWITCH),
    Setting(
        "run_tab",
        "screens",
        "Run opens with",
        "The first tab of the screen Run.",
        {"curves": "curves", "log": "log", "settings": "settings", "machine": "machine"},
    ),
    Setting("order", "screens", "users in the Inspector", "The order in which [ and ] walk (s there).", {**ORDERS}),
    Setting(
        "compare_order",
        "screens",
        "users in Compare",
        "Which users stand first (s there).",
        {"change": "biggest change", "won": "biggest winners", "lost": "biggest losers"},
    ),
    Setting(
        "notices",
        "notifications",
        "runs notify of",
        "What is shown in the app when a run ends or is in trouble; bell, desktop and webhook are set in alerts.toml.",
        {"all": "everything", "trouble": "trouble alone", "none": "nothing"},
    ),
    Setting(
        "notice_seconds",
        "notifications",
        "they stay for",
        "How long such a notification is shown.",
        {12: "12 s", 5: "5 s", 30: "30 s", 120: "2 min"},
    ),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}
