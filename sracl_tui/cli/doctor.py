"""`sracl doctor`: paths, versions, and checks of the installation."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption


def doctor(
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a bug report, without keys or personal data."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="NAME",
            help="Also check from a node of this executor, such as slurm, that locks are shared.",
        ),
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print paths and versions, and check that the store, training, the text encoder and Annoy work.

    \b
    Examples:
      sracl doctor
      sracl doctor --json
      sracl doctor --on slurm           # may several machines use this home?
      sracl doctor --report report.txt
    """
    from sracl_tui.logs import path_of
    from sracl_tui.runs import environment

    resolved = options_and_output.home_of(home)
    facts = {
        "home": str(resolved.path),
        "database": str(resolved.database),
        "vectors": str(resolved.vectors),
        "runs": str(resolved.runs),
        "log": str(path_of(resolved)),
        "machine": environment.machine(),
        **environment.package_versions(),
    }
    elsewhere = (("shared locks", lambda: _shared_locks(resolved, on)),) if on is not None else ()
    checks = [
        _checked(name, check)
        for name, check in (
            ("store", lambda: _store(resolved)),
            ("training", _torch),
            ("encoder", _encoder),
            ("annoy", _annoy),
            ("keys", lambda: _keys(resolved)),
            ("privacy", lambda: _privacy(resolved)),
            ("own code", lambda: _own_code(resolved)),
            *elsewhere,
        )
    ]
    good = all(check["ok"] for check in checks)
    if report is not None:
        _write_report(resolved, report, facts, checks)
    if json_:
        options_and_output.print_json({**facts, "checks": checks, "ok": good})
    else:
        console = options_and_output.out()
        options_and_output.print_pairs(console, facts)
        for check in checks:
            mark, style = ("ok    ", "green") if check["ok"] else ("failed", "red")
            console.print(mark, style=style, end=" ", highlight=False)
            console.print(f"{check['name']}:", check["detail"], highlight=False)
    raise typer.Exit(0 if good else 4)


def _write_report(home: Any, path: Path, facts: dict[str, Any], checks: list[dict[str, Any]]) -> None:
    from sracl_tui.services.bug_report import text_of
    from store.errors import StoreError
    from store.queries.runs import list_runs

    try:
        with options_and_output.open_store(home) as store:
            rows = list_runs(store)
    except StoreError:  # the checks say why
        rows = []
    path.write_text(text_of(home, facts, checks, rows), "utf-8")
    options_and_output.talk().print(f"{path}: look through it before you send it.", markup=False, highlight=False)


def _checked(name: str, check: Callable[[], str]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        detail, ok = check(), True
    except Exception as error:  # whatever it is, it is the answer
        detail, ok = f"{type(error).__name__}: {error}", False
    return {"name": name, "ok": ok, "detail": detail, "seconds": round(time.perf_counter() - started, 2)}


def _store(home: Any) -> str:
    from store.publishing.publish import publish
    from store.queries import caches

    seconds = publish(home).seconds
    with options_and_output.open_store(home) as store:
        counts = caches.counts(store)
    return (
        ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        + f"; published in {seconds:.2f} s"
    )


def _keys(home: Any) -> str:
    from engine.errors import ConfigError
    from sracl_tui.redaction import permission_problem
    from sracl_tui.runs.alerts import alerts

    if trouble := permission_problem(home.path):
        raise ConfigError(trouble)
    webhook = alerts.read(home).webhook
    if webhook is not None:
        alerts.address(home, webhook)
    return "read by nobody else" if (home.path / ".env").exists() else "none in the home"


def _privacy(home: Any) -> str:
    """Homes of earlier versions could be read by everyone, with summaries and uncommitted code; they are left so."""
    mode = home.path.stat().st_mode & 0o777
    if mode & 0o077:
        return f"{home.path} can be read by others (mode {mode:o}); to change that: chmod 700 {home.path}"
    return "the home can be read by nobody else"


def _shared_locks(home: Any, on: str) -> str:
    """Two machines at one home are safe where each sees the other's locks and files: both are tried, from here and from a node."""
    from engine.errors import EngineError
    from sracl_tui.runs.execution import registry
    from sracl_tui.runs.execution.lock_probe import probe

    executor = registry.named(home, on, by="--on")
    found = probe(home, executor)
    if found.problems:
        raise EngineError(
            f"{'; '.join(found.problems)}: two machines could run one run, and lose what they publish",
            hint="Mount the folder with locks for all machines (Lustre: flock; NFS 4: without nolock, local_lock=none).",
        )
    return f"a lock held here is seen on {found.host}, one held there is seen here, and so are files"


def _own_code(home: Any) -> str:
    """Files of code that this home allows, and which of them are not as they were then."""
    from sracl_tui.runs import own_code

    files = {line.path for line in own_code.allowed(home)}
    changed = [path for path in sorted(files) if own_code.why_not(home, f"{path}:x") is not None]
    count = (
        f"{len(files):,} files of code by path are allowed ({home.path / own_code.FILE})"
        if files
        else "none is allowed"
    )
    return f"{count}{'; changed or gone since: ' if changed else ''}{', '.join(changed)}"


def _torch() -> str:
    import torch

    from engine.models.kernels import missing

    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA"
    why = missing()
    kernels = (
        f"no kernels of our own for the CPU, so a step takes longer: {why}"
        if why
        else "with kernels of our own for the CPU"
    )
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {cuda}, {kernels}"


def _encoder() -> str:
    from engine.semantics.encoders.registry import build_encoder

    vectors = build_encoder("minilm", []).encode(["a cast-iron skillet"])
    return f"minilm gives {vectors.shape[1]} numbers"


def _annoy() -> str:
    from annoy import AnnoyIndex

    index = AnnoyIndex(2, "angular")
    index.add_item(0, [1.0, 0.0])
    index.build(1)
    return f"finds {index.get_nns_by_vector([1.0, 0.0], 1)}"
