# SPDX-License-Identifier: Apache-2.0
"""SALE's estimators and masks in torch, for studies on whole models: the arithmetic of docs/numerics.md up to rounding.

Block sizes, sink and window are the defaults (64 x 32, 32, 128); sequences are whole prefills of a multiple of 64 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

BLOCK_Q, BLOCK_K, SINK, WINDOW = 64, 32, 32, 128
ROWS = 512  # rows of a chunk of scores, a multiple of BLOCK_Q


@dataclass(frozen=True)
class Estimator:
    """How q.k is estimated. `width` is the share of the channels that fp8 sees."""

    kind: str  # "exact", "int8", "int4" or "fp8"
    width: float = 1.0
    pruned: bool = False
    projected: bool = False


def power_of_two_scale(norm_squared: torch.Tensor, target: int, low: int, high: int) -> torch.Tensor:
    """2^(target - height) of section 12."""
    height = torch.div(torch.frexp(norm_squared)[1] - 1, 2, rounding_mode="floor") + 1
    return torch.exp2((target - height).clamp(low, high).float())


def e4m3(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(-448, 448).to(torch.float8_e4m3fn).float()


def quantize(x: torch.Tensor, scale: torch.Tensor, limit: int) -> torch.Tensor:
    """Codes times scale, codes of at most `limit`; scale is amax / limit, broadcast over x."""
    return torch.where(scale > 0, torch.round(x / scale).clamp(-limit, limit), 0.0) * scale


def prune(q: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The two of every four entries with the largest |q| * weight."""
    groups = (q.abs() * weights).unflatten(-1, (-1, 4))
    order = groups.argsort(dim=-1, descending=True, stable=True).argsort(-1)
    return q * (order < 2).flatten(-2)


