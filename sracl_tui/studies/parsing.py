"""Reads the TOML file of a study, strictly: all problems are reported together, each with its line."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from engine import metric_registry
from engine.config import Config, flatten
from engine.errors import ConfigError
from sracl_tui.services.comparison import PROTOCOL
from sracl_tui.studies.definition import MEASURES, Claim, Direction, SeedRule, Study, Variant, place
from store.regular_file import read_regular

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
USERS = ("all", "tied", "untied", "short", "medium", "long", "head", "tail")
STUDY_KEYS = ("title", "about", "datasets", "metric", "seeds", "settings", "variants", "claims", "also")
SEED_KEYS = ("first", "add", "cap")
VARIANT_KEYS = ("about", "preset", "runs")
CLAIM_KEYS = (
    "sentence", "variant", "against", "metric", "direction", "margin", "users", "datasets", "question", "source", "not_run",
)  # fmt: skip
MOST_SEEDS = 1000
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'-]+?)\s*=")


def read_study(path: Path) -> Study:
    """The study of a file, which is called like the file.

    Raises:
        ConfigError: with every problem at once.
    """
    try:
        data = read_regular(path)
        text = data.decode("utf-8")
        tree = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), hint="`sracl study list` shows the studies.") from None
    except (ValueError, OSError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f"{path}:{line[1]}" if line else str(path)
        raise ConfigError(f"not readable as TOML: {error}", where=where) from None
    return _Reader(path, text, tree).study(hashlib.sha256(data).hexdigest())


def key_lines(text: str) -> dict[str, int]:
    """Line of each table and key of a TOML text, by its dotted path."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = ".".join(part.strip().strip("\"'") for part in header[1].split("."))
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            name = key[1].strip("\"'")
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


