"""The bound of what is computed fast: no score is off by more, and what it leaves out is not among the first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.retrieval import coarse_scores
from engine.retrieval.coarse_scores import BFloat16Scores, CoarseScores, Float32Scores

KINDS = [Float32Scores, BFloat16Scores]


def drawn(seed: int, count: int, size: int, shift: float, scale: float) -> torch.Tensor:
    """Vectors that point into one half of the space by `shift`."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.1, 1.0, (count, 1))
    return torch.from_numpy(((rng.normal(size=(count, size)) * spread + shift) * scale).astype(np.float32))


def off(kind: type[CoarseScores], queries: torch.Tensor, candidates: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """By how much each score is off beyond what all scores of its query are, and the bound of that."""
    scorer = kind(candidates)
    out = torch.empty(len(queries), len(candidates), dtype=kind.dtype)
    scorer.write(queries, out)
    given = out.double().numpy()
    exact = queries.double().numpy() @ candidates.double().numpy().T
    shift = exact - queries.double().numpy() @ (candidates.mean(0).double().numpy() * (kind is BFloat16Scores))[:, None]
    rounding = torch.finfo(kind.dtype).eps / 2 * 1.01 * np.abs(given)
    return np.abs(given - shift), rounding + scorer.error(queries).numpy()[:, None]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 300),
    size=st.integers(1, 600),
    shift=st.sampled_from([0.0, 0.5, 20.0]),
    scale=st.sampled_from([1e-25, 1e-6, 1.0, 1e5]),
)
def test_no_score_is_off_by_more_than_its_bound(
    kind: type[CoarseScores], seed: int, count: int, size: int, shift: float, scale: float
) -> None:
    found, bound = off(kind, drawn(seed + 1, 9, size, shift, 1.0), drawn(seed, count, size, shift, scale))
    assert (found <= bound).all()


def test_the_bound_is_no_wider_than_it_has_to_be() -> None:
    """A wide one would hold, too, and leave too much to score again."""
    vectors = torch.nn.functional.normalize(drawn(1, 2000, 384, 0.3, 1.0), dim=1)
    found, bound = off(BFloat16Scores, vectors[:50], vectors)
    assert bound.max() < 0.01
    assert found.max() > bound.max() / 50


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_the_bound_leaves_out_is_not_among_the_first(kind: type[CoarseScores], sign: float) -> None:
    candidates, queries = drawn(3, 3000, 64, 0.2, 1.0), drawn(4, 40, 64, 0.2, sign)
    scorer = kind(candidates)
    out = torch.empty(len(queries), len(candidates), dtype=kind.dtype)
    scorer.write(queries, out)
    exact = queries.double() @ candidates.double().T
    for k in (1, 7, 2990):
        first = exact.topk(k, dim=1).indices
        bound = scorer.lowest(queries, out.float().topk(k, dim=1).values[:, -1])
        assert (out.float().gather(1, first) >= bound[:, None]).all()


def test_a_library_that_does_not_keep_to_the_bound_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def sloppy(self: BFloat16Scores, queries: torch.Tensor, out: torch.Tensor) -> None:
        out.zero_()
        for column, row in zip(queries.to(torch.bfloat16).T, self._columns, strict=True):
            out.addr_(column, row)  # sums in 8 bits

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert coarse_scores.has_bfloat16.__wrapped__()
    monkeypatch.setattr(BFloat16Scores, "write", sloppy)
    assert not coarse_scores.has_bfloat16.__wrapped__()
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not coarse_scores.has_bfloat16.__wrapped__()


def test_only_what_repays_the_rounding_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse_scores, "has_bfloat16", lambda: True)
    assert coarse_scores.pays(131_413, 384, k=100, queries=131_413)
    assert not coarse_scores.pays(10_000, 384, k=100, queries=10_000)
    assert coarse_scores.pays(38_543, 384, k=10, queries=38_543)
    assert not coarse_scores.pays(131_413, 384, k=10, queries=1)
    monkeypatch.setattr(coarse_scores, "has_bfloat16", lambda: False)
    assert not coarse_scores.pays(131_413, 384, k=10, queries=131_413)
