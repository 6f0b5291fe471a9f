#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times PyTorch's dense attention and `sale bench` on one GPU, on the same Q, K and V, in turns round by round, and merges the tables.

    python3 bench/compare_torch.py --sale build/default/bin/sale --lengths 32768,65536 --json both.json -- --estimators int8 --only dense,sale

What follows -- goes to `sale bench`. In every round: torch's matrix products (8192^3), cuDNN's and FlashAttention-2's attention, then
everything that `sale bench` measures, each between one pair of events, with a cold L2 cache. TFLOP/s counts 2 * n^2 * head_dim * heads (the
causal half), times density. "of matmul" is a rate divided by that of the bf16 product in the same rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {"cuDNN": SDPBackend.CUDNN_ATTENTION, "FlashAttention-2": SDPBackend.FLASH_ATTENTION}
MATMUL = 8192
WARMUPS = 3


class Timer:
    """Milliseconds of a call between one pair of events, with a cold L2 cache."""

    def __init__(self):
        l2_bytes = torch.cuda.get_device_properties(0).L2_cache_size
        self.flush = torch.empty(2 * l2_bytes, dtype=torch.uint8, device="cuda")
        self.begin, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def __call__(self, function):
        self.flush.zero_()
        self.begin.record()
        function()
        self.end.record()
        self.end.synchronize()
        return self.begin.elapsed_time(self.end)


