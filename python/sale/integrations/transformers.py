# SPDX-License-Identifier: Apache-2.0
"""libsale as an attention of Hugging Face transformers (4.56 or newer):

    from sale.integrations import transformers as sale_transformers
    sale_transformers.register(tau=0.004)
    model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="sale", dtype=torch.bfloat16).cuda()

Prefill goes through libsale: causal attention without padding, bf16 or f16 on a CUDA device, at least `min_tokens`
queries. Everything else (decoding, short inputs, padded batches, training, head dimensions that libsale does not have)
is computed as transformers' "sdpa" would, with the model's own mask; report() says why, and a warning where nothing of a
model can be for libsale. GQA, sliding windows, soft caps and attention sinks are libsale's own. One registration for a
process; the latest counts.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter, defaultdict
from typing import Any

import torch

from sale.density import attention_and_density
from sale.policy_file import load_policy_file
from sale.torch_op import attention
from sale.types import Policy, Problem, validate

NAME = "sale"
HEAD_DIMS = (64, 96, 128, 192, 256)


@dataclasses.dataclass
class LayerReport:
    """What one layer's calls were, since register() or reset()."""

    sparse: int = 0  # calls through libsale
    other: int = 0  # calls that were not for it
    density: float | None = None  # of the sparse ones, mean; None unless register(measure_density=True)
    why: dict[str, int] = dataclasses.field(default_factory=dict)  # reason -> calls, of the others


class Attention:
    """transformers' attention function. Made by register()."""

    def __init__(
        self, policy: Policy, layer_policies: dict[int, Policy], min_tokens: int, measure_density: bool
    ) -> None:
        self.policy = policy
        self.layer_policies = layer_policies
        self.min_tokens = min_tokens
        self.measure_density = measure_density
        self._warned = False
        self.reset()

    def reset(self) -> None:
        self._sparse: Counter[int] = Counter()
        self._others: dict[int, Counter[str]] = defaultdict(Counter)
        self._densities: dict[int, list[Any]] = defaultdict(list)

    def report(self) -> dict[int, LayerReport]:
        """By layer. Waits for the device where densities were measured."""
        result = {}
        for layer in sorted({*self._sparse, *self._others}):
            each = [float(value) for value in self._densities[layer]]
            why = dict(self._others[layer])
            density = sum(each) / len(each) if each else None
            result[layer] = LayerReport(self._sparse[layer], sum(why.values()), density, why)
        return result

    def policy_of(self, layer: int) -> Policy:
        return self.layer_policies.get(layer, self.policy)

    def why_not(self, module, query, key, value, attention_mask, dropout: float, is_causal: bool) -> str | None:
        """Why a call is not for libsale, or None."""
        return (
            never(query, value)
            or (f"fewer than {self.min_tokens} queries" if query.shape[2] < self.min_tokens else None)
            or ("a mask: padding, packed sequences or chunks" if attention_mask is not None else None)
            or (None if is_causal else "attention that is not causal")
            or ("more queries than keys" if query.shape[2] > key.shape[2] else None)
            or ("dropout" if dropout and module.training else None)
            or ("a gradient" if torch.is_grad_enabled() and query.requires_grad else None)
        )

    def __call__(
        self,
        module,
        query,
        key,
        value,
        attention_mask,
        scaling: float | None = None,
        dropout: float = 0.0,
        is_causal: bool | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux=None,
        **kwargs,
    ):
        layer = getattr(module, "layer_idx", 0) or 0
        causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        # Some models (Qwen2-MoE) leave their window to the mask, which says nothing here.
        window = sliding_window or getattr(module, "sliding_window", None) or 0
        sliding = window if window < key.shape[2] else 0
        why = self.why_not(module, query, key, value, attention_mask, dropout, causal)
        if why is not None:
            self._count(layer, why)
            self._warn(never(query, value), layer)
            out = _as_sdpa(query, key, value, attention_mask, scaling, dropout, causal, sliding, softcap, s_aux, module)
            return out.transpose(1, 2).contiguous(), None
        self._count(layer, None)
        arguments = {
            "policy": self.policy_of(layer),
            "scale": scaling,
            "sliding_window": sliding,
            "softcap": softcap or 0.0,
            "sink_logits": None if s_aux is None else s_aux.float().contiguous(),
        }
        if self.measure_density:
            out, density = attention_and_density(query, key, value, **arguments)
            self._densities[layer].append(density)
        else:
            out = attention(query, key, value, **arguments)
        return out.transpose(1, 2).contiguous(), None

    def _count(self, layer: int, why: str | None) -> None:
        if torch.compiler.is_compiling():
            return
        if why is None:
            self._sparse[layer] += 1
        else:
            self._others[layer][why] += 1

    def _warn(self, why: str | None, layer: int) -> None:
        if why is not None and not self._warned and not torch.compiler.is_compiling():
            self._warned = True
            warnings.warn(f"layer {layer} is computed by SDPA, not by libsale: {why}", stacklevel=3)


