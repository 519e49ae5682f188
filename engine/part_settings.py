"""The settings of the parts that training objectives are made of: one section for each part, `parts.<name>`.

The two contrasts of SRA-CL are older than this tree: their settings stand in `loss` and `synthesizer`, and
`parts.inter.weight` and `parts.intra.weight` are other names of `loss.alpha` and `loss.beta`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from engine.sections import Hash, Section


class PartSettings(Section):
    """What every part has. Those of a part of your own are a subclass."""

    weight: float = Field(default=1.0, ge=0.0)
    """Factor of this loss in the sum; 0 switches the part off."""


SAMPLED = ("bce", "ss", "gbce")
"""Recommendation losses that score the target and sampled negatives alone."""


class RecSettings(PartSettings):
    """L_rec, the recommendation loss."""

    loss: Annotated[Literal["ce", "bce", "ss", "gbce"], Hash(omit_default=True)] = "ce"
    """Cross-entropy over all items (`ce`), or over the target and sampled negatives (`ss`), or binary cross-entropy of
    target and negatives (`bce`), or gSASRec's correction of it (`gbce`). Not of a backbone with a loss of its own (bert4rec)."""
    negatives: Annotated[int, Hash(only_with=("loss", SAMPLED))] = Field(default=256, ge=1)
    """Items sampled for each target: uniform, with replacement, never the target itself (bce, ss, gbce)."""
    gbce_t: Annotated[float, Hash(only_with=("loss", ("gbce",)))] = Field(default=0.75, ge=0.0, le=1.0)
    """gbce: from 0, binary cross-entropy, to 1, no overconfidence left."""


class PartsConfig(Section):
    """A section for each of our parts; a part of your own has its own section, checked when its method is loaded."""

    model_config = ConfigDict(extra="allow")

    rec: RecSettings = RecSettings()
    """The recommendation loss."""

    @model_validator(mode="after")
    def _tables(self) -> PartsConfig:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"parts.{name} must be a table of settings, not {value!r}")
        return self

    def given(self, name: str) -> dict[str, Any]:
        """What is set for a part that is not ours, unchecked."""
        return dict((self.model_extra or {}).get(name, {}))
