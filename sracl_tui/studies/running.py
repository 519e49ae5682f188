"""Runs a study through the queue: declares it, adds what is missing, waits, judges, and adds seeds where its rule says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ConfigError
from sracl_tui.runs import resume_check
from sracl_tui.runs.execution import queue as run_queue
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.studies.definition import Study
from sracl_tui.studies.judging import Judgement, judge_study
from sracl_tui.studies.planning import Plan, PlannedRun, finished_before, make_plan, removed_text
from store.database.database import Store
from store.errors import StoreError
from store.home import Home
from store.journal.journal import end_of
from store.opening import open_store
from store.publishing.liveness import lives
from store.publishing.publish import publish
from store.queries import studies
from store.queue import Queue

POLL_SECONDS = 0.5
NEWS_SECONDS = 60.0
"""Between two lines that say which runs are running: a log that is silent for long is taken for one that hangs."""
Report = Callable[[str], None]
"""Takes a line for people."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What is run of a study, beside what its file says."""

    datasets: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    seeds: int | None = None
    until_decided: bool = False
    budget: float | None = None
    """Cap on what calls of a run may cost, in US dollars."""


@dataclass
class StudyOutcome:
    """What a study has come to."""

    study: Study
    plan: Plan
    judgements: list[Judgement]
    failed: list[PlannedRun] = field(default_factory=list)
    looks: int = 1


@dataclass(frozen=True)
class Requirement:
    """`CLAIM=VERDICT` or `CLAIM@DATASET=VERDICT`."""

    claim: str
    dataset: str
    verdict: str

    @classmethod
    def parse(cls, text: str, study: Study) -> Requirement:
        """Read one from the command line.

        Raises:
            ConfigError: it is malformed, or names no claim or verdict.
        """
        name, equals, verdict = (part.strip() for part in text.partition("="))
        claim, _, dataset = name.partition("@")
        words = ("supported", "contradicted", "equivalent", "undecided", "not run")
        verdict = verdict.replace("-", " ")
        if not equals or verdict not in words:
            raise ConfigError(
                f"{text!r} is not CLAIM=VERDICT", where="--require", hint=f"Verdicts: {', '.join(words)}."
            )
        if claim not in study.claims:
            raise ConfigError(
                f"study {study.name} has no claim {claim!r}",
                where="--require",
                hint=f"Claims: {', '.join(study.claims)}.",
            )
        return cls(claim, dataset, verdict)

    def unmet(self, judgements: Sequence[Judgement]) -> list[str]:
        """What does not hold, a sentence for each data set; also where the claim was not judged on the data set."""
        found = [
            one for one in judgements if one.claim.name == self.claim and self.dataset in ("", one.planned.dataset)
        ]
        if not found:
            return [f"{self.claim} was not judged on {self.dataset or 'any data set'}"]
        return [
            f"{one.planned.name} is {one.text}, not {self.verdict}: {one.reason}"
            for one in found
            if one.outcome != self.verdict
        ]


def run_study(
    home: Home, study: Study, options: StudyOptions, *, report: Report, wait: bool = True, poll: float = POLL_SECONDS
) -> StudyOutcome:
    """Bring a study to its verdicts. Finished runs are never run again; interrupted ones continue.

    Raises:
        ConfigError: options that the study does not allow; nothing is run.
        StoreError: the home cannot be written.
        KeyboardInterrupt: asked to stop waiting; the runs go on in the queue.
    """
    if options.until_decided and study.seeds.looks == 1:
        raise ConfigError(
            f"study {study.name} declares no rule that adds seeds",
            where="--until-decided",
            hint="Declare `add` and `cap` under [seeds] in a copy of its file, before the first run.",
        )
    more: dict[tuple[str, str], int] = {}
    looks = 0
    while True:
        with open_store(home) as store:
            plan = _plan(study, store, options, more)
            _declare(home, store, plan)
        waited = _start(home, plan, options, report)
        if wait and waited:
            _wait(home, plan, waited, report, poll)
        with suppress(StoreError):
            publish(home, wait=5.0)
        with open_store(home) as store:
            plan = _plan(study, store, options, more)
            judgements = judge_study(plan, store)
        looks += 1
        failed = [
            run
            for run in plan.runs
            if run.row is not None and run.row["state"] in ("failed", "stopped", "killed", "lost")
        ]
        outcome = StudyOutcome(study, plan, judgements, failed, looks)
        if not wait:
            return outcome
        added = _more_seeds(plan, judgements) if options.until_decided and not failed else {}
        if not added:
            break
        more |= added
        report(f"undecided: seeds are added by the declared rule, up to {max(added.values())} of {study.seeds.cap}")
    rows = [one.row(study) for one in outcome.judgements if one.claim.name in plan.selected]
    studies.record_verdicts(home, study=study.name, sha256=study.sha256, verdicts=rows)
    return outcome


def _plan(study: Study, store: Store, options: StudyOptions, more: dict[tuple[str, str], int]) -> Plan:
    return make_plan(
        study,
        store,
        datasets_named=options.datasets,
        claims_named=options.claims,
        seeds=options.seeds,
        more_seeds=more,
    )


def _declare(home: Home, store: Store, plan: Plan) -> None:
    """Record the claims that are new, or were changed since they were declared last."""
    study = plan.study
    known = studies.declared_fingerprints(store, study.name)
    undeclared = [
        planned
        for planned in plan.claims
        if (planned.claim.name, planned.dataset, study.fingerprint(planned.claim)) not in known
    ]
    finished = finished_before(study, store, undeclared)
    fresh = [
        {
            "claim": planned.claim.name,
            "dataset": planned.dataset,
            "sentence": planned.claim.sentence,
            "fingerprint": study.fingerprint(planned.claim),
            "seeds": sum(finished.get((name, planned.dataset), 0) for name in planned.claim.variants),
        }
        for planned in undeclared
    ]
    if fresh:
        studies.declare(home, study=study.name, sha256=study.sha256, text=study.text, claims=fresh)