def never(query, value) -> str | None:
    """What no call of a model as it is would change: why libsale cannot have it."""
    if not query.is_cuda:
        return f"tensors on {query.device.type}"
    if query.dtype not in (torch.bfloat16, torch.float16):
        return f"{str(query.dtype).removeprefix('torch.')}, neither bfloat16 nor float16"
    if query.shape[3] not in HEAD_DIMS:
        return f"head_dim {query.shape[3]}, none of {', '.join(map(str, HEAD_DIMS))}"
    return None if value.shape[3] == query.shape[3] else f"v_head_dim {value.shape[3]} beside {query.shape[3]}"


def _as_sdpa(query, key, value, mask, scaling, dropout, causal, sliding, softcap, sinks, module):
    """[batch, heads, q_len, head_dim], by torch."""
    q_len, kv_len = query.shape[2], key.shape[2]
    if mask is None and causal and q_len > 1 and (sliding or softcap or sinks is not None or q_len != kv_len):
        mask = _causal_mask(q_len, kv_len, sliding, query.device)
    elif mask is None and sliding:  # one query, the newest key's
        mask = _causal_mask(q_len, kv_len, sliding, query.device)
    elif mask is not None and mask.shape[-1] > kv_len:
        mask = mask[..., :kv_len]
    dropout = dropout if module.training else 0.0
    if softcap or sinks is not None:
        return _eager(query, key, value, mask, scaling, softcap, sinks)
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
        is_causal=causal and mask is None and q_len > 1,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _causal_mask(q_len: int, kv_len: int, sliding: int, device):
    position = torch.arange(kv_len - q_len, kv_len, device=device)[:, None]
    key = torch.arange(kv_len, device=device)[None]
    visible = key <= position
    return visible & (key > position - sliding) if sliding else visible


def _eager(query, key, value, mask, scaling, softcap, sinks):
    """With soft cap and sinks, which torch's SDPA has not."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scores = (query @ key.transpose(2, 3)).float() * (scaling or query.shape[3] ** -0.5)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    if sinks is not None:
        sink = sinks.float().reshape(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
        weights = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return weights.to(value.dtype) @ value


def _mask(min_tokens: int):
    """transformers' mask function: none where the keys that a query sees follow from its position alone."""
    from transformers.masking_utils import sdpa_mask

    def mask(*args, **kwargs):
        padding = kwargs.get("attention_mask")
        positions = kwargs.get("cache_position")
        q_length = len(positions) if positions is not None else kwargs.get("q_length", 0)
        by_position = (
            not torch.compiler.is_compiling()
            and _newest_key_is_last(kwargs, positions, q_length)
            and _is_causal_or_sliding(kwargs)
        )
        if q_length >= min_tokens and by_position and (padding is None or bool(padding.all())):
            return None
        return sdpa_mask(*args, **kwargs)

    return mask


def _newest_key_is_last(kwargs, positions, q_length) -> bool:
    # A static cache has room behind the newest key, a sliding one has lost keys before its first.
    kv_length, kv_offset = kwargs.get("kv_length"), kwargs.get("kv_offset", 0)
    if positions is not None:
        return int(positions[-1]) + 1 == kv_length + kv_offset
    offset = kwargs.get("q_offset", 0)
    return kv_length is not None and int(offset) + q_length == kv_length + kv_offset


def _is_causal_or_sliding(kwargs) -> bool:
    # transformers says so of packed sequences and of masks that models add to.
    if not kwargs.get("allow_is_causal_skip", True):
        return False
    window = kwargs.get("local_size")
    if window is None or window >= kwargs["kv_length"] + kwargs.get("kv_offset", 0):
        return True
    # A window that slides, or chunks? In chunks, the first row of the second does not see the key before it.
    row, key, zero = torch.tensor(window), torch.tensor(window - 1), torch.tensor(0)
    return bool(kwargs["mask_function"](zero, zero, row, key))


def _check(policy: Policy) -> None:
    """Refuses at once what does not depend on a model's heads. Raises sale.Error."""
    heads = max(len(policy.tau_per_head), 1)
    unlike = {"shift_per_head": (), "channels": (), "projection": (), "kbar": ()}
    validate(Problem(num_q_heads=heads, num_kv_heads=1), dataclasses.replace(policy, **unlike))


def register(
    *,
    tau: float | None = None,
    policy: Policy | None = None,
    policy_file: str | None = None,
    min_tokens: int = 1024,
    measure_density: bool = False,
) -> Attention:
    """Adds attn_implementation="sale". policy_file: of `sale calibrate`, a row of thresholds for each layer; layers that it
    does not name have `policy` with `tau`. The result says what the layers did: report(), reset()."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    if not isinstance(min_tokens, int) or min_tokens < 1:
        raise ValueError(f"min_tokens is {min_tokens!r}; it is a whole number of queries, at least 1")
    base = policy or Policy()
    if tau is not None:
        base = dataclasses.replace(base, tau=float(tau), tau_per_head=())
    _check(base)
    layers = load_policy_file(policy_file) if policy_file else {}
    registered = Attention(base, layers, min_tokens, measure_density)
    AttentionInterface.register(NAME, registered)
    AttentionMaskInterface.register(NAME, _mask(min_tokens))
    return registered
