#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times `sale run` beside PyTorch's FLASH_ATTENTION backend (FlashAttention-2, the same instruction family) on one GPU, in turns.

    python3 bench/compare_sdpa.py --sale build/default/bin/sale --lengths 8192,32768

Prints, per length: torch's dense attention, sale's attend kernel with every visible block kept (tau 0: the mask is read), sale's dense
kernel, and the stages of SALE on structured data. Medians over the rounds; TFLOP/s counts the causal half, 2 * n^2 * head_dim * heads.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention


def structured(heads, kv_heads, n, d, seed):
    """Q, K, V with an attention sink, a local band (rotary-like positions), vertical stripes and a common key mean."""
    g = torch.Generator(device="cuda").manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, device="cuda", generator=g)

    unit = d**0.25
    angle = torch.arange(n, device="cuda")[:, None] * 0.03 ** (torch.arange(0, d, 2, device="cuda") / d) * 0.5
    position = torch.stack([angle.cos(), angle.sin()], -1).reshape(n, d) * (2.6 / (d / 2) ** 0.5)
    sink, stripe, mean = (normal(kv_heads, 1, d) / d**0.5 * unit for _ in range(3))
    k = 0.3 * normal(kv_heads, n, d) + position * unit + 2.0 * mean
    k[:, :4] += 3.6 * sink
    k += 2.6 * stripe * (torch.rand(kv_heads, n, 1, device="cuda", generator=g) < 1 / 401)
    per_head = [x.repeat_interleave(heads // kv_heads, 0) for x in (sink, stripe)]
    q = 0.6 * normal(heads, n, d) + position * unit + 2.6 * per_head[0] + 2.6 * per_head[1]
    return [x[None].bfloat16().contiguous() for x in (q, k, normal(kv_heads, n, d))]


def torch_ms(q, k, v, rounds=5):
    """Median milliseconds of FLASH_ATTENTION on repeated K and V (that backend takes no GQA here)."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    times = []
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        for _ in range(rounds + 1):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            scaled_dot_product_attention(q, k, v, is_causal=True)
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
    return statistics.median(times[1:])


def sale_run(sale, file, *options):
    """The JSON report of one `sale run`; its times are medians of five calls."""
    command = [sale, "run", "--qkv", str(file), "--json", *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sale", default="build/default/bin/sale")
    parser.add_argument("--lengths", default="8192,32768")
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--estimators", default="int8")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    for n in map(int, args.lengths.split(",")):
        q, k, v = structured(args.heads, args.kv_heads, n, args.head_dim, seed=n)
        flop = 2 * n * n * args.head_dim * args.heads
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "qkv.safetensors"
            save_file({"q": q.cpu(), "k": k.cpu(), "v": v.cpu()}, file)
            flash, kept, dense = [], [], []
            for _ in range(args.rounds):
                flash.append(torch_ms(q, k, v))
                report = sale_run(args.sale, file, "--tau", "0")
                kept.append(report["ms"]["attend"])
                dense.append(sale_run(args.sale, file, "--compare")["ms"]["dense"])
            base = statistics.median(flash)
            rows = [("torch FLASH_ATTENTION", base), ("attend, all blocks kept", statistics.median(kept))]
            rows.append(("attend, dense kernel", statistics.median(dense)))
            for name, ms in rows:
                print(f"{n:6} {name:26} {ms:8.3f} ms {flop / ms / 1e9:6.0f} TFLOP/s {base / ms:6.2f} of torch", flush=True)
            for estimator in args.estimators.split(","):
                report = sale_run(args.sale, file, "--estimator", estimator, "--compare")
                stages = ", ".join(f"{stage} {ms:.3f}" for stage, ms in report["ms"].items())
                print(f"{n:6} SALE {estimator}, density {report['density']['total']:.3f}, rel_l1 {report['quality']['rel_l1']:.4f}: {stages} ms")


if __name__ == "__main__":
    main()
