"""A method of one's own: two random cuts of a window are to be encoded alike, as in CL4SRec.

sracl run --set method=examples/own_method.py:METHOD --set parts.crop.least=0.4
"""

import torch
from pydantic import Field

from engine.data.batching.windows import Runs
from engine.methods.base import Method, Part, PartSettings, View
from engine.models.losses import info_nce


class CropSettings(PartSettings):
    """`weight` is there already."""

    least: float = Field(default=0.6, gt=0, le=1)
    """Share of a window that a cut keeps, at least."""
    temperature: float = Field(default=1.0, gt=0)
    """InfoNCE temperature."""


class Crop(Part):
    """InfoNCE between two cuts of each window, and in how many anchors a cut lies nearest to its own other one."""

    name = "crop"  # parts.crop.weight in settings, loss_crop in metrics
    settings = CropSettings
    scales = ("parts.crop.temperature",)  # to raise where the loss is no longer a number

    def __init__(self, settings, *, context):
        super().__init__(settings, context=context)
        self.register_buffer("counts", torch.zeros(2))  # anchors, and those that are right; a checkpoint has it

    def views(self, batch):
        whole = batch.windows.anchor_runs(batch.ids)
        return View(self.cut(whole)), View(self.cut(whole))

    def cut(self, runs):
        shares = self.config.least + (1 - self.config.least) * torch.rand(len(runs), device=runs.starts.device)
        lengths = (shares * runs.lengths).long().clamp(min=1)  # (B,)
        first = (torch.rand(len(runs), device=runs.starts.device) * (runs.lengths - lengths + 1)).long()
        return Runs(runs.starts + first, lengths)

    def loss(self, batch, hidden):
        one, other = hidden  # (B, D) each
        nearest = (one.detach() @ other.detach().T).argmax(1)
        right = (nearest == torch.arange(len(batch), device=nearest.device)).sum()
        self.counts += torch.stack([torch.full_like(right, len(batch)), right])
        return info_nce(one, other, temperature=self.config.temperature, symmetric=True, group_ids=batch.group_ids)

    def metrics(self):
        anchors, right = self.counts.tolist()
        self.counts.zero_()
        return {"crops_matched": right / anchors if anchors else 0.0}


METHOD = Method(
    parts=("rec", Crop),
    defaults={"parts.crop.weight": 0.1},
    description="Contrasts two random cuts of a window",
    family="contrastive",
    passes="3",
    source="after Xie et al., ICDE 2022",
)
