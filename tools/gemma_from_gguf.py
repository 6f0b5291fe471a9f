#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A GGUF of a Gemma 3 text model as a bf16 folder for transformers, with its tokenizer.

    gemma_from_gguf.py gemma-3-270m-q4_k_m.gguf OUT        # needs the package gguf

transformers reads such files too, but takes the tokenizer for a unigram one: it is BPE, whose merges follow from the
order of the pieces' scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # kinds of pieces
SPACE = "\u2581"
NAMES = {
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}


def value(file: GGUFReader, name: str):
    return file.fields[name].contents()


def pieces_of(file: GGUFReader) -> list[str]:
    kinds = value(file, "tokenizer.ggml.token_type")
    pieces = value(file, "tokenizer.ggml.tokens")
    # The file writes runs of spaces as spaces and the tab as a byte; the normalizer and the text have U+2581 and a tab.
    pieces = [SPACE * len(piece) if piece and not piece.strip(" ") else piece for piece in pieces]
    return ["\t" if piece == "<0x09>" and kinds[i] == NORMAL else piece for i, piece in enumerate(pieces)]


def merges_of(pieces: list[str], scores: list[float], kinds: list[int]) -> list[tuple[str, str]]:
    """Every split of a piece into two, the best score first."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for i, piece in enumerate(pieces):
        if kinds[i] == NORMAL:
            splits = [(piece[:k], piece[k:]) for k in range(1, len(piece))]
            known = [(ids[a], ids[b], a, b) for a, b in splits if a in ids and b in ids]
            merges += [(-scores[i], a, b) for _, _, a, b in sorted(known)]
    merges.sort(key=lambda merge: merge[0])
    return [(a, b) for _, a, b in merges]


def tokenizer_of(file: GGUFReader) -> PreTrainedTokenizerFast:
    pieces = pieces_of(file)
    kinds = value(file, "tokenizer.ggml.token_type")
    scores = value(file, "tokenizer.ggml.scores")
    special = {name: pieces[value(file, f"tokenizer.ggml.{name}_token_id")] for name in ("bos", "eos", "unknown", "padding")}
    vocabulary = {piece: i for i, piece in enumerate(pieces)}

    def of_kind(kind: int) -> list[int]:
        return [i for i, each in enumerate(kinds) if each == kind]

    model = models.BPE(
        vocabulary, merges_of(pieces, scores, kinds), unk_token=special["unknown"], fuse_unk=True, byte_fallback=True
    )
    made = Tokenizer(model)
    made.normalizer = normalizers.Replace(" ", SPACE)
    made.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens([AddedToken(pieces[i], special=True, normalized=False) for i in of_kind(CONTROL)])
    made.add_tokens([AddedToken(pieces[i], normalized=True) for i in of_kind(USER_DEFINED)])  # come before any merge
    made.post_processor = processors.TemplateProcessing(
        single=f"{special['bos']} $A", special_tokens=[(special["bos"], vocabulary[special["bos"]])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=special["bos"],
        eos_token=special["eos"],
        unk_token=special["unknown"],
        pad_token=special["padding"],
        model_max_length=value(file, "gemma3.context_length"),
    )


def config_of(file: GGUFReader) -> Gemma3TextConfig:
    def of(name: str):
        return value(file, f"gemma3.{name}")

    return Gemma3TextConfig(
        vocab_size=len(value(file, "tokenizer.ggml.tokens")),
        hidden_size=of("embedding_length"),
        intermediate_size=of("feed_forward_length"),
        num_hidden_layers=of("block_count"),
        num_attention_heads=of("attention.head_count"),
        num_key_value_heads=of("attention.head_count_kv"),
        head_dim=of("attention.key_length"),
        query_pre_attn_scalar=of("attention.key_length"),
        max_position_embeddings=of("context_length"),
        rms_norm_eps=of("attention.layer_norm_rms_epsilon"),
        sliding_window=of("attention.sliding_window"),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": of("rope.freq_base")},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    )


def weights_of(file: GGUFReader) -> dict[str, torch.Tensor]:
    weights = {}
    for tensor in file.tensors:
        if tensor.name.startswith("blk."):
            _, layer, name = tensor.name.split(".", 2)
            target = f"model.layers.{layer}.{NAMES[name]}"
        else:
            target = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[tensor.name]
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        # transformers' norms multiply by 1 + weight, the file's by the weight.
        weights[target] = (weight - 1 if "norm" in target else weight).bfloat16()
    return weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    file = GGUFReader(args.gguf)
    model = Gemma3ForCausalLM(config_of(file)).bfloat16()
    missing, unexpected = model.load_state_dict(weights_of(file), strict=False)
    if set(missing) - {"lm_head.weight"} or unexpected:  # the embedding is the head, too
        raise SystemExit(f"missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    model.save_pretrained(args.out)
    tokenizer_of(file).save_pretrained(args.out)


if __name__ == "__main__":
    main()
