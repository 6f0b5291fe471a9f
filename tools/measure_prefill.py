#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time to first token of a model of Llama-3.1-8B's shape: dense SDPA against libsale, in turns.

    sale synth --length 131072 -o structured.safetensors
    measure_prefill.py structured.safetensors --lengths 32768,65536,131072 --json out.json
    measure_prefill.py captured/layer*.safetensors --lengths 32768          # of tools/capture_*.py

Weights are random (bf16), so their own attention would have no structure: the attention of both gets Q, K and V of the
files instead, cut to the length. The files' KV heads are dealt to the layers' KV heads in turn, each with its own query
heads; where those are fewer than the model's four, some stand twice. All else (projections, RoPE, MLP, norms, the last
token's logits) is the model's own work. Attention's share is measured with events around each layer's attention call.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM
from transformers.masking_utils import AttentionMaskInterface

import sale
from sale.density import attention_and_density
from sale.torch_op import attention

KINDS = {
    "dense sdpa": None,
    "sale int8": sale.Policy(),
    "sale fp8": sale.Policy("fp8"),
    "sale dense": sale.Policy(dense_below=1 << 30),
}
LAYERS, Q_HEADS, KV_HEADS = 32, 32, 8
Layer = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # q, k and v, [1, heads, tokens, head_dim]


def dealt(files: list[Path]) -> list[Layer]:
    """Inputs of the first layers; those of later layers are the same again, in the same order."""
    groups = []
    for file in files:
        tensors = load_file(file)
        k, v = tensors["k"][0], tensors["v"][0]
        groups += zip(tensors["q"][0].unflatten(0, (len(k), -1)), k, v)
    layers = []
    for layer in range(min(LAYERS, math.lcm(len(groups), KV_HEADS) // KV_HEADS)):
        q, k, v = zip(*(groups[(layer * KV_HEADS + head) % len(groups)] for head in range(KV_HEADS)))
        slots = layer + torch.arange(Q_HEADS // KV_HEADS)  # another head stands twice in the next layer
        q = torch.cat([each[slots % len(each)] for each in q])
        layers.append(tuple(each[None].cuda() for each in (q, torch.stack(k), torch.stack(v))))
    return layers


class Injected:
    """An attention function that computes with the files' tensors, and remembers when."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self.policy: sale.Policy | None = None
        self.events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **kwargs):
        q, k, v = self.inputs(module.layer_idx, query.shape[2])
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        if self.policy is None:
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        else:
            out = attention(q, k, v, policy=self.policy, scale=scaling)
        end.record()
        self.events.append((begin, end))
        return out.transpose(1, 2).contiguous(), None

    def inputs(self, layer: int, tokens: int) -> Layer:
        q, k, v = (each[:, :, :tokens] for each in self.layers[layer % len(self.layers)])
        return q, k, v

    def density(self, tokens: int, policy: sale.Policy) -> float:
        """Mean over the model's layers."""
        each = [float(attention_and_density(*self.inputs(i, tokens), policy=policy)[1]) for i in range(len(self.layers))]
        return statistics.mean(each[i % len(each)] for i in range(LAYERS))

    def milliseconds(self) -> float:
        total = sum(begin.elapsed_time(end) for begin, end in self.events)
        self.events.clear()
        return total


def llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=LAYERS,
        num_attention_heads=Q_HEADS,
        num_key_value_heads=KV_HEADS,
        vocab_size=128256,
        rope_theta=500000.0,
        max_position_embeddings=131072,
    )
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config).eval()
        torch.set_default_dtype(torch.float32)
    return model


def first_token(model, ids) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    with torch.inference_mode():
        model(ids, use_cache=True, logits_to_keep=1)
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tensors", type=Path, nargs="+", help="safetensors with q, k and v")
    parser.add_argument("--lengths", default="32768,65536,131072")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lengths = [int(length) for length in args.lengths.split(",")]
    injected = Injected(dealt(args.tensors))
    if max(lengths) > injected.layers[0][0].shape[2]:
        parser.error("the files have fewer tokens than the longest of --lengths")
    AttentionInterface.register("injected", injected)
    AttentionMaskInterface.register("injected", lambda *args, **kwargs: None)
    model = llama()
    model.set_attn_implementation("injected")
    report = {}
    print(f"{'tokens':>7} {'attention':<12} {'first token ms':>15} {'attention ms':>13} {'share':>6} {'speedup':>8} {'density':>8}")
    for length in lengths:
        kept = {name: injected.density(length, policy) for name, policy in KINDS.items() if policy and not policy.dense_below}
        ids = torch.randint(128256, (1, length), device="cuda")
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
        for turn in range(args.rounds + 1):
            for name, policy in KINDS.items():
                injected.policy = policy
                whole = first_token(model, ids)
                times[name].append((whole, injected.milliseconds()))
        dense = statistics.median(whole for whole, _ in times["dense sdpa"][1:])
        for name, measured in times.items():
            whole = statistics.median(each for each, _ in measured[1:])  # without the warm-up
            within = statistics.median(each for _, each in measured[1:])
            report.setdefault(length, {})[name] = {
                "first_token_ms": whole,
                "attention_ms": within,
                "density": kept.get(name),
                "all": measured,
            }
            print(
                f"{length:>7} {name:<12} {whole:15.1f} {within:13.1f} {within / whole:6.2f} {dense / whole:8.2f} {kept.get(name, 1):8.3f}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
