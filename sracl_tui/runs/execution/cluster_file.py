"""`cluster.toml` in the home: what a cluster needs to execute runs. It is part of no run's settings and of no hash."""

from __future__ import annotations

import tomllib

from pydantic import Field, ValidationError

from engine.errors import ConfigError
from engine.sections import Section
from store.home import Home
from store.regular_file import read_regular

FILE = "cluster.toml"


class Slurm(Section):
    """`[slurm]`: how runs become jobs of Slurm."""

    jobs: int = Field(default=4, ge=1, le=1000)
    """Jobs at a time; the others wait in the queue of the home."""
    partition: str | None = None
    """Partition of the jobs; None: the cluster's default."""
    options: tuple[str, ...] = ()
    """Further options of `sbatch`, such as `--gres=gpu:1` and `--time=12:00:00`."""
    setup: str = ""
    """Lines of a shell before each job, such as `source /shared/venv/bin/activate`; then `sracl` is looked for in the path."""
    warn_seconds: int = Field(default=60, ge=10, le=3600)
    """So long before the end of its time a job is asked to save; it is put into Slurm's queue again and goes on from there."""


class Ray(Section):
    """`[ray]`: how runs become actors of Ray."""

    address: str = "auto"
    """Of the cluster, as `ray.init` takes it; auto: the one that this machine belongs to."""
    jobs: int = Field(default=4, ge=1, le=1000)
    """Runs at a time; the others wait in the queue of the home."""
    cpus: float = Field(default=1, ge=0)
    """Cores that a run takes of its node."""
    gpus: float = Field(default=0, ge=0)
    """GPUs that a run takes of its node."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Further resources of Ray that a run takes, such as `{ "A100" = 1 }`."""
    setup: str = ""
    """Lines of a shell before each run, such as `source /shared/venv/bin/activate`; then `sracl` is looked for in the path."""


class Cluster(Section):
    """The settings of `cluster.toml`."""

    slurm: Slurm = Slurm()
    ray: Ray = Ray()


def read(home: Home) -> Cluster:
    """The settings of a home; the defaults where there is no file.

    Raises:
        ConfigError: with every problem of the file at once.
    """
    path = home.path / FILE
    try:
        return Cluster.model_validate(tomllib.loads(read_regular(path).decode()))
    except FileNotFoundError:
        return Cluster()
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors()]
        raise ConfigError(
            "\n".join(problems), where=str(path), hint="docs/tutorials/cluster.md has an example."
        ) from None
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=str(path)) from None
