# SPDX-License-Identifier: Apache-2.0
"""sale::attention as a PyTorch operator, which torch.compile takes into its graphs whole.

    from sale.torch_op import attention
    out = torch.compile(lambda q, k, v: attention(q, k, v, tau=0.004))(q, k, v)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sale import _attention
from sale.types import Policy

_DEFAULT = Policy()


# A Policy by its fields: operators take numbers, texts and lists of them.
def _run(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    sink_logits: torch.Tensor | None,
    causal: bool,
    scale: float,
    sliding_window: int,
    softcap: float,
    estimator: str,
    block_q: int,
    block_k: int,
    sink: int,
    window: int,
    tau: float,
    tau_per_head: Sequence[float],
    shift_per_head: Sequence[float],
    estimate_dim: int,
    channels: Sequence[int],
    projection: Sequence[float],
    kbar: Sequence[float],
    prune_queries: bool,
    fp8_attend: bool,
    second_filter: bool,
    dense_below: int,
) -> torch.Tensor:
    policy = Policy(
        estimator=estimator,
        block_q=block_q,
        block_k=block_k,
        sink=sink,
        window=window,
        tau=tau,
        tau_per_head=tau_per_head,
        shift_per_head=shift_per_head,
        estimate_dim=estimate_dim,
        channels=channels,
        projection=projection,
        kbar=kbar,
        prune_queries=prune_queries,
        fp8_attend=fp8_attend,
        second_filter=second_filter,
        dense_below=dense_below,
    )
    return _attention.attention(
        q,
        k,
        v,
        policy=policy,
        causal=causal,
        scale=scale,
        sliding_window=sliding_window,
        softcap=softcap,
        sink_logits=sink_logits,
    )


_op = torch.library.custom_op("sale::attention", _run, mutates_args=(), device_types="cuda")


@_op.register_fake
def _(q, k, v, *_, **__):
    return q.new_empty((*q.shape[:3], v.shape[3]))


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    tau: float | None = None,
    policy: Policy | None = None,
    causal: bool = True,
    scale: float | None = None,
    sliding_window: int = 0,
    softcap: float = 0.0,
    sink_logits: torch.Tensor | None = None,
) -> torch.Tensor:
    """As sale.attention. No gradient: inference only."""
    p = _DEFAULT if policy is None else policy
    return _op(
        q,
        k,
        v,
        sink_logits=sink_logits,
        causal=causal,
        scale=0.0 if scale is None else scale,
        sliding_window=sliding_window,
        softcap=softcap,
        estimator=p.estimator,
        block_q=p.block_q,
        block_k=p.block_k,
        sink=p.sink,
        window=p.window,
        tau=p.tau if tau is None else tau,
        tau_per_head=list(p.tau_per_head) if tau is None else [],
        shift_per_head=list(p.shift_per_head),
        estimate_dim=p.estimate_dim,
        channels=list(p.channels),
        projection=list(p.projection),
        kbar=list(p.kbar),
        prune_queries=p.prune_queries,
        fp8_attend=p.fp8_attend,
        second_filter=p.second_filter,
        dense_below=p.dense_below,
    )
