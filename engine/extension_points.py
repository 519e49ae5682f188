"""Every kind of part that a setting names, and our entries of it. Imports none of them.

A new part of ours is its file and a line here; one of your own is its file alone (docs/extending.md).
"""

from __future__ import annotations

from engine.registry import Registry

BACKBONES = Registry(
    kind="backbone",
    where="model.backbone",
    group="sracl.backbones",
    base="engine.models.backbone:Backbone",
    ours={
        "sasrec": "engine.models.sasrec:SASRec",
        "gru4rec": "engine.models.gru4rec:GRU4Rec",
        "bert4rec": "engine.models.bert4rec:BERT4Rec",
        "bsarec": "engine.models.bsarec:BSARec",
        "ligr": "engine.models.ligr:LiGR",
        "dual": "engine.models.dual:Dual",
        "alpharec": "engine.models.alpharec:AlphaRec",
    },
    example="examples/own_backbone.py is one that works.",
)

OWN_LOSS = ("bert4rec", "alpharec")
"""Our backbones with a loss of their own, which nothing has to be imported to know."""

BACKENDS = Registry(
    kind="backend",
    where="retrieval.backend",
    group="sracl.retrieval",
    base="engine.retrieval.backend:Backend",
    ours={
        "exact": "engine.retrieval.backends:Exact",
        "annoy": "engine.retrieval.backends:Annoy",
        "faiss": "engine.retrieval.backends:Faiss",
    },
    example="docs/extending.md has one that works.",
)

PROVIDERS = Registry(
    kind="provider",
    where="semantics.provider",
    group="sracl.providers",
    base="engine.semantics.summaries.provider:RuleProvider",
    ours={
        "offline": "engine.semantics.summaries.sentence_provider:SentenceProvider",
        "titles": "engine.semantics.summaries.raw_text_provider:TitlesProvider",
    },
    example="docs/extending.md has one that works.",
    open=True,  # endpoints
)
"""Providers that ask no model. Their names are reserved: no endpoint may have one."""

ENCODERS = Registry(
    kind="encoder",
    where="semantics.encoder",
    group="sracl.encoders",
    base="engine.semantics.encoders.encoder:TextEncoder",
    ours={
        "minilm": "engine.semantics.encoders.local:MiniLM",
        "tfidf": "engine.semantics.encoders.local:TfidfEncoder",
    },
    example="docs/extending.md has one that works.",
    open=True,  # sentence-transformers models, and those of endpoints
)


def own_pooling(encoder: str) -> str | None:
    """The pooling that a model's authors use where its files do not say so: SimCSE's; None for all others.

    SimCSE (Gao et al., 2021) reads the pooler's output of its supervised models and the first token of the others.
    """
    name = encoder.rstrip("/").rpartition("/")[2].lower()
    return None if "simcse" not in name else "cls" if "unsup" in name else "pooler"


def encoder_identity(encoder: str) -> str:
    """What is hashed of an encoder's name: the name, with the pooling that it stands for."""
    identity, pooling = ENCODERS.identity_of(encoder), own_pooling(encoder)
    return f"{identity}+{pooling}" if pooling and not ENCODERS.has(encoder) and ":" not in encoder else identity


_READERS = "engine.data.readers"
READERS = Registry(
    kind="format",
    where="--format",
    group="sracl.readers",
    base=f"{_READERS}.base:Reader",
    ours={
        "recbole": f"{_READERS}.recbole:RecBole",
        "movielens": f"{_READERS}.movielens:MovieLens",
        "amazon": f"{_READERS}.json_lines:Amazon",
        "yelp": f"{_READERS}.json_lines:Yelp",
        "csv": f"{_READERS}.table:Csv",
        "tsv": f"{_READERS}.table:Tsv",
        "parquet": f"{_READERS}.table:Parquet",
        "jsonl": f"{_READERS}.json_lines:AnyJsonLines",
        "ratings": f"{_READERS}.ratings:Ratings",
        "sequences": f"{_READERS}.sequences:Sequences",
    },
    example="docs/extending.md has one that works.",
)
"""In the order in which they are tried, after installed ones."""

_SYNTHESIZERS = "engine.models.synthesizers"
SYNTHESIZERS = Registry(
    kind="synthesizer",
    where="synthesizer.kind",
    group="sracl.synthesizers",
    base=f"{_SYNTHESIZERS}:Synthesizer",
    ours={
        "gat": f"{_SYNTHESIZERS}:GAT",
        "gatv2": f"{_SYNTHESIZERS}:GATv2",
        "dot": f"{_SYNTHESIZERS}:ScaledDot",
        "mlp": f"{_SYNTHESIZERS}:MLP",
        "uniform": f"{_SYNTHESIZERS}:Uniform",
        "softmax-cosine": f"{_SYNTHESIZERS}:SoftmaxCosine",
        "random": f"{_SYNTHESIZERS}:RandomPick",
        "top1": f"{_SYNTHESIZERS}:Top1",
        "frozen": f"{_SYNTHESIZERS}:Frozen",
    },
    example="docs/extending.md has one that works.",
)
