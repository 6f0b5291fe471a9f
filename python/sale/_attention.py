# SPDX-License-Identifier: Apache-2.0
"""sale.attention: one function, with Engines and Plans kept from call to call."""

from __future__ import annotations

import functools
import threading
from dataclasses import replace
from typing import Any

from sale import _tensor
from sale.engine import Engine, Plan
from sale.tensors import Tensors
from sale.types import Policy, Problem, Shape

_preparing = threading.Lock()
_engine_options: dict[str, Any] = {}


def configure(**options: Any) -> None:
    """Options (of sale.Engine) for the Engines that sale.attention makes from now on, one per device. Those that it made
    before, and their kernels, are not used any more."""
    with _preparing:
        _engine_options.clear()
        _engine_options.update(options)
        _engine.cache_clear()
        _plan.cache_clear()


@functools.lru_cache(maxsize=None)
def _engine(device: int) -> Engine:
    return Engine(device, **_engine_options)


@functools.lru_cache(maxsize=256)
def _plan(device: int, problem: Problem, policy: Policy) -> Plan:
    return _engine(device).prepare(problem, policy)


def plan_for(device: int, problem: Problem, policy: Policy) -> Plan:
    """The Plan of this process for them; the first caller waits for kernels."""
    with _preparing:
        return _plan(device, problem, policy)


def problem_of(
    q: _tensor.View,
    k: _tensor.View,
    v: _tensor.View,
    causal: bool = True,
    scale: float | None = None,
    sliding_window: int = 0,
    softcap: float = 0.0,
    sink_logits: bool = False,
) -> Problem:
    """What the tensors [batch, heads, tokens, head_dim] and the arguments say of a model."""
    for name, each in (("q", q), ("k", k), ("v", v)):
        if len(each.shape) != 4:
            raise ValueError(f"{name} has shape {list(each.shape)}; it is [batch, heads, tokens, head_dim]")
    head_dim, v_head_dim = q.shape[3], v.shape[3]
    return Problem(
        dtype=q.dtype,
        head_dim=head_dim,
        v_head_dim=0 if v_head_dim == head_dim else v_head_dim,
        num_q_heads=q.shape[1],
        num_kv_heads=k.shape[1],
        causal=causal,
        softmax_scale=scale or 0.0,
        sliding_window=sliding_window,
        softcap=softcap,
        sink_logits=sink_logits,
    )


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    tau: float | None = None,
    policy: Policy | None = None,
    causal: bool = True,
    scale: float | None = None,
    sliding_window: int = 0,
    softcap: float = 0.0,
    sink_logits: Any = None,
    out: Any = None,
    lse: Any = None,
    mask_out: Any = None,
    workspace: Any = None,
    stream: int | None = None,
) -> Any:
    """Attention of q [batch, num_q_heads, q_len, head_dim] to k and v [batch, num_kv_heads, kv_len, head_dim], bf16 or
    f16 on a CUDA device, num_q_heads a multiple of num_kv_heads. Causal: query i sees keys up to kv_len - q_len + i.

    tau: relative-score threshold (arXiv 2505.24179), instead of the policy's; 0 keeps everything. Returns out, like q
    with the last dimension of v. Asynchronous on `stream`; with torch tensors that is torch's current stream, out and
    workspace come from torch, and nothing has to be given. Other arrays need out= and workspace= (Engine and Plan say
    how much). The first call of a kind compiles kernels, or loads them from the cache.
    """
    policy = policy or Policy()
    if tau is not None:
        policy = replace(policy, tau=float(tau), tau_per_head=())

    def run(stream: int) -> Any:
        views = [_tensor.view(each, name, stream) for name, each in (("q", q), ("k", k), ("v", v))]
        problem = problem_of(*views, causal, scale, sliding_window, softcap, sink_logits is not None)
        plan = plan_for(views[0].device, problem, policy)
        shape = Shape(views[0].shape[0], views[0].shape[2], views[1].shape[2])
        result, space = _outputs(q, v, out, workspace, plan, shape)
        more = {"lse": lse, "mask_out": mask_out, "sink_logits": sink_logits}
        plan.run(Tensors(q, k, v, result, space, **more), stream)
        return result

    if not _tensor.is_torch(q) or not q.is_cuda:
        return run(stream or 0)
    import torch

    with torch.cuda.device(q.device):
        return run(torch.cuda.current_stream().cuda_stream if stream is None else stream)


def _outputs(q: Any, v: Any, out: Any, workspace: Any, plan: Plan, shape: Shape) -> tuple[Any, Any]:
    """What the caller gave, else torch's memory."""
    if not _tensor.is_torch(q):
        if out is None or workspace is None:
            raise ValueError("out= and workspace= are needed, unless q is a tensor of torch")
        return out, workspace
    import torch

    if out is None:
        out = torch.empty((*q.shape[:3], v.shape[3]), dtype=q.dtype, device=q.device)
    if workspace is None:
        workspace = torch.empty(plan.workspace_bytes(shape), dtype=torch.uint8, device=q.device)
    return out, workspace
