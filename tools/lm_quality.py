#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What SALE's estimators cost the project's own code LM: masks of every layer, and its loss with the masks in place.

    lm_quality.py FOLDER [--tokens 32768] [--device cuda] [--seconds 200]

FOLDER holds lm.py, weights.*.bin and heldout.u16. Rows are halved: shifts and channels come from one half and are judged
on the other, both ways, so that every row is judged once. The model is not published: this file records how the tables
of docs/quality.md were made. Estimators are simulated (estimators.py).
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path

import estimators as es
import torch
from capture_code_lm import load_lm

GOAL = 0.99
ESTIMATORS = {
    "exact": es.Estimator("exact"),
    "int4": es.Estimator("int4"),
    "int8": es.Estimator("int8"),
    "fp8": es.Estimator("fp8"),
    "fp8, 2:4": es.Estimator("fp8", pruned=True),
    "fp8, best half": es.Estimator("fp8", 0.5),
    "fp8, projection to half": es.Estimator("fp8", 0.5, projected=True),
    "fp8, best half, 2:4": es.Estimator("fp8", 0.5, pruned=True),
    "fp8, best quarter": es.Estimator("fp8", 0.25),
}


@dataclass
class Layer:
    """Estimated blocks of one layer of one row, [H, query blocks, key blocks]; margins as es.block_margins."""

    mass: torch.Tensor  # dense softmax mass; -1 where a block is not estimated
    margins: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Variant:
    name: str
    tau: float
    shift: str  # "0", "smallest", or "positive": the smallest, but never below 0
    fp8_attend: bool = False


CHEAP = ("fp8, 2:4", "fp8, best half", "fp8, best quarter")
VARIANTS = (
    [Variant(name, 0.004, shift) for name in ESTIMATORS for shift in ("0", "smallest")]
    + [Variant(name, 0.016, "0") for name in ("exact", "fp8")]
    + [Variant(name, 0.016, "smallest") for name in CHEAP]
    + [Variant("exact", math.inf, "0")]
    + [Variant(name, 0.004, "positive") for name in CHEAP]
    + [Variant(name, 0.004, "smallest", fp8_attend=True) for name in ("fp8", "fp8, best half")]
    + [Variant(name, 0.001, shift) for name, shift in (("exact", "0"), ("fp8, best half", "smallest"))]
)


def applied(smallest: torch.Tensor, shift: str) -> torch.Tensor:
    """What a kind of shift makes of the smallest shifts."""
    return smallest * 0 if shift == "0" else smallest.clamp(min=0) if shift == "positive" else smallest


def dequantized(x: torch.Tensor) -> torch.Tensor:
    """e4m3 with one power of two per head, near section 14 of docs/numerics.md."""
    amax = x.abs().amax((1, 2), keepdim=True)
    scale = torch.exp2(8 - torch.frexp(amax)[1].float())
    return es.e4m3(x * scale) / scale


def code_attention(scores: torch.Tensor, scale: float, values: torch.Tensor) -> torch.Tensor:
    """Softmax and product with the codes of probabilities that fp8 attend forms, and their own sums (the same section)."""
    steps = (8 * math.log2(math.e) * scale) * (scores - scores.amax(-1, keepdim=True)) + 112
    codes = torch.maximum(steps, steps / 4 + 4.5).clamp(min=0).round().to(torch.uint8)
    p = codes.view(torch.float8_e4m3fn).float()
    return (p @ values) / p.sum(-1, keepdim=True)


