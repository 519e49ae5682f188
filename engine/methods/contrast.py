"""The contrast that CL4SRec, CoSeRec, ICLRec, DuoRec, MCLRec and ICSRec have in common. Legend: B anchors of a batch, D width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.methods.base import Anchors
from engine.models.losses import info_nce
from engine.part_settings import ContrastSettings


def contrast(settings: ContrastSettings, batch: Anchors, rows: Tensor, partners: Tensor, kin: Tensor | None) -> Tensor:
    """Symmetric InfoNCE of rows and their partners (B, D) each, as a part has it set.

    Args:
        kin: (B,) equal numbers for prefixes that are no negatives of each other, besides those of the batch's `group_ids`.
    """
    if settings.similarity == "cosine":
        rows, partners = F.normalize(rows, dim=1), F.normalize(partners, dim=1)
    groups = [group for group in (batch.group_ids, kin) if group is not None]
    group_ids = torch.stack(groups, 1) if len(groups) > 1 else groups[0] if groups else None
    return info_nce(rows, partners, temperature=settings.temperature, symmetric=True, group_ids=group_ids)
