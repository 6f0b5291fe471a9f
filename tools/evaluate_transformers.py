#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What SALE costs a Hugging Face model: loss on a text and needles found, dense attention against libsale's.

    evaluate_transformers.py MODEL --text book.txt --lengths 2048,8192 --tau 0.004,0.016 [--policy-files policy.yaml] --json out.json

MODEL is a folder or hub name; with --gguf-file NAME, weights and tokenizer come from that file inside it. Each length is
judged on windows of the text that do not overlap, each begun as the tokenizer begins a text. Losses are compared token by
token; the standard error is that of the mean over blocks of 512 tokens. A needle is a sentence with a number at one of
several depths of the text, asked for at the end and answered greedily.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sale import Policy
from sale.integrations import transformers as integration

BLOCK = 512  # tokens whose differences count as one sample
CITIES = ("Lisbon", "Oslo", "Quito", "Nairobi", "Hanoi", "Lima", "Riga", "Accra", "Sofia", "Doha")


def logits_of(model, hidden: torch.Tensor) -> torch.Tensor:
    logits = model.get_output_embeddings()(hidden)
    cap = getattr(model.config, "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


def losses(model, ids: torch.Tensor) -> torch.Tensor:
    """[tokens - 1]: of each token, nats. In parts: logits of a whole window may be more than the device holds."""
    with torch.inference_mode():
        hidden = model.base_model(ids[None]).last_hidden_state[0, :-1]
        parts = [
            torch.nn.functional.cross_entropy(logits_of(model, part).float(), target, reduction="none")
            for part, target in zip(hidden.split(2048), ids[1:].split(2048))
        ]
    return torch.cat(parts).double()


def check_logits(model, ids: torch.Tensor) -> None:
    """Some models do more to logits than logits_of() knows."""
    with torch.inference_mode():
        own = model(ids[None]).logits[0].float()
        ours = logits_of(model, model.base_model(ids[None]).last_hidden_state[0]).float()
    if (own - ours).abs().max() > 0.02 * own.abs().max():
        raise SystemExit("this model's logits are not its head's output: its losses can't be computed in parts")


def paired(sparse: torch.Tensor, dense: torch.Tensor) -> tuple[float, float]:
    """Mean of the differences, and its standard error over blocks."""
    difference = sparse - dense
    blocks = torch.stack([block.mean() for block in difference.split(BLOCK) if len(block) == BLOCK])
    error = blocks.std().item() / math.sqrt(len(blocks)) if len(blocks) > 1 else math.nan
    return difference.mean().item(), error


def needle_prompts(tokenizer, ids: list[int], length: int, count: int) -> list[tuple[torch.Tensor, str]]:
    draw = random.Random(length)
    prompts = []
    for i in range(count):
        city, number = CITIES[i % len(CITIES)], str(draw.randrange(10000, 99999))
        needle = tokenizer.encode(f"\nThe secret number of {city} is {number}.\n", add_special_tokens=False)
        question = tokenizer.encode(
            f"\nQuestion: What is the secret number of {city}?\nAnswer: The secret number of {city} is",
            add_special_tokens=False,
        )
        room = length - len(needle) - len(question) - 1
        start = draw.randrange(max(1, len(ids) - room))
        depth = int(room * (i + 0.5) / count)
        hay = ids[start : start + room]
        first = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
        prompts.append((torch.tensor(first + hay[:depth] + needle + hay[depth:] + question), number))
    return prompts


def found(model, tokenizer, prompts) -> int:
    right = 0
    for ids, number in prompts:
        with torch.inference_mode():
            said = model.generate(
                ids[None].to(model.device),
                attention_mask=torch.ones_like(ids[None]).to(model.device),
                max_new_tokens=10,
                do_sample=False,
                pad_token_id=0,
            )
        answer = tokenizer.decode(said[0, len(ids) :])
        right += number in answer.replace(" ", "").replace(",", "")
    return right


def kinds_of(args) -> dict[str, dict | None]:
    """What is compared: keyword arguments of register(), None for dense attention by SDPA."""
    kinds: dict[str, dict | None] = {"dense sdpa": None, "sale tau 0": {"tau": 0.0}}
    for tau in args.tau:
        for estimator in args.estimators:
            policy = Policy(estimator=estimator)
            kinds[f"sale {estimator} tau {tau:g}"] = {"policy": policy, "tau": tau}
    for file in args.policy_files:
        kinds[f"sale {Path(file).stem}"] = {"policy_file": file}
    return kinds


def sliding_layers(model) -> list[int]:
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    return [layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"]


def use(model, options: dict | None, min_tokens: int, dense_layers: list[int]):
    registered = None
    if options is not None:
        registered = integration.register(**options, min_tokens=min_tokens, measure_density=True)
        registered.layer_policies.update({layer: Policy(tau=0.0) for layer in dense_layers})
    model.set_attn_implementation("sdpa" if options is None else integration.NAME)
    return registered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--gguf-file")
    parser.add_argument("--text", type=Path, required=True, help="UTF-8 text to read")
    parser.add_argument("--lengths", default="2048,8192", help="tokens of a window")
    parser.add_argument("--windows", type=int, default=8, help="of each length, at most")
    parser.add_argument("--needles", type=int, default=20, help="of each length")
    parser.add_argument("--tau", default="0.004")
    parser.add_argument("--estimators", default="int8")
    parser.add_argument("--policy-files", nargs="*", default=[], help="of sale calibrate")
    parser.add_argument("--dense-sliding", action="store_true", help="keep everything in layers that have a sliding window")
    parser.add_argument("--min-tokens", type=int, default=512, help="shorter inputs run dense")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.tau = [float(tau) for tau in args.tau.split(",")]
    args.estimators = args.estimators.split(",")

    where = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    tokenizer = AutoTokenizer.from_pretrained(args.model, **where)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16, **where).cuda().eval()
    text = tokenizer.encode(args.text.read_text(encoding="utf-8"), add_special_tokens=False)
    begin = tokenizer.encode("")
    check_logits(model, torch.tensor(begin + text[:64]).cuda())
    dense_layers = sliding_layers(model) if args.dense_sliding else []
    report: dict = {"model": args.model, "text tokens": len(text), "lengths": {}}
    for length in map(int, args.lengths.split(",")):
        fresh = length - len(begin)
        starts = range(0, len(text) - fresh + 1, fresh)[: args.windows]
        windows = [torch.tensor(begin + text[i : i + fresh]).cuda() for i in starts]
        prompts = needle_prompts(tokenizer, text, length, args.needles)
        dense = None
        rows = {}
        print(f"\n{length} tokens, {len(windows)} windows, {len(prompts)} needles")
        print(f"{'attention':<28} {'ppl':>9} {'loss':>8} {'- dense':>10} {'+-':>9} {'needles':>8} {'density':>8}, by layer")
        for name, options in kinds_of(args).items():
            registered = use(model, options, args.min_tokens, dense_layers)
            loss = torch.cat([losses(model, window) for window in windows])
            layers = {}
            if registered:
                calls = registered.report()
                layers = {i: each.density for i, each in calls.items() if each.sparse and i not in dense_layers}
            dense = loss if dense is None else dense
            difference, error = paired(loss, dense)
            right = found(model, tokenizer, prompts)
            density = sum(layers.values()) / len(layers) if layers else math.nan
            mean = loss.mean().item()
            rows[name] = {
                "ppl": math.exp(mean),
                "loss": mean,
                "difference": difference,
                "standard_error": error if error == error else None,
                "needles": right,
                "of": len(prompts),
                "density": density if layers else None,
                "layers": layers,
            }
            print(
                f"{name:<28} {math.exp(mean):9.4f} {mean:8.4f} {difference:+10.5f} {error:9.5f} "
                f"{right:>4}/{len(prompts)} {density:8.3f}  " + " ".join(f"{each:.3f}" for each in layers.values()),
                flush=True,
            )
        report["lengths"][length] = rows
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
