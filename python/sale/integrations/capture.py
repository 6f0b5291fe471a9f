# SPDX-License-Identifier: Apache-2.0
"""Q, K and V of every attention of a Hugging Face causal LM (transformers 4.56 or newer), as a prefill computes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sale_capture"


@dataclass(frozen=True)
class Captured:
    """One attention call: after rotary embedding, q [batch, num_q_heads, N, head_dim], k and v with the KV heads."""

    layer: int
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    softmax_scale: float
    variants: tuple[str, ...]  # what else the layer's attention does: "sliding window", "soft cap", "sinks"


def register(hear: Callable[[Captured], None]) -> None:
    """Makes NAME an attention that hands every call to `hear`, then computes it as "sdpa" does, with the same masks."""

    def attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
        window = kwargs.get("sliding_window") or getattr(module, "sliding_window", None) or 0
        variants = {
            "sliding window": 0 < window < key.shape[2],
            "soft cap": bool(kwargs.get("softcap")),
            "sinks": kwargs.get("s_aux") is not None,
        }
        scale = float(scaling) if scaling is not None else query.shape[3] ** -0.5
        named = tuple(name for name, there in variants.items() if there)
        hear(Captured(module.layer_idx, query, key, value, scale, named))
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def captured_by(model, hear: Callable[[Captured], None]):
    """While it is open, the model's attention calls go to `hear`."""
    before = model.config._attn_implementation
    register(hear)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
