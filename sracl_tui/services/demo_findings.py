"""What the three runs of `sracl demo` show, in sentences about these trained models and nothing else."""

from __future__ import annotations

from sracl_tui.services.comparison import compare_runs
from store.database.database import Store

METRIC = "hr@20"
CAVEATS = (
    "These sentences are about these three trained models, one seed each. They say nothing about the methods: another seed "
    "gives other models.",
    "The demo set is made for SRA-CL: its texts tell by construction what is bought next, and it has too many items for its few "
    "customers to tell it. A gain here shows that this tool can see a gain, not that there is one in real data.",
)


def findings(store: Store, *, backbone: str, sracl: str, swapped: str) -> list[str]:
    """Sentences on hits among the first 20 items, compared pairwise over the users, and what they do not say.

    Args:
        backbone, sracl, swapped: ids of the finished runs.

    Raises:
        ConfigError: the runs cannot be compared.
    """
    found = compare_runs(store, [backbone, sracl, swapped], split="test", all_pairs=True)
    run_of = {seed_set.label: seed_set.run_ids[0] for seed_set in found.sets}
    hits = {s.run_ids[0]: round(s.mean(METRIC) * found.users) for s in found.sets}
    users = found.users
    more: dict[tuple[str, str], tuple[float, float]] = {}
    for test in found.tests:
        if test.metric == METRIC:
            a, b, low, high = run_of[test.a], run_of[test.b], test.ci_low * users, test.ci_high * users
            more[b, a], more[a, b] = (low, high), (-high, -low)
    return [
        f"SRA-CL has the next item among its first 20 for {hits[sracl]} of {users} users, the plain backbone for {hits[backbone]}: "
        f"{_more(hits[sracl] - hits[backbone], more[sracl, backbone])}.",
        f"SRA-CL with the texts swapped between items has it for {hits[swapped]}: "
        f"{_more(hits[swapped] - hits[sracl], more[swapped, sracl])} than with the items' own texts, and "
        f"{_more(hits[swapped] - hits[backbone], more[swapped, backbone])} than the plain backbone.",
        *CAVEATS,
    ]


def _more(count: int, interval: tuple[float, float]) -> str:
    """`22 users more (95 % interval over users: 4 to 40 more)`, or that the interval contains 0."""
    low, high = interval
    if low <= 0 <= high:
        told = "no user more or fewer" if not count else f"{_users(abs(count))} {'more' if count > 0 else 'fewer'}"
        return f"{told}, which may be chance (95 % interval: {-low:.0f} fewer to {high:.0f} more)"
    word, ends = ("more", (low, high)) if low > 0 else ("fewer", (-high, -low))
    return f"{_users(abs(count))} {word} (95 % interval: {ends[0]:.0f} to {ends[1]:.0f})"


def _users(count: int) -> str:
    return f"{count} user{'' if count == 1 else 's'}"