def _start(home: Home, plan: Plan, options: StudyOptions, report: Report) -> dict[str, PlannedRun]:
    """Put what is missing into the queue, and start it; the runs to wait for by id."""
    waited = {run.run_id: run for run in plan.to_do() if run.status == "open" and run.run_id is not None}
    fresh: list[PlannedRun] = []
    again: dict[str, PlannedRun] = {}
    for run in plan.to_do():
        if run.status == "interrupted" and run.run_id is not None and _continues(home, run.run_id):
            again[run.run_id] = run
        elif run.status in ("missing", "interrupted"):
            fresh.append(run)
    if again:
        run_queue.enqueue_again(home, list(again))
    requests = [_request(plan, run, options) for run in fresh]
    added, _ = run_queue.enqueue(home, requests, force=True) if requests else ([], [])
    waited |= again | {request.run_id: run for request, run in zip(added, fresh, strict=True)}
    finished = len(plan.runs) - len(waited)
    report(
        f"{len(plan.runs)} runs: {finished} finished, {len(waited) - len(fresh) - len(again)} running or queued, "
        f"{len(again)} continued, {len(fresh)} new"
    )
    if text := removed_text(plan):
        report(text)
    if waited:
        queue = Queue(home)
        if queue.paused:
            report("the queue was paused: it is started")
        if not queue.works_elsewhere():
            run_queue.start(home)
    return waited


def _continues(home: Home, run_id: str) -> bool:
    """Whether an interrupted run may continue: neither code nor settings have changed since it began."""
    folder = home.run_folder(run_id)
    try:
        resume_check.check(folder, RunRequest.read(folder))
    except ConfigError:
        return False
    return True


def _request(plan: Plan, run: PlannedRun, options: StudyOptions) -> RunRequest:
    config = run.config
    if options.budget is not None:
        semantics = config.semantics.model_copy(update={"budget": options.budget})
        config = config.model_copy(update={"semantics": semantics})
    prefix = f"{run.dataset}-" if len(plan.datasets) > 1 else ""
    return RunRequest(
        run_id=new_run_id(),
        config=config,
        preset=run.preset,
        name=f"{prefix}{run.variant}-{run.seed}",
        group=group_name(plan.study.name),
        note=f"study {plan.study.name}",
    )


def group_name(study: str) -> str:
    """The group of the runs that a study of this name adds."""
    return f"study-{study}"


def _wait(home: Home, plan: Plan, waited: dict[str, PlannedRun], report: Report, poll: float) -> None:
    """Wait until none of the runs lives or waits in the queue."""
    total, pending, paused = len(plan.runs), dict(waited), False
    told = time.monotonic()
    while pending:
        queue = Queue(home)
        active = queue.active()
        for run_id in [run_id for run_id in pending if run_id not in active and not lives(home, run_id)]:
            run = pending.pop(run_id)
            end = end_of(home.run_folder(run_id)) or {}
            line = f"{total - len(pending)}/{total}: {run.variant}, {run.dataset}, seed {run.seed} ({run_id})"
            report(f"{line} {end.get('state') or 'ended'}{_seconds(end)}")
        if pending and queue.paused and not paused:
            report("the queue is paused: `sracl queue start` goes on")
        paused = queue.paused
        if pending and not paused and not queue.slots():
            with suppress(StoreError, OSError):
                run_queue.start_workers(home)  # where they have died
        if pending and time.monotonic() - told >= NEWS_SECONDS:
            told = time.monotonic()
            _tell_running(home, pending, report)
        if pending:
            time.sleep(poll)


def _tell_running(home: Home, pending: dict[str, PlannedRun], report: Report) -> None:
    """Say which runs are running, and at which epoch; nothing where the store cannot be read now."""
    with suppress(StoreError), open_store(home, ingest=False) as store:
        epochs = studies.running(store, list(pending))
        if epochs:
            named = [(pending[run_id], epoch) for run_id, epoch in epochs.items()]
            texts = [
                f"{run.variant}, seed {run.seed}, after epoch {epoch} of {run.config.train.epochs}"
                for run, epoch in named
            ]
            report(f"running: {'; '.join(texts)}; {len(pending) - len(epochs)} wait")


def _seconds(end: dict[str, Any]) -> str:
    """` after 61 s`, where the run says how long it took."""
    total = (end.get("timings") or {}).get("total")
    return "" if total is None else f" after {total:.0f} s"


def _more_seeds(plan: Plan, judgements: Sequence[Judgement]) -> dict[tuple[str, str], int]:
    """By the declared rule: the next number of seeds for the variants of each claim that is still undecided."""
    added: dict[tuple[str, str], int] = {}
    for one in judgements:
        if one.planned not in plan.runnable or one.outcome != "undecided":
            continue
        keys = [(name, one.planned.dataset) for name in one.claim.variants]
        keys = [key for key in keys if key not in plan.given]
        now = min((plan.seeds[key] for key in keys), default=0)
        following = [step for step in plan.study.seeds.steps() if step > now]
        if keys and following:
            added |= {key: max(following[0], added.get(key, 0)) for key in keys}
    return {key: count for key, count in added.items() if count > plan.seeds[key]}
