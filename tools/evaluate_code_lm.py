#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Loss by position of the project's own code LM, dense attention against libsale's kernels, on all held-out rows.

    evaluate_code_lm.py FOLDER [--policy-files NAME FIRST SECOND] [--json out.json]

FIRST and SECOND are policy files of `sale calibrate`, made from the first half of the rows and from the second; each is
judged on the half that it was not made from. FOLDER holds lm.py, weights.*.bin and heldout.u16. The model is not
published: this file records how figures of the docs were made.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from capture_code_lm import load_lm

import sale
from sale.density import attention_and_density
from sale.policy_file import load_policy_file

BLOCK = 512
EDGES = (0, 1024, 4096, 16384, 32768)
VARIANTS = {
    "dense (tau 0)": sale.Policy(tau=0.0),
    "int8 tau 0.001": sale.Policy(tau=0.001),
    "int8 tau 0.004": sale.Policy(tau=0.004),
    "int8 tau 0.016": sale.Policy(tau=0.016),
    "fp8 tau 0.004": sale.Policy("fp8", tau=0.004),
    "fp8 tau 0.004, fp8 attend": sale.Policy("fp8", tau=0.004, fp8_attend=True),
    "fp8/64 tau 0.004": sale.Policy("fp8", tau=0.004, estimate_dim=64),
}


class Sparse:
    """The attention of one policy for each layer, for lm.py's models; sums densities by layer."""

    def __init__(self) -> None:
        self.policies: dict[int, sale.Policy] = {}
        self.densities: dict[int, list] = {}

    def __call__(self, q, k, v, layer):
        out, density = attention_and_density(q, k, v, policy=self.policies[layer])
        self.densities.setdefault(layer, []).append(density)
        return out

    def by_layer(self) -> list[float]:
        return [float(sum(values) / len(values)) for _, values in sorted(self.densities.items())]


def kinds_of(files: list[tuple[str, str, str]], layers: int) -> dict[str, list[dict[int, sale.Policy]]]:
    """What is compared: the layers' policies for the first half of the rows and for the second."""
    kinds = {name: [dict.fromkeys(range(layers), policy)] * 2 for name, policy in VARIANTS.items()}
    return kinds | {name: [load_policy_file(second), load_policy_file(first)] for name, first, second in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--policy-files", nargs=3, action="append", default=[], metavar=("NAME", "FIRST", "SECOND"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    lm = load_lm(args.folder)
    model = lm.load(str(args.folder))
    rows = lm.heldout(str(args.folder))
    with torch.inference_mode():
        dense = torch.stack([model.token_losses(row).double().flatten() for row in rows])
        report = {"dense sdpa": {"loss": dense.mean().item()}}
        print(f"{'attention':<28} {'loss':>8} {'- dense':>10} {'+-':>9}  by position {EDGES[1:]}, density by layer")
        print(f"{'dense sdpa':<28} {dense.mean().item():8.5f}")
        for name, halves in kinds_of(args.policy_files, len(model.layers)).items():
            sparse = Sparse()
            losses = []
            for index, row in enumerate(rows):
                sparse.policies = halves[2 * index // len(rows)]
                losses.append(model.token_losses(row, sparse).double().flatten())
            loss = torch.stack(losses)
            difference = loss - dense
            blocks = torch.cat([torch.stack([b.mean() for b in row.split(BLOCK)]) for row in difference])
            error = blocks.std().item() / math.sqrt(len(blocks))
            by_position = [difference[:, a:b].mean().item() for a, b in zip(EDGES, EDGES[1:])]
            layers = sparse.by_layer()
            report[name] = {
                "loss": loss.mean().item(),
                "difference": difference.mean().item(),
                "standard_error": error,
                "by_position": by_position,
                "density": layers,
            }
            print(
                f"{name:<28} {loss.mean().item():8.5f} {difference.mean().item():+10.6f} {error:9.6f}  "
                + " ".join(f"{each:+.5f}" for each in by_position)
                + "  "
                + " ".join(f"{each:.3f}" for each in layers),
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