def channel_energies(q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of q [H, N, d] and smoothed k [G, N, d] over every eighth token: both [G, d]."""
    of_queries = q[:, ::8].square().sum(1).unflatten(0, (k.shape[0], -1)).sum(1)
    return of_queries, k[:, ::8].square().sum(1)


def operands(
    q: torch.Tensor, k: torch.Tensor, estimator: Estimator, basis: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Dequantized Q [H, N, d'] and K - kbar [G, N, d'] whose inner product is the estimate of q . (k - kbar).

    `basis` is what `calibrated_basis` gave. The int4 bias is in its last channel.
    """
    smooth = k - k.mean(1, keepdim=True)
    heads, groups = q.shape[0], k.shape[0]
    if estimator.kind == "exact":
        return q, smooth
    if estimator.kind == "int8":
        k_scale = smooth.unflatten(1, (-1, 32)).abs().amax((2, 3), keepdim=True).expand(-1, -1, 32, -1).flatten(1, 2) / 127
        return quantize(q, q.abs().amax(-1, keepdim=True) / 127, 127), quantize(smooth, k_scale, 127)
    if estimator.kind == "int4":
        mean = q.mean(1, keepdim=True)
        slabs = (q - mean).unflatten(1, (-1, 2, 8))  # rows r and r + 8 of a slab share a scale
        q_scale = (slabs.abs().amax((2, 4), keepdim=True) / 7).expand(-1, -1, 2, -1, -1).reshape(heads, -1, 1)
        eights = smooth.unflatten(1, (-1, 4, 4, 2))  # key j of 32 belongs to the group (j % 8) / 2
        k_scale = (eights.abs().amax((2, 4, 5), keepdim=True) / 7).expand(-1, -1, 4, -1, 2, -1).reshape(groups, -1, 1)
        bias = (mean @ smooth.repeat_interleave(heads // groups, 0).transpose(1, 2)).squeeze(1)  # [H, N]
        q_codes, k_codes = quantize(q - mean, q_scale, 7), quantize(smooth, k_scale, 7)
        # A key's bias is per query head, so that K is too.
        k_codes = k_codes.repeat_interleave(heads // groups, 0)
        return torch.cat((q_codes, torch.ones_like(q_codes[..., :1])), -1), torch.cat((k_codes, bias[..., None]), -1)
    if estimator.projected:
        q = torch.einsum("grd,ghnd->ghnr", basis[:, 0], q.unflatten(0, (groups, -1))).flatten(0, 1)
        smooth = torch.einsum("grd,gnd->gnr", basis[:, 1], smooth)
    else:
        weights = channel_energies(q, smooth)[1].sqrt()
        if basis is not None:
            smooth = smooth.gather(2, basis[:, None].expand(-1, smooth.shape[1], -1))
            q = q.gather(2, basis.repeat_interleave(heads // groups, 0)[:, None].expand(-1, q.shape[1], -1))
            weights = weights.gather(1, basis)
        if estimator.pruned:
            q = prune(q, weights.repeat_interleave(heads // groups, 0)[:, None])
    k_norm = smooth.square().sum(-1).unflatten(1, (-1, 32)).amax(-1).repeat_interleave(32, 1)[..., None]
    k_scale = power_of_two_scale(k_norm, 8, -14, 15)
    q_scale = power_of_two_scale(q.square().sum(-1, keepdim=True), 7, -100, 100)
    return e4m3(q * q_scale) / q_scale, e4m3(smooth * k_scale) / k_scale


def calibrated_basis(samples: list[tuple[torch.Tensor, torch.Tensor]], estimator: Estimator) -> torch.Tensor | None:
    """Channels [G, d'] by energy over samples of (q, k), or the QK-balanced projection [G, 2, d', d]."""
    if estimator.width == 1:
        return None
    dim = samples[0][0].shape[-1]
    width = int(estimator.width * dim)
    smoothed = [(q, k - k.mean(1, keepdim=True)) for q, k in samples]
    if not estimator.projected:
        energies = sum(a * b for a, b in (channel_energies(q, k) for q, k in smoothed))
        return energies.argsort(dim=-1, descending=True, stable=True)[:, :width].sort(-1)[0]
    groups = samples[0][1].shape[0]
    of_queries = sum((t := q.unflatten(0, (groups, -1)).flatten(1, 2).double()).mT @ t for q, _ in smoothed)
    of_keys = sum((t := k.double()).mT @ t for _, k in smoothed)

    def power(moments: torch.Tensor, exponent: float) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(moments)
        kept = values > 1e-10 * values[..., -1:]
        return (vectors * torch.where(kept, values.clamp(min=1e-300) ** exponent, 0.0)[..., None, :]) @ vectors.mT

    u, s, vt = torch.linalg.svd(power(of_queries, 0.5) @ power(of_keys, 0.5))
    root = s[..., :width, None].sqrt()
    pair = (root * (u.mT[..., :width, :] @ power(of_queries, -0.5)), root * (vt[..., :width, :] @ power(of_keys, -0.5)))
    return torch.stack(pair, 1).float()


@dataclass
class Chunk:
    """Rows [first, first + ROWS) of the heads of one KV head."""

    heads: slice
    group: int
    first: int
    end: int

    def estimated(self, blocks: int, device: torch.device) -> torch.Tensor:
        """bool [query blocks, blocks]: outside R and visible."""
        p0 = torch.arange(self.first, self.end, BLOCK_Q, device=device)[:, None]
        j = torch.arange(blocks, device=device)[None, :]
        return (j * BLOCK_K >= SINK) & ((j + 1) * BLOCK_K <= p0 - WINDOW)


def chunks(q: torch.Tensor, k: torch.Tensor) -> Iterator[Chunk]:
    group = q.shape[0] // k.shape[0]
    for g in range(k.shape[0]):
        for first in range(0, q.shape[1], ROWS):
            yield Chunk(slice(g * group, (g + 1) * group), g, first, min(first + ROWS, q.shape[1]))


def row_scores(q: torch.Tensor, k: torch.Tensor, chunk: Chunk) -> torch.Tensor:
    """Products of the chunk's rows with keys [0, chunk.end), of k [G or H, N, d]: fp32 [heads, rows, keys]."""
    rows = q[chunk.heads, chunk.first : chunk.end]
    keys = k[chunk.heads, : chunk.end] if k.shape[0] == q.shape[0] != 1 else k[chunk.group, None, : chunk.end]
    return rows @ keys.mT


def mask_future(scores: torch.Tensor, chunk: Chunk) -> torch.Tensor:
    """-inf for keys after a row, in place."""
    rows = torch.arange(chunk.first, chunk.end, device=scores.device)[:, None]
    columns = torch.arange(chunk.first, chunk.end, device=scores.device)[None, :]
    scores[..., chunk.first :].masked_fill_(columns > rows, -math.inf)
    return scores


def reference_lse(scores: torch.Tensor, chunk: Chunk, scale: float) -> torch.Tensor:
    """Log-sum-exp of scale * score over R, [heads, rows], of causal scores; the chunk's rows share keys outside."""
    estimated = chunk.estimated(scores.shape[-1] // BLOCK_K, scores.device)
    blocks = scores.unflatten(-1, (-1, BLOCK_K)).unflatten(1, (-1, BLOCK_Q))
    kept = blocks.masked_fill(estimated[None, :, None, :, None], -math.inf)
    return torch.logsumexp(scale * kept.flatten(-2), -1).flatten(1, 2)


def block_margins(estimate: torch.Tensor, lse: torch.Tensor, scale: float) -> torch.Tensor:
    """Nats above the threshold of tau 1: [heads, query blocks, key blocks]. A block is kept iff > ln(tau) - shift."""
    best = estimate.unflatten(-1, (-1, BLOCK_K)).amax(-1)
    return (scale * best - lse[..., None]).unflatten(1, (-1, BLOCK_Q)).amax(2)
