# SPDX-License-Identifier: Apache-2.0
"""Thresholds for a Hugging Face model from texts: captures its Q, K and V and runs `sale calibrate` (docs/calibrate.md).

    calibration = sale.calibrate(model, [text], tokenizer=tokenizer, output="policy.yaml", lengths=(4096, 8192))
    sale.integrations.transformers.register(policy_file=calibration.policy_file)

Needs torch, transformers, safetensors, and the program `sale`: SALE_PROGRAM, else the one on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from sale.integrations.capture import Captured, captured_by


@dataclass(frozen=True)
class Calibration:
    """What came of it. `report` is that of `sale calibrate --json`; `skipped` names the layers that were left alone, and
    why: they run with the policy that register() is given."""

    policy_file: Path
    report: dict[str, Any]
    skipped: dict[int, str]


class _Writer:
    """Writes the captured layers of one text to files, one layer after the other."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.files: list[Path] = []
        self.skipped: dict[int, str] = {}

    def __call__(self, captured: Captured) -> None:
        if captured.variants:
            self.skipped[captured.layer] = "its attention has " + " and ".join(captured.variants)
            return
        path = self.folder / f"{self.name}-layer{captured.layer}.safetensors"
        tensors = {name: getattr(captured, name).to(torch.bfloat16).cpu().contiguous() for name in "qkv"}
        save_file(tensors, path, {"layer": str(captured.layer), "softmax_scale": repr(captured.softmax_scale)})
        self.files.append(path)


def _program() -> str:
    program = os.environ.get("SALE_PROGRAM") or shutil.which("sale")
    if program is None:
        raise FileNotFoundError("the program `sale` is not on PATH; build it, or name it with SALE_PROGRAM=/path/sale")
    return program


def _ids(text, tokenizer, tokens: int, name: str) -> torch.Tensor:
    if isinstance(text, str):
        if tokenizer is None:
            raise ValueError(f"{name} is a string; give a tokenizer, or token ids")
        text = tokenizer(text, return_tensors="pt").input_ids
    ids = torch.as_tensor(text).reshape(-1)
    if len(ids) < tokens:
        raise ValueError(f"{name} has {len(ids)} tokens; the longest of the lengths is {tokens}")
    return ids[:tokens]


def _capture(model, texts: Sequence[torch.Tensor], folder: Path, kind: str) -> tuple[list[Path], dict[int, str]]:
    files, skipped = [], {}
    for number, ids in enumerate(texts):
        writer = _Writer(folder, f"{kind}{number}")
        with captured_by(model, writer), torch.inference_mode():
            model.base_model(ids[None].to(model.device), use_cache=False)
        if not writer.files:
            said = "; ".join(f"layer {layer}: {why}" for layer, why in sorted(writer.skipped.items()))
            raise ValueError(f"there is no attention to calibrate ({said or 'the model does not use AttentionInterface'})")
        files += writer.files
        skipped |= writer.skipped
    return files, skipped


def calibrate(
    model,
    texts: Iterable[str | Sequence[int] | torch.Tensor],
    *,
    output: str | Path,
    tokenizer=None,
    lengths: Sequence[int] = (2048, 4096, 8192),
    relative_bound: float | None = None,
    bound: float | None = None,
    largest_tau: float | None = None,
    rows: int = 1024,
    estimator: str = "int8",
    judge_texts: Iterable[str | Sequence[int] | torch.Tensor] = (),
    options: Sequence[str] = (),
) -> Calibration:
    """Finds for each layer and query head the largest tau with which the head's output stays within the bound of dense
    attention's, on every text and at every length, and writes a policy file to `output`.

    model: a causal LM whose attention goes through AttentionInterface, on any device and in any dtype. texts: strings (with
    a tokenizer), or token ids; each at least max(lengths) tokens, of which that many are used. relative_bound (0.01 unless
    `bound` is given): sum |out - dense| / sum |dense|. bound: mean over rows of sum |out - dense|. judge_texts: texts to
    judge the result on; without any, rows of the texts themselves that took no part. options: more words for `sale
    calibrate`, e.g. ("--estimate-dim", "64", "--projection"). Raises ValueError for what cannot be calibrated,
    RuntimeError with the program's words when it fails. Captures of one text take 2 bytes * tokens * head_dim * (query + 2
    KV heads) of disk for each layer, in the folder for temporary files.
    """
    program = _program()
    longest = max(lengths)
    samples = [_ids(text, tokenizer, longest, f"texts[{i}]") for i, text in enumerate(texts)]
    judges = [_ids(text, tokenizer, longest, f"judge_texts[{i}]") for i, text in enumerate(judge_texts)]
    if not samples:
        raise ValueError("texts is empty")
    if relative_bound is None and bound is None:
        relative_bound = 0.01
    with tempfile.TemporaryDirectory(prefix="sale-calibrate-") as folder:
        files, skipped = _capture(model, samples, Path(folder), "text")
        words = [program, "calibrate", *files, "--estimator", estimator, "--rows", str(rows), "-o", Path(output)]
        shorter = sorted({length for length in lengths if length < longest})
        if shorter:
            words += ["--lengths", ",".join(map(str, shorter))]
        for option, value in {
            "--relative-bound": relative_bound,
            "--bound": bound,
            "--largest-tau": largest_tau,
        }.items():
            if value is not None:
                words += [option, repr(float(value))]
        if judges:
            words += ["--judge", *_capture(model, judges, Path(folder), "judge")[0]]
        report = Path(folder) / "report.json"
        words += [*options, "--json", report]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"sale calibrate ended with {done.returncode}: {done.stderr.strip()}")
        return Calibration(Path(output), json.loads(report.read_text(encoding="utf-8")), skipped)
