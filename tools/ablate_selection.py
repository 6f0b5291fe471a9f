#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules that choose blocks, compared at equal density on the exact scores of the project's code LM (docs/method.md).

    ablate_selection.py FOLDER [--tokens 32768] [--device cuda] [--rules NAME ...] [--seconds 400] [--json out.json]

FOLDER holds lm.py, weights.*.bin and heldout.u16. Every rule keeps the same reference region R and gives each other block
of 64 x 32 one number; blocks above a bound are kept. SALE's bound is ln(tau). The others' bounds are those that keep as
many blocks of half of the rows, over all layers and heads, and are judged on the other half, both ways. One variant has
a bound for each head: there each keeps as many blocks as exact LSE does with one bound for all. The dense baseline is the
same code with everything kept. The model is not published: this file records how the tables were made.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import estimators as es
import torch
from capture_code_lm import load_lm

TAUS = (0.001, 0.004, 0.016, 0.064)
LOSS_BLOCK = 512  # tokens whose differences count as one sample
RELATIVE = "relative score (SALE)"
EXACT = "exact LSE"
BY_HEAD = "relative score, a bound for each head"


def block_ranks(values: torch.Tensor, estimated: torch.Tensor) -> torch.Tensor:
    """Of each block among the estimated ones of its tile, the largest first."""
    return values.masked_fill(~estimated, -math.inf).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)