class _Reader:
    """Checks a tree and gathers what is wrong with it."""

    def __init__(self, path: Path, text: str, tree: dict[str, Any]) -> None:
        self.path, self.text, self.tree = path, text, tree
        self.lines = key_lines(text)
        self.problems: list[str] = []

    def wrong(self, key: str, message: str) -> None:
        """Note a problem of a key."""
        self.problems.append(f"{place(self.path, self.lines, key)}: {key}: {message}")

    def study(self, sha256: str) -> Study:
        """The study; raises with all problems."""
        tree = self.tree
        if not NAME.fullmatch(self.path.stem):
            self.problems.append(f"{self.path}: the file's name cannot name a study: use letters, digits, . _ and -")
        self._known("", tree, STUDY_KEYS)
        metric = self._text(tree, "metric", "ndcg@20")
        self._check_metric("metric", metric)
        variants = self._variants()
        study = Study(
            name=self.path.stem, path=self.path, reference=self.path.stem, text=self.text, sha256=sha256,
            title=self._text(tree, "title", ""), about=self._text(tree, "about", ""),
            datasets=self._names(tree, "datasets", "datasets", ("demo",)), metric=metric, seeds=self._seeds(),
            settings=self._table(tree, "settings", "settings"), variants=variants,
            claims=self._claims(metric, variants), also=self._variant_names("also", variants), lines=self.lines,
        )  # fmt: skip
        if not study.title:
            self.wrong("title", "say in one line what the study asks")
        if not self.problems:
            self._check_configs(study)
        if self.problems:
            raise ConfigError(
                "\n".join(self.problems),
                where=f"study {self.path.stem}",
                hint="docs/studies.md describes the file; `sracl study show quick --toml` prints one that works.",
            )
        return study

    def _known(self, prefix: str, tree: dict[str, Any], known: Iterable[str]) -> None:
        known = list(known)
        for key in tree:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
                self.wrong(f"{prefix}{key}", f"there is no such key ({hint})")

    def _table(self, tree: dict[str, Any], name: str, path: str) -> dict[str, Any]:
        found = tree.get(name, {})
        if isinstance(found, dict):
            return found
        self.wrong(path, f"it is a table, [{path}], not {found!r}")
        return {}

    def _text(self, tree: dict[str, Any], key: str, default: str, path: str = "") -> str:
        value = tree.get(key, default)
        if isinstance(value, str) and (value.strip() or value == default):
            return value.strip()
        self.wrong(path or key, f"it is a text, not {value!r}")
        return default

    def _names(self, tree: dict[str, Any], key: str, path: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = tree.get(key, list(default))
        if isinstance(value, list) and value and all(isinstance(one, str) and one for one in value):
            if len(set(value)) == len(value):
                return tuple(value)
            self.wrong(path, f"a name comes twice in {value!r}")
        else:
            self.wrong(path, f'it is a list of names such as ["office"], not {value!r}')
        return default

    def _variant_names(self, key: str, variants: dict[str, Variant]) -> tuple[str, ...]:
        if key not in self.tree:
            return ()
        names = self._names(self.tree, key, key, ("",))
        for name in names:
            if name and name not in variants:
                self.wrong(key, self._no_variant(name, variants))
        return tuple(name for name in names if name in variants)

    def _no_variant(self, name: Any, variants: Iterable[str]) -> str:
        close = get_close_matches(str(name), list(variants), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(variants) or 'none'}"
        return f"there is no variant {name!r} ({hint})"

    def _seeds(self) -> SeedRule:
        found = self.tree.get("seeds", 5)
        if isinstance(found, int) and not isinstance(found, bool):
            found = {"first": found}
        if not isinstance(found, dict):
            self.wrong("seeds", f"it is a number, or a table with first, add and cap, not {found!r}")
            return SeedRule(first=1)
        self._known("seeds.", found, SEED_KEYS)
        numbers = {"first": 5, "add": 0, "cap": 0}
        for name in SEED_KEYS:
            value = found.get(name, numbers[name])
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_SEEDS:
                self.wrong(f"seeds.{name}", f"it is a number of seeds from 0 to {MOST_SEEDS}, not {value!r}")
            else:
                numbers[name] = value
        first, add, cap = (numbers[name] for name in SEED_KEYS)
        if first < 1:
            self.wrong("seeds.first", "a study has at least one seed")
        if bool(add) != bool(cap) or (cap and cap <= first):
            self.wrong(
                "seeds.cap", f"to add seeds, give both `add` and a `cap` above first = {first}; to add none, neither"
            )
        return SeedRule(first=max(first, 1), add=add, cap=cap) if not self.problems else SeedRule(first=1)

    def _variants(self) -> dict[str, Variant]:
        found: dict[str, Variant] = {}
        tables = self._table(self.tree, "variants", "variants")
        if not tables:
            self.wrong("variants", "name at least one variant: [variants.NAME]")
        for name, table in tables.items():
            path = f"variants.{name}"
            if not NAME.fullmatch(name):
                self.wrong(path, "a variant's name has letters, digits, . _ and - only")
                continue
            if not isinstance(table, dict):
                self.wrong(path, f"a variant is a table, [{path}], not {table!r}")
                continue
            own = {key: self._text(table, key, "", f"{path}.{key}") or None for key in VARIANT_KEYS if key in table}
            settings = {key: value for key, value in table.items() if key not in VARIANT_KEYS}
            if own.get("runs") and (settings or own.get("preset")):
                self.wrong(f"{path}.runs", "runs that exist have their own settings: leave the others out")
            about = own.pop("about", None) or ""
            found[name] = Variant(name=name, about=about, settings=settings, **own)
        return found

    def _claims(self, metric: str, variants: dict[str, Variant]) -> dict[str, Claim]:
        found: dict[str, Claim] = {}
        tables = self._table(self.tree, "claims", "claims")
        if not tables:
            self.wrong("claims", "make at least one claim: [claims.NAME]")
        for name, table in tables.items():
            path = f"claims.{name}"
            if not NAME.fullmatch(name):
                self.wrong(path, "a claim's name has letters, digits, . _ and - only")
            elif not isinstance(table, dict):
                self.wrong(path, f"a claim is a table, [{path}], not {table!r}")
            else:
                found[name] = self._claim(name, path, table, metric, variants)
        return found

    def _claim(self, name: str, path: str, table: dict[str, Any], metric: str, variants: dict[str, Variant]) -> Claim:
        self._known(f"{path}.", table, CLAIM_KEYS)
        texts = {
            key: self._text(table, key, "", f"{path}.{key}") for key in ("sentence", "question", "source", "not_run")
        }
        if not texts["sentence"]:
            self.wrong(f"{path}.sentence", "say what is claimed, in a sentence")
        metric = self._text(table, "metric", metric, f"{path}.metric")
        if "not_run" not in table:
            self._check_sides(path, table, variants)
        if "metric" in table:
            self._check_metric(f"{path}.metric", metric)
        direction: Any = table.get("direction", "higher")
        if direction not in get_args(Direction):
            self.wrong(f"{path}.direction", f"it is {', '.join(get_args(Direction))}, not {direction!r}")
        users = table.get("users", "all")
        if users not in USERS:
            self.wrong(f"{path}.users", f"there are {', '.join(USERS)}, not {users!r}")
        elif users != "all" and metric in MEASURES:
            self.wrong(f"{path}.users", f"{metric} has no value for each user: leave `users` out")
        margin, relative = self._margin(f"{path}.margin", table)
        against = table.get("against")
        datasets = self._names(table, "datasets", f"{path}.datasets", ("demo",)) if "datasets" in table else None
        return Claim(
            name=name, variant=str(table.get("variant", "")), against=against if isinstance(against, str) else None,
            value=float(against) if isinstance(against, int | float) else None, metric=metric, direction=direction,
            margin=margin, relative=relative, users=str(users), datasets=datasets, **texts,
        )  # fmt: skip

    def _check_sides(self, path: str, table: dict[str, Any], variants: dict[str, Variant]) -> None:
        variant, against = table.get("variant"), table.get("against")
        if not isinstance(variant, str):
            self.wrong(f"{path}.variant", "name the variant that the sentence is about")
        elif variant not in variants:
            self.wrong(f"{path}.variant", self._no_variant(variant, variants))
        if isinstance(against, str):
            if against not in variants:
                self.wrong(f"{path}.against", self._no_variant(against, variants))
            elif against == variant:
                self.wrong(f"{path}.against", f"{against!r} is compared with itself")
        elif isinstance(against, bool) or not isinstance(against, int | float) or not math.isfinite(against):
            self.wrong(f"{path}.against", f"it is the variant or the number to compare with, not {against!r}")

    def _margin(self, path: str, table: dict[str, Any]) -> tuple[float, bool]:
        value = table.get("margin")
        if value is None:
            if "not_run" not in table:
                self.wrong(path, 'say which difference would not matter, such as 0.002 or "5 %"')
            return 0.0, False
        share = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
        if share is not None and float(share[1]) > 0:
            if not isinstance(table.get("against"), str):
                self.wrong(path, "a share is one of the other variant's mean: give a number where there is none")
            return float(share[1]) / 100, True
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            self.wrong(path, f'it is a positive number, or a share such as "5 %", not {value!r}')
            return 0.0, False
        return float(value), False

    def _check_metric(self, path: str, metric: str) -> None:
        if metric in MEASURES:
            return
        name, k = metric_registry.split_name(metric)
        problem = metric_registry.problem_of(name)
        if problem is not None:
            close = get_close_matches(metric, [*MEASURES, *metric_registry.METRICS], n=1)
            hint = f"did you mean {close[0]}?" if close else f"measures of runs: {', '.join(MEASURES)}"
            self.wrong(path, f"{problem} ({hint})")
        elif metric_registry.definition_of(metric) is None:
            self.wrong(
                path, f"{name} {'takes no cutoff' if k else 'needs a cutoff, such as'} {name}{'' if k else '@20'}"
            )

    def _check_configs(self, study: Study) -> None:
        """Build every variant once; then compare the protocols of the two sides of each claim."""
        if (
            study.metric in MEASURES
            or not (primary := metric_registry.definition_of(study.metric))
            or not primary.per_user
        ):
            self.wrong("metric", f"the primary metric has a value for each user, such as ndcg@20, not {study.metric!r}")
        for key in ("dataset", "data.dataset", "seed", "train.seed", "preset"):
            if key in study.settings:
                self.wrong(f"settings.{key}", "data sets, seeds and presets are keys of the study and its variants")
        configs: dict[str, Config] = {}
        for name, variant in study.variants.items():
            if variant.runs is None:
                try:
                    configs[name] = study.config(name, study.datasets[0])[0]
                except ConfigError as error:
                    for line in error.message.splitlines():
                        self.wrong(f"variants.{name}", line)
        for claim in study.claims.values():
            self._check_claim_configs(claim, configs)

    def _check_claim_configs(self, claim: Claim, configs: dict[str, Config]) -> None:
        path = f"claims.{claim.name}"
        sides = [configs[name] for name in claim.variants if name in configs]
        _, k = metric_registry.split_name(claim.metric)
        for name, config in zip(claim.variants, sides, strict=False):
            if claim.metric not in MEASURES and k and k not in config.evaluate.ks:
                self.wrong(
                    f"{path}.metric", f"{claim.metric} is not measured by {name}: ks is {list(config.evaluate.ks)}"
                )
        if len(sides) == 2:
            if sides[0].config_hash() == sides[1].config_hash():
                self.wrong(
                    f"{path}.against",
                    f"{claim.variant} and {claim.against} have the same settings: there is nothing to compare",
                )
            flats = [flatten(side.model_dump(mode="json")) for side in sides]
            for setting in PROTOCOL:
                if flats[0][setting] != flats[1][setting]:
                    values = f"{flats[0][setting]} and {flats[1][setting]}"
                    self.wrong(
                        f"{path}.against",
                        f"{claim.variant} and {claim.against} have different protocols: {setting} is {values}",
                    )
