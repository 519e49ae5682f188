"""`sracl study`: claims, declared before they are run, and verdicts on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import AllowCodeOption, Commands, DebugOption, HomeOption, JsonOption
from sracl_tui.cli.study_output import outcome_document, print_plan, print_verdicts, progress
from store.untrusted_text import shown

app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="rich", help="Claims, runs that test them, and verdicts."
)
StudyArgument = Annotated[
    str, typer.Argument(help="Name of a study, or the path of a .toml file.", metavar="STUDY", show_default=False)
]
DatasetOption = Annotated[
    list[str] | None, typer.Option("--dataset", help="A data set in place of the study's; repeatable.")
]
ClaimOption = Annotated[
    list[str] | None, typer.Option("--claim", metavar="NAME", help="Only this claim's runs; repeatable.")
]
SeedsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Seeds 1 to N of each variant, in place of the declared number.")
]


@app.command("list")
def list_(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """List the shipped studies and those of the home, with the verdicts so far.

    \b
    Examples:
      sracl study list
      sracl study list --json
    """
    from sracl_tui.studies.library import study_files
    from sracl_tui.studies.parsing import read_study
    from store.queries.studies import verdict_counts

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        counts = verdict_counts(store)
    rows: list[dict[str, Any]] = []
    for file in study_files(resolved):
        row: dict[str, Any] = {"study": file.name, "shipped": file.shipped, "path": str(file.path), "problem": None}
        try:
            study = read_study(file.path)
        except ConfigError as error:
            row |= {"title": None, "claims": None, "datasets": [], "problem": error.message}
        else:
            row |= {"title": study.title, "claims": len(study.claims), "datasets": list(study.datasets)}
        rows.append(row | {"verdicts": counts.get(file.name, {})})
    if json_:
        options_and_output.print_json(rows)
        return
    cells = [
        (
            row["study"],
            "" if row["claims"] is None else str(row["claims"]),
            ", ".join(row["datasets"]),
            ", ".join(f"{count} {word}" for word, count in row["verdicts"].items()) or "-",
            row["title"] or f"not valid: {row['problem'].splitlines()[0]}",
        )
        for row in rows
    ]
    out = options_and_output.out()
    out.print(options_and_output.table(("study", "claims:r", "data", "verdicts", "what it asks"), cells))
    hint = f"`sracl study show STUDY` lists its claims. Your own: .toml files in {resolved.path / 'studies'}."
    options_and_output.talk().print(hint, markup=False, highlight=False)


@app.command()
def show(
    study: StudyArgument,
    toml: Annotated[bool, typer.Option("--toml", help="Print the file itself, to copy and change.")] = False,
    dataset: DatasetOption = None,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show what a study claims, which question each claim answers, and the runs that it takes.

    \b
    Examples:
      sracl study show sracl-paper
      sracl study show quick --toml > mine.toml
    """
    from sracl_tui.studies.library import find_study
    from sracl_tui.studies.planning import datasets_to_read, make_plan
    from sracl_tui.studies.show import show_document

    resolved = options_and_output.home_of(home)
    found = find_study(resolved, study)
    if toml:
        options_and_output.print_json({"toml": found.text}) if json_ else typer.echo(shown(found.text), nl=False)
        return
    with options_and_output.open_store(resolved) as store:
        document = show_document(make_plan(found, store, datasets_named=dataset or datasets_to_read(found, store)))
    if json_:
        options_and_output.print_json(document)
        return
    out = options_and_output.out()
    out.print(f"{found.name}: {found.title}", style="bold", markup=False, highlight=False)
    if found.about:
        out.print(found.about, markup=False, highlight=False)
    for claim in document["claims"]:
        out.print(f"\n{claim['claim']}: {claim['sentence']}", markup=False, highlight=False, style="bold")
        lines = [
            claim["question"] and f"question: {claim['question']}",
            claim["source"] and f"source: {claim['source']}",
        ]
        if claim["not_run"]:
            lines.append(f"not run: {claim['not_run']}")
        else:
            lines += [f"expects: {claim['expects']}", f"runs: {claim['runs']}", f"command: {claim['command']}"]
        for line in filter(None, lines):
            out.print(f"  {line}", markup=False, highlight=False)
    out.print(f"\n{document['seeds_text']}", markup=False, highlight=False)