def measure(q: torch.Tensor, k: torch.Tensor, bases: dict[str, torch.Tensor | None]) -> Layer:
    """Masses and every estimator's margins of one layer."""
    heads, n, dim = q.shape
    scale = dim**-0.5
    shape = (heads, n // es.BLOCK_Q, n // es.BLOCK_K)
    layer = Layer(torch.full(shape, -1.0, device=q.device), {name: torch.zeros(shape, device=q.device) for name in ESTIMATORS})
    pairs = {name: es.operands(q, k, e, bases[name]) for name, e in ESTIMATORS.items()}
    kbar = k.mean(1)
    for chunk in es.chunks(q, k):
        blocks = chunk.end // es.BLOCK_K
        where = (chunk.heads, slice(chunk.first // es.BLOCK_Q, chunk.end // es.BLOCK_Q), slice(blocks))
        scores = es.mask_future(es.row_scores(q, k, chunk), chunk)
        lse = es.reference_lse(scores, chunk, scale)
        mass = torch.softmax(scale * scores, -1).unflatten(-1, (-1, es.BLOCK_K)).sum(-1).unflatten(1, (-1, es.BLOCK_Q)).sum(2)
        layer.mass[where] = torch.where(chunk.estimated(blocks, q.device), mass, -1.0)
        framed = lse - scale * (q[chunk.heads, chunk.first : chunk.end] @ kbar[chunk.group])
        for name, (a, b) in pairs.items():
            layer.margins[name][where] = es.block_margins(es.row_scores(a, b, chunk), framed, scale)
    return layer


def smallest_shifts(layers: list[Layer], name: str, tau: float) -> torch.Tensor:
    """[H]: the smallest shifts with hit mass >= GOAL over the layer's samples."""
    shifts = []
    for h in range(layers[0].mass.shape[0]):
        mass = torch.cat([x.mass[h].flatten() for x in layers])
        wanted = (mass >= 0) & (torch.cat([x.margins["exact"][h].flatten() for x in layers]) > math.log(tau))
        margin, order = torch.cat([x.margins[name][h].flatten() for x in layers])[wanted].sort(descending=True)
        found = mass[wanted][order].double().cumsum(0)
        if len(found) == 0:
            shifts.append(0.0)
            continue
        last = int((found < GOAL * found[-1]).sum())
        shifts.append(math.log(tau) - float(margin[last]) + 1e-3)
    return torch.tensor(shifts, device=layers[0].mass.device)


class SparseAttention:
    """The attention of one variant, for lm.py's models."""

    def __init__(self, variant: Variant, bases: list[dict], shifts: list[torch.Tensor]) -> None:
        self.variant, self.bases, self.shifts = variant, bases, shifts
        self.kept = self.visible = 0.0

    def __call__(self, q, k, v, layer):
        variant = self.variant
        q, k, v = (t[0].float() for t in (q, k, v))
        out = torch.empty_like(q)
        scale = q.shape[-1] ** -0.5
        a, b = es.operands(q, k, ESTIMATORS[variant.name], self.bases[layer][variant.name])
        kbar = k.mean(1)
        bound = (math.log(variant.tau) - self.shifts[layer])[:, None, None]
        if variant.fp8_attend:
            mantissa = 2 * math.frexp(scale * math.log2(math.e))[0]
            used_q, used_k = es.operands(q * mantissa, k, es.Estimator("fp8"), None)
            used_q, used_v = used_q / mantissa, dequantized(v)
        else:
            used_q, used_k, used_v = q, k, v
        for chunk in es.chunks(q, k):
            rows = slice(chunk.first, chunk.end)
            scores = es.mask_future(es.row_scores(q, k, chunk), chunk)
            lse = es.reference_lse(scores, chunk, scale) - scale * (q[chunk.heads, rows] @ kbar[chunk.group])
            estimated = chunk.estimated(chunk.end // es.BLOCK_K, q.device)
            kept = es.block_margins(es.row_scores(a, b, chunk), lse, scale) > bound[chunk.heads]
            kept |= ~estimated
            first_future = torch.arange(chunk.end // es.BLOCK_K, device=q.device)[None, :] * es.BLOCK_K
            p0 = torch.arange(chunk.first, chunk.end, es.BLOCK_Q, device=q.device)[:, None]
            visible = first_future < p0 + es.BLOCK_Q
            self.kept += float((kept & visible).sum())
            self.visible += float(visible.sum()) * kept.shape[0]
            if variant.fp8_attend:
                scores = es.mask_future(es.row_scores(used_q, used_k, chunk), chunk)
            blocks = scores.unflatten(1, (-1, es.BLOCK_Q)).unflatten(-1, (-1, es.BLOCK_K))
            blocks.masked_fill_(~kept[:, :, None, :, None], -math.inf)
            chunk_v = used_v[chunk.group, : chunk.end]
            if variant.fp8_attend:
                out[chunk.heads, rows] = code_attention(scores, scale, chunk_v)
            else:
                out[chunk.heads, rows] = torch.softmax(scores.mul_(scale), -1) @ chunk_v
        return out[None]

    @property
    def density(self) -> float:
        return self.kept / self.visible


def block_table(layers: list[list[Layer]], shifts_of, taus: tuple[float, ...]) -> None:
    """Prints what every estimator keeps on dense activations. Heads: those with 0.001 of their mass to find, per row."""
    print("| tau | estimate | shift | density outside R | kept share | hit mass | heads >= 0.99 | recall mean |")
    print("|---|---|---|---|---|---|---|---|")
    for tau, name, shift in itertools.product(taus, ESTIMATORS, ("0", "smallest", "positive")):
        blocks = torch.zeros(4, dtype=torch.float64)
        masses = []  # found, wanted and lost mass of every head
        for r, row in enumerate(layers):
            for index, x in enumerate(row):
                shifts = applied(shifts_of(r, index, name, tau), shift)
                estimated = x.mass >= 0
                wanted = estimated & (x.margins["exact"] > math.log(tau))
                kept = estimated & (x.margins[name] > (math.log(tau) - shifts)[:, None, None])
                sets = (wanted & kept, wanted, estimated & ~kept)
                masses.append(torch.stack([(x.mass * s).sum((1, 2)) for s in sets]).double().cpu())
                blocks += torch.stack([s.sum() for s in (kept, estimated, sets[0], wanted)]).double().cpu()
        kept, estimated, found, wanted = blocks.tolist()
        found_mass, wanted_mass, lost_mass = torch.cat(masses, 1)
        rows = layers[0][0].mass.shape[1] * es.BLOCK_Q
        counted = wanted_mass >= 1e-3 * rows
        reached = counted & (found_mass >= GOAL * wanted_mass)
        print(f"| {tau} | {name} | {shift} | {kept / estimated:.4f} | {found / wanted:.4f} "
              f"| {found_mass.sum() / wanted_mass.sum():.4f} | {int(reached.sum())} of {int(counted.sum())} "
              f"| {1 - lost_mass.sum() / (rows * len(lost_mass)):.4f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the language model")
    parser.add_argument("--tokens", type=int, default=32768, help="length of a row (default 32768)")
    parser.add_argument("--device", default="cuda", help="torch device (default cuda)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no variant after this long")
    parser.add_argument("--first", type=int, default=0, help="begin the table of losses with this variant (default 0)")
    args = parser.parse_args()
    start = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = True  # bf16 and e4m3 are exact in TF32; sums are fp32
    lm = load_lm(args.folder)
    model = lm.load(str(args.folder), device=args.device)
    rows = lm.heldout(str(args.folder), device=args.device)[:, : args.tokens]
    halves = [list(range(len(rows) // 2)), list(range(len(rows) // 2, len(rows)))]
    other_half = {r: halves[1 - i] for i, half in enumerate(halves) for r in half}
    taus = (0.001, 0.004, 0.016)

    with torch.inference_mode():
        captured = [model.capture(row) for row in rows]
        inputs = [[tuple(t[0].float() for t in of_row[index][:2]) for index in sorted(of_row)] for of_row in captured]
        del captured
        bases = [
            [{name: es.calibrated_basis([inputs[s][index] for s in other_half[r]], e) for name, e in ESTIMATORS.items()}
             for index in range(len(inputs[r]))]
            for r in (halves[0][0], halves[1][0])
        ]  # fmt: skip

        def bases_of(row: int) -> list[dict]:
            return bases[0 if row in halves[0] else 1]

        # Shifts for a row's half come from the other half, measured in the basis that the row will use.
        judged = [[measure(q, k, bases_of(r)[index]) for index, (q, k) in enumerate(inputs[r])] for r in range(len(rows))]
        shifts: dict[tuple[int, int, str, float], torch.Tensor] = {}
        for i, half in enumerate(halves):
            samples = [
                [measure(q, k, bases[i][index]) for index, (q, k) in enumerate(inputs[s])] for s in halves[1 - i]
            ]
            for index in range(len(inputs[0])):
                for name in ESTIMATORS:
                    for tau in taus:
                        shifts[i, index, name, tau] = smallest_shifts([s[index] for s in samples], name, tau)
            del samples

        def shifts_of(row: int, index: int, name: str, tau: float) -> torch.Tensor:
            return shifts[0 if row in halves[0] else 1, index, name, tau]

        print(f"{len(rows)} rows of {args.tokens} tokens; measured after {time.monotonic() - start:.0f} s", flush=True)
        block_table(judged, shifts_of, taus)
        del judged
        dense = [model.token_losses(row) for row in rows]
        print(f"dense loss {float(torch.cat(dense).mean()):.4f}; tables after {time.monotonic() - start:.0f} s", flush=True)
        print("| tau | estimate | shift | density | loss - dense | standard error |\n|---|---|---|---|---|---|", flush=True)
        for variant in VARIANTS[args.first :]:
            if time.monotonic() - start > args.seconds:
                print("out of time")
                break
            differences, kept, visible = [], 0.0, 0.0
            for r, row in enumerate(rows):
                index = range(len(inputs[r]))
                shift = [applied(shifts_of(r, i, variant.name, min(variant.tau, taus[-1])), variant.shift) for i in index]
                attention = SparseAttention(variant, bases_of(r), shift)
                differences.append((model.token_losses(row, attention) - dense[r]).double())
                kept, visible = kept + attention.kept, visible + attention.visible
            difference = torch.cat(differences)
            error = float(difference.std() / math.sqrt(len(difference)))
            name = variant.name + (", fp8 attend" if variant.fp8_attend else "")
            print(f"| {variant.tau} | {name} | {variant.shift} | {kept / visible:.4f} "
                  f"| {float(difference.mean()):+.5f} | {error:.5f} |", flush=True)  # fmt: skip
        print(f"done after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
