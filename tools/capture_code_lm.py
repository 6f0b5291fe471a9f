#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Captures Q, K and V (after RoPE) of one layer of the project's own code LM, for `sale run --qkv`.

    capture_code_lm.py FOLDER --tokens 5120 --layer 3 --kv-head 0 -o out.safetensors

FOLDER holds lm.py, weights.*.bin and heldout.u16; the prefill is the start of one held-out row. The model is not
published: this file only records how data/code-lm.safetensors was made. For models of your own, see capture_qkv.py.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import qkv


def load_lm(folder: Path):
    """The module FOLDER/lm.py."""
    spec = importlib.util.spec_from_file_location("lm", folder / "lm.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{folder}/lm.py can't be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the language model")
    parser.add_argument("--row", type=int, default=0, help="held-out row (default 0)")
    parser.add_argument("--device", default="cpu", help="device of the model (default cpu)")
    parser.add_argument("--tokens", type=int, default=8192, help="length of the prefill (default 8192)")
    qkv.add_output_options(parser)
    args = parser.parse_args()
    qkv.check_output_options(parser, args)

    def capture(layers: set[int] | None) -> tuple[dict[int, qkv.Layer], dict[int, float]]:
        lm = load_lm(args.folder)
        model = lm.load(str(args.folder), device=args.device).float()
        tokens = lm.heldout(str(args.folder), device=args.device)[args.row, : args.tokens]
        captured: dict[int, qkv.Layer] = {}

        def attention(q, k, v, layer):
            if layers is None or layer in layers:
                captured[layer] = tuple(t[0].bfloat16().cpu().clone() for t in (q, k, v))
            return lm.sdpa(q, k, v)

        with lm.torch.inference_mode():
            model.hidden(tokens[None], attention, dtype=lm.torch.float32)
        return captured, {}

    qkv.finish(args, capture, {"model": "code-lm", "text": f"held-out row {args.row}"})


if __name__ == "__main__":
    main()
