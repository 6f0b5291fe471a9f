# SPDX-License-Identifier: Apache-2.0
"""The arrays of one call: what they must be, and as the C API's arguments."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sale import _structs as structs
from sale import _tensor
from sale._library import library
from sale.types import Problem, Serving, Shape


@dataclass
class Tensors:
    """One call's arrays. q, k, v and out are [batch, heads, tokens, head_dim], with any strides that are multiples of 8
    elements and a contiguous head_dim. `workspace` has at least Plan.workspace_bytes(shape) bytes; the rest is optional.

    Of a Plan with Serving(ragged=True, ...) (docs/serving.md): sequences that are packed have no batch, q and out are
    [num_q_heads, total_q, head_dim] and lse [num_q_heads, total_q], k and v [num_kv_heads, total_kv, head_dim]; pages
    are k and v [num_pages, num_kv_heads, page_size, head_dim]. Both need `shape`: the batch, the most tokens that a
    sequence may have, and totals where packed. Engines' own layouts are views of these (transpose)."""

    q: Any
    k: Any
    v: Any = None
    out: Any = None
    workspace: Any = None
    lse: Any = None  # f32 [batch, num_q_heads, q_len]
    tau: Any = None  # f32 [num_q_heads]
    shift: Any = None  # f32 [num_q_heads]
    kbar: Any = None  # f32 [batch, num_kv_heads, head_dim], or [num_kv_heads, head_dim], one for all sequences
    channels: Any = None  # i32 [num_kv_heads, estimate_dim]
    projection: Any = None  # f32 [num_kv_heads, 2, estimate_dim, head_dim]
    sink_logits: Any = None  # f32 [num_q_heads]
    mask_in: Any = None  # 32-bit words, Plan.mask_words(shape) of them
    mask_out: Any = None
    expected_density: float = 0.0
    # Of ragged Plans; i32.
    shape: Shape | None = None
    cu_seqlens_q: Any = None  # [batch + 1] first rows, where q is packed
    cu_seqlens_kv: Any = None  # [batch + 1], where k and v are
    q_lens: Any = None  # [batch]
    kv_lens: Any = None  # [batch]
    block_table: Any = None  # [batch, at least kv_len / page_size] numbers of pages
    code_cache: Any = None  # Plan.code_cache_bytes(num_pages) bytes
    coded_lens: Any = None  # [batch] keys whose codes it has
    # Of Plans with Serving(parts=True).
    q_positions: Any = None  # i32 [batch]
    key_offsets: Any = None  # i32 [batch]
    threshold_in: Any = None  # as lse
    threshold_out: Any = None

    def to_c(
        self, problem: Problem, estimate_dim: int, serving: Serving, mask_words: Callable[[Shape], int], stream: int
    ) -> tuple[structs.RunArgs, list[Any]]:
        """The arguments, and what must live as long. estimate_dim: channels of the estimate."""
        if not isinstance(stream, int):  # ctypes would take the address of a text
            raise TypeError(f"stream is {stream!r}; give a CUstream (cudaStream_t) as a number")
        views = {
            name: _tensor.view(value, name, stream)
            for name, value in vars(self).items()
            if value is not None and name not in ("expected_density", "shape")
        }
        shape = self._shape_of(views, serving)
        args = structs.RunArgs()
        library().sale_run_args_init(args, ctypes.sizeof(args))
        for name in ("batch", "q_len", "kv_len", "total_q", "total_kv"):
            setattr(args, name, getattr(shape, name))
        args.expected_density = self.expected_density
        kbar = views.get("kbar")
        args.kbar_shared = kbar is not None and len(kbar.shape) == 2
        expected = _expected(problem, estimate_dim, serving, shape, views)
        for name, view in views.items():
            if name in expected:
                _require(view, name, *expected[name])
            if name in ("q", "k", "v", "out"):
                setattr(args, name, _rows(view, name))
                continue
            if view.strides != _tensor.packed_strides(view.shape):
                raise ValueError(f"{name} must be contiguous")
            if name in ("mask_in", "mask_out") and _bytes(view) < 4 * mask_words(shape):
                raise ValueError(f"{name} has {_bytes(view)} bytes; a mask has {4 * mask_words(shape)}")
            if name == "block_table":
                if view.dtype != "i32" or len(view.shape) != 2 or view.shape[0] != shape.batch:
                    raise ValueError(f"block_table is {view.dtype} {list(view.shape)}; it must be i32 [{shape.batch}, pages]")
                args.block_table_stride, args.num_pages = view.shape[1], views["k"].shape[0]
            setattr(args, name, view.pointer)
        if "workspace" in views:
            args.workspace_bytes = _bytes(views["workspace"])
        return args, list(views.values())

    def _shape_of(self, views: dict[str, _tensor.View], serving: Serving) -> Shape:
        q, k = views["q"].shape, views["k"].shape
        paged = serving.page_size != 0
        if self.shape is not None:
            return self.shape
        if (len(q) == 3 or len(k) == 3 or paged) and serving.is_ragged:
            raise ValueError(
                "shape is needed where sequences are packed or in pages: Shape(batch, the most queries and keys of a "
                "sequence, total_q=, total_kv=)"
            )
        for name, each in (("q", q), ("k", k)):
            if len(each) != 4:
                raise ValueError(f"{name} has shape {list(each)}; it is [batch, heads, tokens, head_dim]")
        return Shape(q[0], q[2], k[2])


