# SPDX-License-Identifier: Apache-2.0
"""Reads the policy files that `sale calibrate` and `sale tune --propose-policy` write (docs/calibrate.md)."""

from __future__ import annotations

from pathlib import Path

from sale.types import Policy

SCHEMA = 1


def load_policy_file(path: str | Path) -> dict[int, Policy]:
    """Each layer's Policy. Needs PyYAML. Raises ValueError for what is no policy file."""
    import yaml

    with open(path, encoding="utf-8") as file:
        root = yaml.safe_load(file)
    if not isinstance(root, dict) or root.get("schema") != SCHEMA or "tau" not in root:
        raise ValueError(f"{path} is no policy file: it must have schema: {SCHEMA} and tau, a row for each layer")
    rows = root["tau"]
    layers = root.get("layers", list(range(len(rows))))
    policies = {}
    for row, layer in enumerate(layers):
        shift = root["shift"][row] if root.get("shift") else ()
        channels = [c for head in root["channels"][row] for c in head] if root.get("channels") else ()
        policies[int(layer)] = Policy(
            **root.get("policy", {}), tau_per_head=rows[row], shift_per_head=shift, channels=channels
        )
    return policies