def matmuls():
    """An 8192^3 product in bf16, and one in fp8 where this PyTorch has it."""
    a, b = (torch.randn(MATMUL, MATMUL, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    found = {"matmul bf16": lambda: a @ b}
    try:
        a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn).t()
        one = torch.ones((), device="cuda")

        def product():
            return torch._scaled_mm(a8, b8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

        product()
        found["matmul fp8"] = product
    except (AttributeError, RuntimeError) as error:
        print(f"no fp8 product: {error}", file=sys.stderr)
    return found


def attention(backend, q, k, v):
    """A causal attention call; K and V are repeated where the backend takes no grouped heads. Returns it and whether they are."""
    group = q.shape[1] // k.shape[1]

    def call(k, v, **options):
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q, k, v, is_causal=True, **options)

    if group == 1:
        return (lambda: call(k, v)), False
    try:
        call(k, v, enable_gqa=True)
        return (lambda: call(k, v, enable_gqa=True)), False
    except RuntimeError:
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        return (lambda: call(k, v)), True


class TorchSide:
    """PyTorch's part of the rounds of one length."""

    def __init__(self, file, timer, products):
        tensors = {name: tensor.cuda() for name, tensor in load_file(file).items()}
        q, k, v = (tensors[name] for name in "qkv")
        self.timer = timer
        self.calls = dict(products)
        for name, backend in BACKENDS.items():
            try:
                call, repeated = attention(backend, q, k, v)
                call()
                self.calls[f"{name}{' (K, V repeated)' if repeated else ''}"] = call
            except RuntimeError as error:
                print(f"{name} cannot do this: {error}", file=sys.stderr)
        self.samples = {name: [] for name in self.calls}
        for _ in range(WARMUPS):
            self.measure()

    def measure(self):
        return {name: self.timer(call) for name, call in self.calls.items()}

    def round(self):
        for name, ms in self.measure().items():
            self.samples[name].append(ms)
        torch.cuda.synchronize()

    def release(self):
        """Frees its tensors; the times stay."""
        self.calls.clear()
        torch.cuda.empty_cache()

    def rows(self, attention_flops):
        rows = []
        for name, ms in self.samples.items():
            flops = 2 * MATMUL**3 if name.startswith("matmul") else attention_flops
            median = statistics.median(ms)
            rows.append({"name": name, "ms": {"median": median, "min": min(ms), "max": max(ms), "rounds": ms}, "tflops": flops / median / 1e9})
        return rows


def run_sale(command, sides):
    """Runs `sale bench --paced`: before each of its rounds comes one of PyTorch's. `sides` makes a TorchSide for a length."""
    length, side, finished = None, None, {}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            words = line.split()
            if not words or words[0] != "round":
                print(line, end="")
                continue
            if int(words[1]) != length:
                if side:
                    side.release()
                length = int(words[1])
                finished[length] = side = sides(length)
            side.round()
            process.stdin.write("\n")
            process.stdin.flush()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return finished


def merge(section, torch_rows, references):
    """All rows of one length, with ratios."""
    rows = torch_rows + [row for row in section["rows"] if "ms" in row]
    by_name = {row["name"].split(" (")[0]: row for row in torch_rows}
    matmul = by_name["matmul bf16"]["tflops"]
    merged = []
    for row in rows:
        ms = row["ms"]["median"]
        entry = {"name": row["name"], "ms": ms, "min": row["ms"]["min"], "max": row["ms"]["max"]}
        entry |= {key: row[key] for key in ("density", "tflops", "rel_l1") if key in row}
        if "tflops" in row:
            entry["of_matmul"] = row["tflops"] / matmul
        if not row["name"].startswith("matmul"):
            entry |= {f"x {name}": by_name[name]["ms"]["median"] / ms for name in BACKENDS if name in by_name}
            entry |= {f"x {name}": reference / ms for name, reference in references.items()}
        merged.append(entry)
    return merged


def markdown(length, rows):
    columns = ["name", "ms", "min", "max", "density", "tflops", "of_matmul"]
    columns += sorted({key for row in rows for key in row if key.startswith("x ")})
    titles = {"name": f"{length} tokens", "tflops": "TFLOP/s", "of_matmul": "of matmul"}
    digits = {"ms": 3, "min": 3, "max": 3, "density": 4, "tflops": 0, "of_matmul": 3}

    def cell(row, column):
        value = row.get(column, "")
        return value if isinstance(value, str) else f"{value:.{digits.get(column, 2)}f}"

    lines = ["| " + " | ".join(titles.get(c, c) for c in columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    lines += ["| " + " | ".join(cell(row, c) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def make_file(args, length, folder):
    """Structured Q, K and V of this length."""
    file = Path(folder) / f"structured-{args.density}-{length}.safetensors"
    shape = ["--heads", args.heads, "--kv-heads", args.kv_heads, "--head-dim", args.head_dim, "--dtype", args.dtype]
    command = [args.sale, "synth", "--length", length, "--density", args.density, *shape, "-o", file]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return file


def parse_references(texts, count):
    """NAME=MS,MS,...: one time per length."""
    references = {}
    for text in texts:
        name, _, times = text.partition("=")
        values = [float(value) for value in times.split(",")]
        if len(values) != count:
            raise SystemExit(f"--reference {text}: give one time for each of the {count} lengths")
        references[name] = values
    return references


def main():
    own, extra = (sys.argv[1:], []) if "--" not in sys.argv else (sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sale", default="build/default/bin/sale")
    parser.add_argument("--lengths", default="32768,65536,131072")
    parser.add_argument("--density", default="0.12", help="of the exact mask of the structured input")
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f16"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--reference", action="append", default=[], metavar="NAME=MS,MS,...", help="times measured elsewhere, one per length")
    parser.add_argument("--folder", help="where the input files go (1.6 GB at 128K); default a temporary one")
    parser.add_argument("--json", help="file for everything, merged")
    args = parser.parse_args(own)
    lengths = [int(length) for length in args.lengths.split(",")]
    references = parse_references(args.reference, len(lengths))

    print(torch.cuda.get_device_name(), "torch", torch.__version__, "cuDNN", torch.backends.cudnn.version(), flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        files = {length: make_file(args, length, folder) for length in lengths}
        report_file = Path(folder) / "report.json"
        inputs = ",".join(str(file) for file in files.values())
        command = [args.sale, "bench", "--paced", "--qkv", inputs, "--rounds", str(args.rounds), "--json", str(report_file), *extra]
        timer, products = Timer(), matmuls()
        sides = run_sale(command, lambda length: TorchSide(files[length], timer, products))
        report = json.loads(report_file.read_text())

    report["torch"] = {"version": torch.__version__, "cudnn": torch.backends.cudnn.version(), "sections": []}
    report["merged"] = []
    for index, section in enumerate(report["sections"]):
        length = section["kv_len"]
        if length not in sides:
            continue
        rows = sides[length].rows(section["dense_flops"])
        report["torch"]["sections"].append({"kv_len": length, "rows": rows})
        merged = merge(section, rows, {name: times[index] for name, times in references.items()})
        report["merged"].append({"kv_len": length, "rows": merged})
        print("\n" + markdown(length, merged))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
