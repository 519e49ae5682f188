"""Every setting that training reads changes something; the others are named with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.config import Config, flatten
from engine.evaluation import evaluator
from engine.events import EpochFinished
from engine.models.backbone import Backbone

CONSTANT = {"lr": 1e-12, "epochs": 4, "patience": 2}
"""Validation stays as it is."""
ICSREC = {"method": "icsrec", "parts.intent.clusters": 4}
CL4SREC = {"method": "cl4srec"}
COSEREC = {"method": "coserec"}
MCLREC = {"method": "mclrec"}
CON, GEN = {"method": "rlmrec-con"}, {"method": "rlmrec-gen"}
LLMESR = {"method": "llm-esr"}
S3REC = {"method": "s3rec", "parts.mip.epochs": 1}
COUNTS = {
    # path: (another value, where it shows, settings under which it is seen)
    "data.max_length": (3, "losses", {}),
    "model.width": (16, "losses", {}),
    "model.layers": (1, "losses", {}),
    "model.heads": (4, "losses", {}),
    "model.inner": (16, "losses", {}),
    "model.dropout": (0.1, "losses", {}),
    "model.attention_dropout": (0.1, "losses", {}),
    "model.backbone": ("gru4rec", "losses", {}),
    "model.mask": (0.7, "losses", {"backbone": "bert4rec"}),
    "model.filter_mix": (0.2, "losses", {"backbone": "bsarec"}),
    "model.filter_bands": (1, "losses", {"backbone": "bsarec"}),
    "model.loss_negatives": (3, "losses", {"method": "alpharec"}),
    "model.loss_temperature": (0.5, "losses", {"method": "alpharec"}),
    "model.padding": ("random", "weights", {}),
    "method.name": ("plain", "losses", {}),
    "method.parts": (["rec", "intra"], "losses", {}),
    "parts.rec.weight": (0.5, "losses", {}),
    "parts.rec.loss": ("bce", "losses", {}),
    "parts.rec.chunk": (2, "losses", {}),
    "parts.rec.negatives": (3, "losses", {"parts.rec.loss": "ss"}),
    "parts.rec.gbce_t": (0.2, "losses", {"parts.rec.loss": "gbce", "parts.rec.negatives": 3}),
    "parts.same_target.weight": (0.5, "losses", {"method": "duorec"}),
    "parts.same_target.temperature": (0.5, "losses", {"method": "duorec"}),
    "parts.same_target.similarity": ("cosine", "losses", {"method": "duorec"}),
    "parts.same_target.positive": ("last", "losses", {"method": "duorec"}),
    "parts.same_target.kin": (True, "losses", {"method": "duorec"}),
    "parts.augmented.weight": (0.5, "losses", CL4SREC),
    "parts.augmented.temperature": (0.5, "losses", CL4SREC),
    "parts.augmented.similarity": ("cosine", "losses", CL4SREC),
    "parts.augmented.operators": (["crop", "mask"], "losses", CL4SREC),
    "parts.augmented.choice": ("independent", "losses", CL4SREC),
    "parts.augmented.crop": (0.3, "losses", CL4SREC),
    "parts.augmented.mask": (0.6, "losses", CL4SREC),
    "parts.augmented.reorder": (0.9, "losses", CL4SREC),
    "parts.augmented.insert": (0.9, "losses", COSEREC),
    "parts.augmented.substitute": (0.9, "losses", COSEREC),
    "parts.augmented.short_length": (9, "losses", COSEREC),
    "parts.augmented.short_operators": (["mask"], "losses", COSEREC),
    "parts.augmented.warmup": (0, "losses", COSEREC | {"width": 2}),
    "parts.augmented.representation": ("states", "losses", CL4SREC),
    "parts.meta.weight": (0.5, "losses", MCLREC),
    "parts.meta.temperature": (0.5, "losses", MCLREC),
    "parts.meta.similarity": ("cosine", "losses", MCLREC),
    "parts.meta.margin": (0.5, "losses", MCLREC),
    "parts.intent.weight": (0.5, "losses", ICSREC),
    "parts.intent.temperature": (0.5, "losses", ICSREC),
    "parts.intent.similarity": ("cosine", "losses", ICSREC),
    "parts.intent.clusters": (5, "losses", ICSREC),
    "parts.intent.kin": (False, "losses", ICSREC),
    "parts.intent.representation": ("mean", "losses", ICSREC | {"method": "iclrec"}),
    "parts.intent.pair": ("same_target", "losses", ICSREC | {"method": "iclrec"}),
    "parts.align.weight": (0.5, "losses", CON),
    "parts.align.temperature": (0.5, "losses", CON),
    "parts.reconstruct.weight": (0.5, "losses", GEN),
    "parts.reconstruct.temperature": (0.2, "losses", GEN),
    "parts.reconstruct.mask": (0.5, "losses", GEN),
    "parts.distill.weight": (0.5, "losses", LLMESR),
    "parts.mip.weight": (0.5, "losses", S3REC),
    "parts.mip.epochs": (2, "losses", S3REC),
    "parts.mip.mask": (0.6, "losses", S3REC),
    "parts.mip.form": ("single", "losses", S3REC),
    "parts.mip.reduction": ("sum", "losses", S3REC),
    "parts.sp.weight": (0.9, "losses", S3REC),
    "parts.aap.weight": (0.9, "losses", S3REC),
    "parts.aap.fields": (["brand"], "losses", S3REC),
    "parts.aap.floor": (7, "losses", S3REC),
    "parts.map.weight": (0.5, "losses", S3REC),
    "synthesizer.kind": ("dot", "losses", {}),
    "synthesizer.weight_dropout": (0.2, "losses", {}),
    "synthesizer.item_kind": ("synthesize", "losses", {}),
    "loss.alpha": (0.5, "losses", {}),
    "loss.beta": (0.5, "losses", {}),
    "loss.temperature": (0.3, "losses", {}),
    "loss.direction": ("one-way", "losses", {}),
    "loss.swap": (0.7, "losses", {}),
    "train.epochs": (2, "epochs", {}),
    "train.batch": (16, "losses", {}),
    "train.mode": ("sequence", "losses", {}),
    "train.precision": ("bfloat16", "losses", {}),
    "train.lr": (0.01, "losses", {}),
    "train.sparse_adam": (True, "losses", {"parts.rec.loss": "ss", "parts.rec.negatives": 3}),
    "train.weight_decay": (0.1, "losses", {}),
    "train.patience": (1, "epochs", CONSTANT),
    "train.select": ("hr@20", "epochs", {"epochs": 4}),
    "train.select_digits": (1, "epochs", {"epochs": 4}),
    "train.tie_improves": (True, "epochs", CONSTANT),
    "train.seed": (2, "losses", {}),
    "evaluate.ks": ([5, 10], "names", {}),
    "evaluate.metrics": (["hr", "mrr"], "names", {}),
    "evaluate.mask_seen": (True, "ranks", {}),
    "evaluate.ties": ("best", "ranks", {}),
}
ELSEWHERE = {
    "data.dataset", "data.max_users", "data.drop_titles", "data.swap_titles",
    "semantics.provider", "semantics.llm", "semantics.unit", "semantics.prompt", "semantics.encoder", "semantics.pooling",
    "semantics.vector",
    "semantics.budget",
    "retrieval.k", "retrieval.item_k", "retrieval.pool", "retrieval.similarity", "retrieval.backend", "retrieval.trees",
    "retrieval.search_k",
}  # fmt: skip
"""Read before the training begins: these shape the dataset and the semantics that it is given."""
WITHOUT_EFFECT = {"train.device", "train.threads", "train.processes", "record.snapshots", "record.users"}
"""What may change the time that a training takes, or what it tells, but not its result."""


def test_every_setting_is_in_one_of_the_lists():
    lists = [*COUNTS, *ELSEWHERE, *WITHOUT_EFFECT]
    assert sorted(lists) == sorted(flatten(Config().model_dump()))


@pytest.fixture
def rounded(monkeypatch):
    """Scores in evaluation rounded, so that there are ties."""
    scores = Backbone.scores
    monkeypatch.setattr(
        Backbone, "scores", lambda self, h: scores(self, h) if self.training else scores(self, h).round(decimals=1)
    )


@pytest.fixture
def rising(monkeypatch):
    """Every user's rank is 9 after the first epoch, 8 after the second, ...: MRR rises, and HR@20 is always 1."""
    ranks = {}

    def rank(backbone, windows, dataset, ids, config):
        ranks[backbone] = ranks.get(backbone, 10) - 1
        return np.full(len(ids), ranks[backbone], np.int32)

    monkeypatch.setattr(evaluator, "rank_targets", rank)


