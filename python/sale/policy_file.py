# SPDX-License-Identifier: Apache-2.0
"""Reads the policy files that `sale calibrate` and `sale tune --propose-policy` write (docs/calibrate.md)."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from sale.types import Policy

SCHEMA = 1


def _tensors(path: Path) -> dict[str, tuple[float, ...]]:
    """The F32 tensors of a safetensors file: 8 bytes with the length of a JSON header, the header, the data."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {entry['dtype']}; it must be F32")
        begin, end = entry["data_offsets"]
        tensors[name] = struct.unpack_from(f"<{(end - begin) // 4}f", content, 8 + length + begin)
    return tensors


def load_policy_file(path: str | Path) -> dict[int, Policy]:
    """Each layer's Policy. Needs PyYAML. Raises ValueError for what is no policy file."""
    import yaml

    path = Path(path)
    root = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(root, dict) or root.get("schema") != SCHEMA or "tau" not in root:
        raise ValueError(f"{path} is no policy file: it must have schema: {SCHEMA} and tau, a row for each layer")
    rows = root["tau"]
    layers = root.get("layers", list(range(len(rows))))
    if len(layers) != len(rows):
        raise ValueError(f"{path} names {len(layers)} layers, but has {len(rows)} rows of tau")
    tensors = _tensors(path.parent / root["tensors"]) if root.get("tensors") else {}
    policies = {}
    for row, layer in enumerate(layers):
        shift = root["shift"][row] if root.get("shift") else ()
        channels = [c for head in root["channels"][row] for c in head] if root.get("channels") else ()
        policies[int(layer)] = Policy(
            **root.get("policy", {}),
            tau_per_head=rows[row],
            shift_per_head=shift,
            channels=channels,
            projection=tensors.get(f"projection.{layer}", ()),
            kbar=tensors.get(f"kbar.{layer}", ()),
        )
    return policies
