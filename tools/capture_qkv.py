#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Captures Q, K and V (after RoPE) of one layer of a Hugging Face causal LM, for `sale run --qkv`.

Works for every model whose attention goes through transformers' AttentionInterface (transformers >= 4.56).

    capture_qkv.py MODEL --text FILE --scan                                  # which layers are interesting?
    capture_qkv.py MODEL --text FILE --layer 12 --kv-head 1 -o out.safetensors

MODEL is a folder or a hub name; with --gguf-file NAME, weights and tokenizer come from that file inside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import qkv
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
from sale.integrations import capture as capturing  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or hub name of a causal LM")
    parser.add_argument("--gguf-file", help="name of a GGUF file inside MODEL")
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text to read")
    parser.add_argument("--tokens", type=int, default=8192, help="length of the prefill (default 8192)")
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--dtype", default="float32", help="dtype to run the model in (default float32)")
    parser.add_argument("--model-name", help="name for the file's metadata (default MODEL)")
    parser.add_argument("--text-name", help="name for the file's metadata (default the file's name)")
    qkv.add_output_options(parser)
    args = parser.parse_args()
    qkv.check_output_options(parser, args)

    gguf = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    tokenizer = AutoTokenizer.from_pretrained(args.model, **gguf)
    ids = tokenizer(args.text.read_text(encoding="utf-8"), return_tensors="pt").input_ids[:, : args.tokens]
    if ids.shape[1] < args.tokens:
        raise SystemExit(
            f"{args.text} has {ids.shape[1]} tokens, {args.tokens} are wanted: give a longer text or a smaller --tokens"
        )

    def capture(layers: set[int] | None) -> tuple[dict[int, qkv.Layer], dict[int, float]]:
        found: dict[int, qkv.Layer] = {}
        scales: dict[int, float] = {}

        def hear(call: capturing.Captured) -> None:
            if layers is None or call.layer in layers:
                found[call.layer] = tuple(t[0].to(torch.bfloat16).cpu().clone() for t in (call.q, call.k, call.v))
                scales[call.layer] = call.softmax_scale

        model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype), **gguf)
        with capturing.captured_by(model, hear), torch.inference_mode():
            model.to(args.device).base_model(ids.to(args.device), use_cache=False)
        return found, scales

    qkv.finish(args, capture, {"model": args.model_name or args.model, "text": args.text_name or args.text.name})


if __name__ == "__main__":
    main()
