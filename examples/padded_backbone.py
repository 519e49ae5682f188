"""A Transformer from elsewhere as a backbone: torch.nn.TransformerEncoder over padded batches.

sracl run --set model.backbone=examples/padded_backbone.py:Encoder
"""

from torch import nn

from engine.models.padded_backbone import PaddedBackbone, blocked_attention


class Encoder(PaddedBackbone):
    """Post-norm layers with a causal mask and learned positions."""

    causal = True  # a state depends on its item and earlier ones alone: train.mode = "sequence" may use it

    def __init__(self, config, *, items, max_length):
        super().__init__(config, items=items, max_length=max_length)
        self.heads = config.heads
        self.positions = nn.Embedding(max_length, config.width)
        layer = nn.TransformerEncoderLayer(config.width, config.heads, config.inner, config.dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)

    def encode(self, items, mask):
        x = self.embed(items) + self.positions.weight  # (B, n, D); the last item is always at n - 1
        return self.encoder(x, blocked_attention(mask, causal=True, heads=self.heads))