@dataclass
class Part:
    """Attention over some of the keys: out [batch, num_q_heads, q_len, v_head_dim] and lse [batch, num_q_heads, q_len];
    packed, without the batch."""

    out: Any = None
    lse: Any = None


def merge_to_c(a: Part, b: Part, into: Part, problem: Problem, stream: int) -> tuple[structs.MergeArgs, list[Any]]:
    """The arguments of Plan.merge, and what must live as long."""
    args = structs.MergeArgs()
    library().sale_merge_args_init(args, ctypes.sizeof(args))
    if into.lse is None:
        raise ValueError("lse of the merged part is needed; without out, it alone is merged")
    owners = []
    lse_shape = _tensor.view(into.lse, "lse", stream).shape
    if len(lse_shape) not in (2, 3) or lse_shape[-2] != problem.num_q_heads:
        raise ValueError(f"lse is {list(lse_shape)}; it must be [batch, {problem.num_q_heads}, q_len]")
    args.q_len = lse_shape[-1]
    args.total_q = lse_shape[-1] if len(lse_shape) == 2 else 0
    args.batch = lse_shape[0] if len(lse_shape) == 3 else 1
    for part, suffix in ((a, "_a"), (b, "_b"), (into, "")):
        lse = _tensor.view(part.lse, "lse" + suffix, stream)
        _require(lse, "lse" + suffix, "f32", lse_shape)
        if lse.strides != _tensor.packed_strides(lse.shape):
            raise ValueError(f"lse{suffix} must be contiguous")
        setattr(args, "lse" + suffix, lse.pointer)
        owners.append(lse)
        if into.out is not None:
            out = _tensor.view(part.out, "out" + suffix, stream)
            _require(out, "out" + suffix, problem.dtype, (*lse_shape, problem.v_head_dim or problem.head_dim))
            setattr(args, "out" + suffix, _rows(out, "out" + suffix))
            owners.append(out)
    return args, owners


def _expected(
    problem: Problem, estimate_dim: int, serving: Serving, shape: Shape, views: dict[str, _tensor.View]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Element type and extents, of what has one."""
    q_heads, kv_heads, dim = problem.num_q_heads, problem.num_kv_heads, problem.head_dim
    v_dim = problem.v_head_dim or dim
    rows = (q_heads, shape.total_q) if shape.total_q else (shape.batch, q_heads, shape.q_len)
    if serving.page_size:
        keys: tuple[int, ...] = (views["k"].shape[0], kv_heads, serving.page_size)
    else:
        keys = (kv_heads, shape.total_kv) if shape.total_kv else (shape.batch, kv_heads, shape.kv_len)
    kbar = views.get("kbar")
    shared = kbar is not None and len(kbar.shape) == 2
    each, starts = ("i32", (shape.batch,)), ("i32", (shape.batch + 1,))
    return {
        "q": (problem.dtype, (*rows, dim)),
        "k": (problem.dtype, (*keys, dim)),
        "v": (problem.dtype, (*keys, v_dim)),
        "out": (problem.dtype, (*rows, v_dim)),
        "lse": ("f32", rows),
        "tau": ("f32", (q_heads,)),
        "shift": ("f32", (q_heads,)),
        "kbar": ("f32", (kv_heads, dim) if shared else (shape.batch, kv_heads, dim)),
        "channels": ("i32", (kv_heads, estimate_dim)),
        "projection": ("f32", (kv_heads, 2, estimate_dim, dim)),
        "sink_logits": ("f32", (q_heads,)),
        "cu_seqlens_q": starts,
        "cu_seqlens_kv": starts,
        "q_lens": each,
        "kv_lens": each,
        "coded_lens": each,
        "q_positions": each,
        "key_offsets": each,
        "threshold_in": ("f32", rows),
        "threshold_out": ("f32", rows),
    }


def _rows(view: _tensor.View, name: str) -> structs.Tensor:
    if view.strides[-1] != 1 and view.shape[-1] != 1:
        raise ValueError(f"{name} has stride {view.strides[-1]} along head_dim, which must be contiguous")
    batch = view.strides[0] if len(view.shape) == 4 else 0
    return structs.Tensor(view.pointer, batch, *view.strides[-3:-1])


def _require(view: _tensor.View, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    if view.dtype != dtype or view.shape != shape:
        raise ValueError(f"{name} is {view.dtype} {list(view.shape)}; it must be {dtype} {list(shape)}")


def _bytes(view: _tensor.View) -> int:
    return math.prod(view.shape) * {"u8": 1, "f16": 2, "bf16": 2}.get(view.dtype, 4)