@app.command()
def plan(
    study: StudyArgument,
    dataset: DatasetOption = None,
    claim: ClaimOption = None,
    seeds: SeedsOption = None,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say before anything is spent: runs needed and those that exist, hours, dollars, and what so many seeds can show.

    \b
    Examples:
      sracl study plan quick
      sracl study plan sracl-paper --dataset office --json
      sracl study plan sracl-paper --claim gain --seeds 2
    """
    from sracl_tui.studies.estimate import estimate
    from sracl_tui.studies.judging import judge_study, power_of
    from sracl_tui.studies.library import find_study
    from sracl_tui.studies.planning import make_plan, plan_document

    resolved = options_and_output.home_of(home)
    found = find_study(resolved, study)
    with options_and_output.open_store(resolved) as store:
        made = make_plan(found, store, datasets_named=dataset or (), claims_named=claim or (), seeds=seeds)
        estimated, most = estimate(made, store), None
        if seeds is None and found.seeds.looks > 1:
            whole = make_plan(
                found, store, datasets_named=dataset or (), claims_named=claim or (), seeds=found.seeds.cap
            )
            most = {
                "runs": len(whole.runs),
                "to_do": len(whole.to_do()),
                "hours": round(estimate(whole, store).hours, 3),
            }
        power = power_of(made, judge_study(made, store), store)
    power = [one for one in power if one.claim in made.selected]
    if json_:
        options_and_output.print_json(
            {"study": found.name, "sha256": found.sha256, "datasets": list(made.datasets)}
            | plan_document(made)
            | {"estimate": estimated.document(), "until_decided_at_most": most, "power": [vars(one) for one in power]}
            | {
                "not_run": [
                    {"claim": c.claim.name, "dataset": c.dataset, "reason": c.reason} for c in made.claims if c.reason
                ]
            }
        )
        return
    print_plan(made, estimated, power, most)


@app.command()
def run(
    study: StudyArgument,
    dataset: DatasetOption = None,
    claim: ClaimOption = None,
    seeds: SeedsOption = None,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add seeds to undecided claims by the study's rule, up to its cap.")
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="CLAIM=VERDICT", help="Exit with 1 where the verdict is another one; repeatable."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Cap on what calls of a run may cost.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of a bar: for logs and CI.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Put the runs into the queue and return; run it again for the verdicts.")
    ] = False,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run what is missing, through the queue, and judge the claims.

    The file's hash is recorded before the first run. Finished runs of equal settings are reused and never run again; interrupted
    ones continue. ctrl+c ends the waiting, not the runs: enter the command again to wait for them.

    \b
    Examples:
      sracl study run quick
      sracl study run quick --headless --require gain=supported
      sracl study run sracl-paper --dataset office --claim gain --seeds 2
      sracl study run baselines --until-decided
    """
    from sracl_tui.studies.library import find_study
    from sracl_tui.studies.running import Requirement, StudyOptions, run_study

    resolved = options_and_output.home_of(home)
    found = find_study(resolved, study)
    requirements = [Requirement.parse(text, found) for text in require or ()]
    options = StudyOptions(
        datasets=tuple(dataset or ()), claims=tuple(claim or ()), seeds=seeds, until_decided=until_decided,
        budget=budget,
    )  # fmt: skip
    try:
        with progress(headless) as report:
            outcome = run_study(resolved, found, options, report=report, wait=not no_wait)
    except KeyboardInterrupt:
        text = f"The runs go on in the queue. `sracl study run {study}` waits for them again; `sracl queue pause` starts no more."
        options_and_output.talk().print(text, markup=False, highlight=False)
        raise typer.Exit(130) from None
    unmet = [] if no_wait else [line for each in requirements for line in each.unmet(outcome.judgements)]
    if json_:
        options_and_output.print_json(outcome_document(outcome, unmet))
    elif not no_wait:
        print_verdicts(outcome.plan, outcome.judgements)
    talk = options_and_output.talk()
    for run_ in outcome.failed:
        row = run_.row
        assert row is not None
        text = f"{row['run_id']}: {run_.variant}, {run_.dataset}, seed {run_.seed} {row['state']}: {row['reason']}"
        talk.print(text, style="red", markup=False, highlight=False)
    for line in unmet:
        talk.print(f"required: {line}", style="red", markup=False, highlight=False)
    raise typer.Exit(1 if unmet or (outcome.failed and not no_wait) else 0)


@app.command()
def report(
    study: StudyArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File: .html (one file, all inside), .md or .tex.")
    ] = None,
    dataset: DatasetOption = None,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the report of a study: verdicts, forest plot, numbers with their commands, settings, versions and hashes.

    Without --out, STUDY.html in the current folder.

    \b
    Examples:
      sracl study report quick
      sracl study report quick --out quick.md
      sracl study report sracl-paper --dataset office --out table.tex
    """
    from sracl_tui.cli.export import check_out
    from sracl_tui.studies.library import find_study
    from sracl_tui.studies.report import make_report
    from sracl_tui.studies.report_files import FORMATS

    resolved = options_and_output.home_of(home)
    found = find_study(resolved, study)
    path = out or Path(f"{found.name}.html")
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path.name!r} is no report", where="--out", hint=f"Files: {', '.join(FORMATS)}.")
    check_out(path)
    with options_and_output.open_store(resolved) as store:
        made = make_report(found, store, datasets_named=dataset or ())
    _write(path, FORMATS[path.suffix.lower()](made))
    document = {"path": str(path), "study": found.name, "verdicts": made.counts}
    text = f"{path}: {made.counts_text}"
    options_and_output.print_done(document, text, json_=json_)


@app.command()
def export(
    study: StudyArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File: .csv or .json.", show_default=False)] = None,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="A row per variant and measure, in place of verdicts.")
    ] = False,
    dataset: DatasetOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write the verdicts of a study, or the numbers of its variants, as a table for other programs.

    A .json file has both.

    \b
    Examples:
      sracl study export quick --out verdicts.csv
      sracl study export quick --numbers --out numbers.csv
      sracl study export quick --out quick.json
    """
    from sracl_tui.cli.export import check_out
    from sracl_tui.studies.exports import as_csv, as_json
    from sracl_tui.studies.library import find_study
    from sracl_tui.studies.report import make_report

    if out is None:
        raise ConfigError("no file is named", where="--out", hint="--out FILE.csv or FILE.json.")
    if out.suffix.lower() not in (".csv", ".json"):
        raise ConfigError(f"{out.name!r} is neither .csv nor .json", where="--out")
    check_out(out)
    resolved = options_and_output.home_of(home)
    found = find_study(resolved, study)
    with options_and_output.open_store(resolved) as store:
        made = make_report(found, store, datasets_named=dataset or ())
    _write(out, as_json(made) if out.suffix.lower() == ".json" else as_csv(made, numbers=numbers))
    rows = len(made.numbers) if numbers else len(made.judgements)
    options_and_output.print_done({"path": str(out), "rows": rows}, f"{rows} rows are in {out}", json_=json_)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from None