@pytest.fixture
def categories(world):
    """Six items in each of four categories, besides their brands."""
    items = world.dataset.items
    attributes = [own | {"category": [f"category {number % 4}"]} for number, own in enumerate(items.attributes)]
    world.dataset = replace(world.dataset, items=replace(items, attributes=attributes))


FIXTURES = {f"parts.aap.{leaf}": "categories" for leaf in ("fields", "floor")}
FIXTURES |= {"evaluate.ties": "rounded", "train.select": "rising", "train.select_digits": "rising"}


@pytest.mark.parametrize("path", COUNTS)
def test_setting_changes_something(run, path, request):
    value, where, under = COUNTS[path]
    settings = {"epochs": 1} | under
    if path in FIXTURES:
        request.getfixturevalue(FIXTURES[path])
    before, after = run(**settings), run(**(settings | {path: value}))
    assert path in after.trainer.config.differences(before.trainer.config)
    assert before.trace[where] != after.trace[where]


def test_every_synthesizer_trains_differently(run):
    kinds = ("gat", "gatv2", "dot", "mlp", "uniform", "softmax-cosine", "random", "top1", "frozen")
    losses = {kind: run(kind=kind, epochs=2, lr=0.05).values("train")[-1]["loss"] for kind in kinds}
    assert len(set(losses.values())) == len(kinds)


def test_one_contrast_alone_reports_the_other_as_zero(run):
    for off, on in (("alpha", "is"), ("beta", "cs")):
        made = run(**{off: 0.0}, epochs=1)
        values = {m.name: m.value for m in made.of(EpochFinished)[0].metrics}
        other = {"is": "cs", "cs": "is"}[on]
        assert values[f"loss_{on}"] > 0
        assert values[f"loss_{other}"] == 0
