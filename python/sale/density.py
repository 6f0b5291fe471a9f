# SPDX-License-Identifier: Apache-2.0
"""How much of the visible blocks a mask keeps."""

from __future__ import annotations

from sale import _attention, _tensor
from sale.types import Policy, Problem, Shape


def visible_blocks(problem: Problem, policy: Policy, shape: Shape) -> int:
    """Blocks of [block_q, block_k] in which some query sees some key, of one head of one sequence."""
    total = 0
    for first in range(0, shape.q_len, policy.block_q):
        last = min(first + policy.block_q, shape.q_len) - 1
        first_position = shape.kv_len - shape.q_len + first
        last_position = shape.kv_len - shape.q_len + last
        end = min(last_position + 1, shape.kv_len) if problem.causal else shape.kv_len
        begin = max(0, first_position - problem.sliding_window + 1) if problem.sliding_window else 0
        total += -(-end // policy.block_k) - begin // policy.block_k
    return total


def density(mask, problem: Problem, policy: Policy, shape: Shape):
    """Kept share of the visible blocks of a mask, a torch tensor of 32-bit words. A torch scalar: nothing waits."""
    import torch

    counts = torch.tensor([bin(byte).count("1") for byte in range(256)], dtype=torch.float32, device=mask.device)
    kept = counts[mask.view(torch.uint8).long()].sum(dtype=torch.float64)
    return kept / (visible_blocks(problem, policy, shape) * shape.batch * problem.num_q_heads)


def attention_and_density(q, k, v, *, policy: Policy, **arguments):
    """sale.attention of torch tensors, and the density of its mask."""
    import torch

    views = [_tensor.view(each, name) for each, name in ((q, "q"), (k, "k"), (v, "v"))]
    sinks = arguments.pop("sink_logits", None)
    problem = _attention.problem_of(*views, sink_logits=sinks is not None, **arguments)
    shape = Shape(q.shape[0], q.shape[2], k.shape[2])
    with torch.cuda.device(q.device):
        words = _attention.plan_for(views[0].device, problem, policy).mask_words(shape)
    mask = torch.zeros(words, dtype=torch.int32, device=q.device)
    out = _attention.attention(q, k, v, policy=policy, sink_logits=sinks, mask_out=mask, **arguments)
    return out, density(mask, problem, policy, shape)