class Blocks:
    """What rules see of a chunk of rows: x [H, rows, keys] is softmax_scale * q.k, -inf in the future."""

    def __init__(self, x: torch.Tensor, lse_of_r: torch.Tensor, estimated: torch.Tensor) -> None:
        by_block = x.unflatten(-1, (-1, es.BLOCK_K))
        self.estimated = estimated  # [tiles, blocks]: visible and outside R
        self.best = by_block.amax(-1)  # [H, rows, blocks]
        self.sums = torch.logsumexp(by_block, -1)
        self.lse_of_r = lse_of_r
        self.lse = torch.logsumexp(self.sums, -1)
        self.per_row = estimated.repeat_interleave(es.BLOCK_Q, 0)
        self.visible = torch.arange(1, estimated.shape[0] + 1, device=x.device) * (es.BLOCK_Q // es.BLOCK_K)
        self.visible = (self.visible + estimated.shape[1] - int(self.visible[-1]))[:, None]  # [tiles, 1] blocks

    def of_tiles(self, per_row: torch.Tensor) -> torch.Tensor:
        """The largest of a tile's rows: [H, tiles, blocks]."""
        return per_row.unflatten(1, (-1, es.BLOCK_Q)).amax(2)

    def mass(self) -> torch.Tensor:
        """Share of the tile's softmax, [H, tiles, blocks]."""
        return torch.exp(self.sums - self.lse[..., None]).unflatten(1, (-1, es.BLOCK_Q)).mean(2)

    def relative(self) -> torch.Tensor:
        return self.of_tiles(self.best - self.lse_of_r[..., None])

    def exact_lse(self) -> torch.Tensor:
        return self.of_tiles(self.best - self.lse[..., None])

    def running_lse(self) -> torch.Tensor:
        """One pass from the first key on: a row's sum is over R and the estimated blocks before this one."""
        sums = self.sums.masked_fill(~self.per_row, -math.inf)
        sums = torch.cat((self.lse_of_r[..., None], sums[..., :-1]), -1)
        return self.of_tiles(self.best - torch.logcumsumexp(sums, -1))

    def row_maximum(self) -> torch.Tensor:
        """As SALE's, but with the largest score of R in place of the sum over R."""
        of_r = self.best.masked_fill(self.per_row, -math.inf).amax(-1, keepdim=True)
        return self.of_tiles(self.best - of_r)

    def top_k_by_score(self) -> torch.Tensor:
        """The same share of every tile's visible blocks, those with the largest scores."""
        return -block_ranks(self.of_tiles(self.best), self.estimated) / self.visible

    def top_k_by_mass(self) -> torch.Tensor:
        return -block_ranks(self.mass(), self.estimated) / self.visible

    def top_p(self) -> torch.Tensor:
        """The heaviest blocks until, with R, a share p of the tile's softmax is kept."""
        mass = self.mass()
        of_r = mass.masked_fill(self.estimated, 0).sum(-1, keepdim=True)
        value, order = mass.masked_fill(~self.estimated, 0).sort(dim=-1, descending=True, stable=True)
        before = of_r + value.cumsum(-1) - value
        return -torch.empty_like(before).scatter_(-1, order, before)

    def chance(self) -> torch.Tensor:
        return torch.rand(self.of_tiles(self.best).shape, device=self.best.device)


RULES = {
    RELATIVE: Blocks.relative,
    BY_HEAD: Blocks.relative,
    EXACT: Blocks.exact_lse,
    "running LSE": Blocks.running_lse,
    "row maximum": Blocks.row_maximum,
    "top-k by score": Blocks.top_k_by_score,
    "top-k by mass": Blocks.top_k_by_mass,
    "top-p": Blocks.top_p,
    "chance": Blocks.chance,
}


def scored_chunks(q: torch.Tensor, k: torch.Tensor):
    """Chunk, scaled causal scores [H, rows, keys] and Blocks of q [H, N, d] and k [G, N, d]."""
    scale = q.shape[-1] ** -0.5
    for chunk in es.chunks(q, k):
        scores = es.mask_future(es.row_scores(q, k, chunk), chunk)
        lse_of_r = es.reference_lse(scores, chunk, scale)
        estimated = chunk.estimated(scores.shape[-1] // es.BLOCK_K, q.device)
        yield chunk, scores.mul_(scale), Blocks(scores, lse_of_r, estimated)


def attend(x: torch.Tensor, v: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Softmax over kept blocks [H, tiles, blocks] of x [H, rows, keys], times v [keys, d]."""
    blocks = x.unflatten(1, (-1, es.BLOCK_Q)).unflatten(-1, (-1, es.BLOCK_K))
    left = blocks.masked_fill(~kept[:, :, None, :, None], -math.inf).flatten(3).flatten(1, 2)
    return torch.softmax(left, -1) @ v


class SparseAttention:
    """The attention of one rule and its bounds [layers, H], for lm.py's models; bounds of -inf keep everything."""

    def __init__(self, rule: str, bounds: torch.Tensor) -> None:
        self.rule, self.bounds = RULES[rule], bounds
        self.kept = self.visible = 0.0

    def __call__(self, q, k, v, layer):
        q, k, v = (t[0].float() for t in (q, k, v))
        out = torch.empty_like(q)
        for chunk, x, blocks in scored_chunks(q, k):
            kept = ~blocks.estimated | (self.rule(blocks) > self.bounds[layer, chunk.heads, None, None])
            self.visible += float(blocks.visible.sum()) * len(kept)
            self.kept += float(blocks.visible.sum()) * len(kept) - float((~kept).sum())
            out[chunk.heads, chunk.first : chunk.end] = attend(x, v[chunk.group, : chunk.end], kept)
        return out[None]

    @property
    def density(self) -> float:
        return self.kept / self.visible


def values_of(layers, rules) -> dict[str, torch.Tensor]:
    """Every estimated block's number by every rule, [layers, H, blocks], for one row."""
    found: dict[str, list[torch.Tensor]] = {rule: [] for rule in rules}
    for q, k, _ in layers:
        of_groups: dict[tuple[str, int], list[torch.Tensor]] = {}
        for chunk, _, blocks in scored_chunks(q, k):
            for rule in rules:
                of_groups.setdefault((rule, chunk.group), []).append(RULES[rule](blocks)[:, blocks.estimated])
        for rule in rules:
            found[rule].append(torch.cat([torch.cat(of_groups[rule, group], 1) for group in range(len(k))]))
    return {rule: torch.stack(values) for rule, values in found.items()}


def bounds_of(rows, rules) -> dict[tuple[str, float], torch.Tensor]:
    """Bounds [layers, H] by rule and tau that keep as many blocks of these rows as SALE's."""
    each = [values_of(layers, set(rules) | {RELATIVE, EXACT}) for layers in rows]
    values = {rule: torch.cat([row[rule] for row in each], -1) for rule in each[0]}
    del each
    bounds = {}
    for tau in TAUS:
        kept = int((values[RELATIVE] > math.log(tau)).sum())
        for rule in values:
            ordered = values[rule].flatten().sort(descending=True)[0]
            bound = math.log(tau) if rule == RELATIVE else float(ordered[min(kept, len(ordered) - 1)])
            bounds[rule, tau] = torch.full(values[rule].shape[:2], bound, device=ordered.device)
        if BY_HEAD in rules:
            wanted = (values[EXACT] > bounds[EXACT, tau][..., None]).sum(-1, keepdim=True)
            ordered = values[BY_HEAD].sort(dim=-1, descending=True)[0]
            bounds[BY_HEAD, tau] = ordered.gather(-1, wanted.clamp(max=ordered.shape[-1] - 1)).squeeze(-1)
    return {key: bound for key, bound in bounds.items() if key[0] in rules}


class Damage:
    """What masks do to dense activations: skipped softmax mass by row, and the output's error."""

    def __init__(self) -> None:
        self.skipped: list[torch.Tensor] = []
        self.difference = self.size = 0.0

    def add(self, blocks: Blocks, kept: torch.Tensor, out: torch.Tensor, dense: torch.Tensor) -> None:
        of_rows = torch.exp(blocks.sums - blocks.lse[..., None])
        skipped = ~kept.repeat_interleave(es.BLOCK_Q, 1)
        self.skipped.append((of_rows * skipped).sum(-1).flatten().half().cpu())
        self.difference += float((out - dense).abs().sum())
        self.size += float(dense.abs().sum())

    def row(self) -> dict[str, float]:
        skipped = torch.cat(self.skipped).float()
        largest = skipped.kthvalue(max(1, int(0.99 * len(skipped))))[0]
        return {
            "skipped_mass": float(skipped.double().mean()),
            "skipped_mass_99": float(largest),
            "rel_l1": self.difference / self.size,
        }


def damages(row, bounds, found: dict) -> None:
    for layer, (q, k, v) in enumerate(row):
        for chunk, x, blocks in scored_chunks(q, k):
            values = v[chunk.group, : chunk.end]
            dense = torch.softmax(x, -1) @ values
            numbers = {rule: RULES[rule](blocks) for rule in {rule for rule, _ in bounds}}
            for key, bound in bounds.items():
                kept = ~blocks.estimated | (numbers[key[0]] > bound[layer, chunk.heads, None, None])
                found.setdefault(key, Damage()).add(blocks, kept, attend(x, values, kept), dense)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the language model")
    parser.add_argument("--tokens", type=int, default=32768, help="length of a row, a multiple of 512")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), help="those to compare; default all")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no loss after this long")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    start = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = True  # products of bf16 are exact; sums are fp32
    torch.manual_seed(1)
    lm = load_lm(args.folder)
    model = lm.load(str(args.folder), device=args.device)
    rows = lm.heldout(str(args.folder), device=args.device)[:, : args.tokens]
    halves = [list(range(0, len(rows) // 2)), list(range(len(rows) // 2, len(rows)))]
    report: dict[str, dict] = {}

    with torch.inference_mode():
        captured = [model.capture(row) for row in rows]
        inputs = [[tuple(t[0].float() for t in of_row[index]) for index in sorted(of_row)] for of_row in captured]
        del captured
        bounds = [bounds_of([inputs[r] for r in halves[1 - i]], args.rules) for i in range(2)]
        print(f"{len(rows)} rows of {args.tokens}; bounds after {time.monotonic() - start:.0f} s", flush=True)
        found: dict[tuple[str, float], Damage] = {}
        for i, half in enumerate(halves):
            for r in half:
                damages(inputs[r], bounds[i], found)
        del inputs
        print(f"masks judged after {time.monotonic() - start:.0f} s", flush=True)

        everything = torch.full((len(model.layers), model.cfg["n_head"]), -math.inf, device=args.device)
        dense = [model.token_losses(row, SparseAttention(RELATIVE, everything)).double() for row in rows]
        print(f"dense loss {float(torch.cat(dense).mean()):.5f}")
        print("| tau | rule | density | loss - dense | ± | skipped mass | of 99 % at most | rel-L1 |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for tau, rule in itertools.product(TAUS, args.rules):
            if time.monotonic() - start > args.seconds:
                print(f"out of time: {rule} at {tau:g} and what follows are not run")
                break
            differences, kept, visible = [], 0.0, 0.0
            for i, half in enumerate(halves):
                for r in half:
                    attention = SparseAttention(rule, bounds[i][rule, tau])
                    differences.append(model.token_losses(rows[r], attention).double() - dense[r])
                    kept, visible = kept + attention.kept, visible + attention.visible
            blocks = torch.cat([torch.stack([b.mean() for b in row.split(LOSS_BLOCK)]) for row in differences])
            entry = {
                "density": kept / visible,
                "difference": float(torch.cat(differences).mean()),
                "standard_error": float(blocks.std()) / math.sqrt(len(blocks)),
                "bounds": [bounds[i][rule, tau].tolist() for i in range(2)],
            } | found[rule, tau].row()
            report[f"{rule} {tau:g}"] = entry
            print(
                f"| {tau:g} | {rule} | {entry['density']:.4f} | {entry['difference']:+.5f} | {entry['standard_error']:.5f} "
                f"| {entry['skipped_mass']:.5f} | {entry['skipped_mass_99']:.4f} | {entry['rel_l1']:.4f} |",
                flush=True,
            )
    print(f"done after {time.monotonic() - start:.0f} s")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
