"""Loads sentence-transformers models with the pooling that is asked for. Legend: B texts, L tokens, S size of a vector.

sentence-transformers takes the mean of the token vectors where a model's files name no pooling, which is not what every model
was trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import SemanticsError

HUB_SECONDS = 10.0
"""Timeout of the question whether the model hub has a model."""
OWN_CONFIG = "modules.json"
"""Names the modules of a sentence-transformers model, its pooling among them."""


def has_own_pooling(source: str) -> bool:
    """Whether the files of a model, by name or folder, say how it pools; false also for one that is not on this machine."""
    if Path(source).is_dir():
        return (Path(source) / OWN_CONFIG).exists()
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(source, OWN_CONFIG), str)


def load_model(source: str, pooling: str | None) -> Any:
    """A model with `encode` and `get_embedding_dimension`, as sentence-transformers has them.

    Args:
        source: a name or a folder.
        pooling: `mean`, `cls` or `pooler`; None leaves what sentence-transformers takes.

    Raises:
        SemanticsError: the model is not here and cannot be downloaded, or has no pooler.
    """
    if pooling == "pooler":
        return _PoolerModel(source)
    from sentence_transformers import SentenceTransformer

    model = _from_here_or_hub(source, lambda local: SentenceTransformer(source, local_files_only=local))
    if pooling is None:
        return model
    from sentence_transformers.sentence_transformer.modules import Pooling

    mode: Any = pooling  # its type lists more modes than ours
    modules: list[Any] = [model[0], Pooling(model[0].get_embedding_dimension(), mode)]
    return SentenceTransformer(modules=modules)


class _PoolerModel:
    """A model that is read by its `pooler_output`: the first token's state through the layer that was trained on it."""

    def __init__(self, source: str) -> None:
        from sentence_transformers.util import get_device_name
        from transformers import AutoModel, AutoTokenizer

        def load(local: bool) -> tuple[Any, Any, dict[str, Any]]:
            model, report = AutoModel.from_pretrained(source, local_files_only=local, output_loading_info=True)
            return AutoTokenizer.from_pretrained(source, local_files_only=local), model, report

        self._tokenizer, model, report = _from_here_or_hub(source, load)
        if getattr(model, "pooler", None) is None or any("pooler" in name for name in report["missing_keys"]):
            raise SemanticsError(
                f"the text encoder {source!r} has no trained pooler",
                where="semantics.pooling",
                hint="Use pooling=cls or pooling=mean.",
            )
        self._model = model.eval().to(get_device_name())
        longest = getattr(model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length
        reserved = model.config.pad_token_id + 1 if model.config.model_type in ("roberta", "xlm-roberta") else 0
        self._longest = min(longest - reserved, self._tokenizer.model_max_length)

    def get_embedding_dimension(self) -> int:
        """S."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: list[str], *, batch_size: int, **_: Any) -> NDArray[np.float32]:
        """Vectors (B, S); a text longer than the model's window is truncated."""
        import torch

        parts = [np.zeros((0, self.get_embedding_dimension()), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                batch = self._tokenizer(
                    texts[start : start + batch_size],
                    padding=True,
                    truncation=True,
                    max_length=self._longest,
                    return_tensors="pt",
                ).to(self._model.device)
                parts.append(self._model(**batch).pooler_output.float().cpu().numpy())
        return np.concatenate(parts)


def _from_here_or_hub(source: str, load: Callable[[bool], Any]) -> Any:
    """What `load` returns from the files on this machine, or else from the model hub; its argument is whether only local files count."""
    if Path(source).is_dir():
        return load(True)
    try:
        return load(True)
    except (OSError, ValueError):
        _ask_hub(source)
        return load(False)


def _ask_hub(name: str) -> None:
    """Check once that the model can be downloaded: without a network the libraries would retry for more than a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=HUB_SECONDS)
    except Exception as error:
        raise SemanticsError(
            f"the text encoder {name!r} is not on this computer and cannot be downloaded: {first_line(error)}",
            where="semantics.encoder",
            hint="Without a network, name a folder that contains the model, or use minilm, which is installed.",
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not empty, or its type."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
