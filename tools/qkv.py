# SPDX-License-Identifier: Apache-2.0
"""What the capture tools share: the file that `sale run --qkv` reads, and the exact mask of a capture."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

# Post-RoPE q [num_q_heads, N, d], k and v [num_kv_heads, N, d] of one layer.
Layer = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def exact_mask(
    q: torch.Tensor,
    k: torch.Tensor,
    tau: float,
    *,
    scale: float | None = None,
    block_q: int = 64,
    block_k: int = 32,
    sink: int = 32,
    window: int = 128,
) -> torch.Tensor:
    """The mask of the `exact` estimator (docs/numerics.md) for q [G, N, d] of one KV head's k [N, d].

    Returns bool [G, query blocks, key blocks]; blocks that no row sees are False. tau 0 keeps every other block.
    """
    heads, n, dim = q.shape
    scale = scale or 1.0 / math.sqrt(dim)
    log_tau = math.log(tau) if tau > 0 else -math.inf
    q, k = q.float(), k.float()
    key_blocks = -(-n // block_k)
    mask = torch.zeros(heads, -(-n // block_q), key_blocks, dtype=torch.bool)
    for m in range(mask.shape[1]):
        p0 = m * block_q
        p1 = min(p0 + block_q, n)
        w0 = max(0, p0 - window)
        first, last = -(-sink // block_k), w0 // block_k
        visible = -(-p1 // block_k)
        mask[:, m, :visible] = True
        if last <= first:
            continue
        x = q[:, p0:p1] @ k[:p1].T
        rows = torch.arange(p0, p1)[:, None]
        columns = torch.arange(p1)[None, :]
        estimated = (columns >= first * block_k) & (columns < last * block_k)
        reference = x.masked_fill(estimated | (columns > rows), -torch.inf)
        threshold = torch.logsumexp(scale * reference, -1) / scale + log_tau / scale
        candidates = x[..., first * block_k : last * block_k]
        blocks = candidates.unflatten(-1, (last - first, block_k)).amax(-1)
        mask[:, m, first:last] = (blocks > threshold[..., None]).any(1)
    return mask


def visible_blocks(n: int, block_q: int = 64, block_k: int = 32) -> int:
    """How many (query block, key block) pairs of a whole causal prefill of n tokens have a visible element."""
    return sum(-(-min(p0 + block_q, n) // block_k) for p0 in range(0, n, block_q))


def group_densities(layer: Layer, tau: float, scale: float | None) -> list[list[float]]:
    """densities[kv_head][head in group] of the exact mask at tau."""
    q, k, _ = layer
    group = q.shape[0] // k.shape[0]
    total = visible_blocks(q.shape[1])
    result = []
    for g in range(k.shape[0]):
        mask = exact_mask(q[g * group : (g + 1) * group], k[g], tau, scale=scale)
        result.append((mask.sum((1, 2)) / total).tolist())
    return result


def number_or_all(text: str) -> int | None:
    """A command line's number; None for "all"."""
    return None if text == "all" else int(text)


def write_layer(path: Path, layer: Layer, kv_head: int | None, metadata: Mapping[str, str]) -> None:
    """Writes every query head of one KV head (None: of all) as BF16 q [1, G, N, d], k and v [1, 1, N, d]."""
    q, k, v = layer
    group = q.shape[0] // k.shape[0]
    if kv_head is not None:
        q, k, v = q[kv_head * group : (kv_head + 1) * group], k[kv_head : kv_head + 1], v[kv_head : kv_head + 1]
        metadata = {**metadata, "kv_head": str(kv_head)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t[None].to(torch.bfloat16).contiguous() for name, t in (("q", q), ("k", k), ("v", v))},
        path,
        metadata={**metadata, "tokens": str(q.shape[1])},
    )
    print(f"wrote {path}")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what to do with a capture; `finish` carries them out."""
    parser.add_argument("--layer", type=number_or_all, default=-1, help="the layer to write (0-based), or all")
    parser.add_argument(
        "--kv-head", type=number_or_all, default=0, help="the KV head whose group to write, or all (default 0)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="the .safetensors file to write; with --layer all, the folder for layer0.safetensors ..."
    )
    parser.add_argument("--scan", action="store_true", help="print the exact mask's density for every layer and head")
    parser.add_argument("--tau", type=float, default=0.004, help="threshold for the printed densities (default 0.004)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")


def check_output_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses option combinations that would do nothing or write nothing useful."""
    if args.output is None and not args.scan:
        parser.error("give --output (with --layer) to write a file, or --scan to look for a layer worth writing")
    if not 0 <= args.tau < math.inf:
        parser.error(f"--tau {args.tau} must be a finite number >= 0; 0 is dense")
    if args.output is not None and args.layer == -1:
        parser.error("--output needs --layer")
    torch.set_num_threads(args.threads)


def finish(
    args: argparse.Namespace,
    capture: Callable[[set[int] | None], tuple[dict[int, Layer], dict[int, float]]],
    metadata: Mapping[str, str],
) -> None:
    """Runs `capture(layers or None for all)` -> ({layer: Layer}, {layer: softmax scale}), prints densities, writes the file."""
    layers, scales = capture(None if args.scan or args.layer is None else {args.layer})
    for index in sorted(layers) if args.scan or args.layer is not None else ():
        for g, heads in enumerate(group_densities(layers[index], args.tau, scales.get(index))):
            print(f"layer {index:3} kv head {g:2} density", *(f"{d:.3f}" for d in heads), flush=True)
    if args.output is None:
        return
    for index in sorted(layers) if args.layer is None else [args.layer]:
        if index not in layers:
            raise SystemExit(f"layer {index} was not captured; captured: {sorted(layers)}")
        q, k, _ = layers[index]
        if args.kv_head is not None and not 0 <= args.kv_head < k.shape[0]:
            raise SystemExit(f"--kv-head must be 0..{k.shape[0] - 1}, or all")
        scale = scales.get(index, 1.0 / math.sqrt(q.shape[-1]))
        path = args.output if args.layer is not None else args.output / f"layer{index}.safetensors"
        write_layer(path, layers[index], args.kv_head, {**metadata, "layer": str(index), "softmax_scale": repr(scale)})
