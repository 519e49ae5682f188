"""The options of a command line or a form, and the run requests that they describe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.config import Config
from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs import own_code
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.runs.sweeps.grid import grid
from sracl_tui.runs.sweeps.variants import ABLATIONS, Variant, expand, read_variants, seeds_of, vary, with_seed
from store.home import Home


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that say which runs; named as those of `sracl run`."""

    configs: tuple[Path, ...] = ()
    dataset: str | None = None
    preset: str | None = None
    assignments: tuple[str, ...] = ()
    seed: int | None = None
    seeds: int | None = None
    name: str | None = None
    run_id: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    budget: float | None = None
    ablations: bool = False
    variants: Path | None = None
    vary: str | None = None
    grid: tuple[str, ...] = ()
    trials: int | None = None
    allow_degraded: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that have an option of their own."""
        given = {"dataset": self.dataset, "seed": self.seed, "budget": self.budget}
        return {key: value for key, value in given.items() if value is not None}

    @property
    def several(self) -> bool:
        """Whether it means variants of a config."""
        return bool(self.ablations or self.variants or self.vary or self.grid)

    def allow_code(self, home: Home) -> None:
        """Allow the code that the files of settings name, where these are one's own."""
        for path in (*self.configs, *filter(None, [self.variants])):
            own_code.allow_settings(home, path)

    def config(self) -> tuple[Config, str]:
        """The common settings and the name of their preset.

        Raises:
            ConfigError: with every problem at once.
        """
        return load_config(preset=self.preset, files=self.configs, assignments=self.assignments, settings=self.settings)

    def requests(self) -> list[RunRequest]:
        """The runs.

        Raises:
            ConfigError: a config is not valid, or options exclude each other.
        """
        return [replace(request, allow_degraded=self.allow_degraded) for request in self._requests()]

    def _requests(self) -> list[RunRequest]:
        if self.seed is not None and self.seeds is not None:
            raise ConfigError("give one of --seed and --seeds", where="--seeds")
        if self.trials is not None and not self.grid:
            raise ConfigError("there is nothing to draw from", where="--trials", hint="Give values with --grid.")
        if self.run_id is not None and (self.several or (self.seeds or 1) > 1):
            raise ConfigError("one id cannot name several runs", where="--run-id")
        config, preset = self.config()
        if not self.several:
            return self._plain(config, preset)
        variants, common = self._variants()
        named_seeds, shared = seeds_of(common)
        return expand(
            variants,
            files=self.configs,
            assignments=self.assignments,
            settings=self.settings,
            preset=self.preset,
            common=shared,
            seeds=range(1, self.seeds + 1) if self.seeds else named_seeds,
            group=self.group,
            tags=self.tags,
        )

    def _variants(self) -> tuple[list[Variant], dict[str, Any]]:
        """The variants and the settings that hold for all of them."""
        if self.ablations + (self.variants is not None) + (self.vary is not None) + bool(self.grid) > 1:
            raise ConfigError("give one of --ablations, --variants, --vary and --grid", where="run")
        if self.grid:
            return grid(self.grid, self.trials), {}
        if self.vary is not None:
            return vary(self.vary), {}
        return read_variants(self.variants or ABLATIONS)

    def _plain(self, config: Config, preset: str) -> list[RunRequest]:
        """One run, or one per seed."""
        seeds, group = self.seeds, self.group
        if seeds and group is None:
            group = f"{config.data.dataset}-{preset}-{config.config_hash()[:6]}"
        return [
            RunRequest(
                run_id=new_run_id() if self.run_id is None else self.run_id,
                config=with_seed(config, number),
                preset=preset,
                name=f"{self.name}-{number}" if self.name and seeds else self.name,
                group=group,
                tags=self.tags,
                note=self.note,
            )
            for number in (range(1, seeds + 1) if seeds else [config.train.seed])
        ]
