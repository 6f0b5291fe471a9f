# SPDX-License-Identifier: Apache-2.0
"""The structs of include/sale/sale.h. tests/python compares their layout with the C compiler's."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint64, c_void_p

CANCELLED = ctypes.CFUNCTYPE(ctypes.c_int, c_void_p)
WARNING = ctypes.CFUNCTYPE(None, c_char_p, c_void_p)


class Problem(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("dtype", c_int32),
        ("head_dim", c_int32),
        ("v_head_dim", c_int32),
        ("num_q_heads", c_int32),
        ("num_kv_heads", c_int32),
        ("causal", c_int32),
        ("softmax_scale", c_float),
        ("sliding_window", c_int32),
        ("softcap", c_float),
        ("sink_logits", c_int32),
    ]


class Policy(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("estimator", c_int32),
        ("block_q", c_int32),
        ("block_k", c_int32),
        ("sink", c_int32),
        ("window", c_int32),
        ("tau", c_float),
        ("tau_per_head", POINTER(c_float)),
        ("tau_per_head_count", c_size_t),
        ("shift_per_head", POINTER(c_float)),
        ("shift_per_head_count", c_size_t),
        ("estimate_dim", c_int32),
        ("prune_queries", c_int32),
        ("channels", POINTER(c_int32)),
        ("channels_count", c_size_t),
        ("projection", POINTER(c_float)),
        ("projection_count", c_size_t),
        ("kbar", POINTER(c_float)),
        ("kbar_count", c_size_t),
        ("fp8_attend", c_int32),
        ("second_filter", c_int32),
        ("dense_below", c_int32),
        ("reserved", c_int32),
    ]


class Serving(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("ragged", c_int32),
        ("page_size", c_int32),
        ("code_cache", c_int32),
        ("parts", c_int32),
        ("counted", c_int32),
        ("reserved", c_int32),
    ]


class Shape(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("batch", c_int32),
        ("q_len", c_int32),
        ("kv_len", c_int32),
        ("total_q", c_int32),
        ("total_kv", c_int32),
        ("reserved", c_int32),
    ]


class KernelInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("arch", c_char_p),
        ("key", c_char_p),
        ("from_cache", c_int32),
        ("registers", c_int32),
        ("spill_bytes", c_int32),
        ("shared_memory", c_int32),
        ("binary_bytes", c_uint64),
        ("milliseconds", c_double),
    ]


LOG = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
PROGRESS = ctypes.CFUNCTYPE(None, POINTER(KernelInfo), ctypes.c_int, ctypes.c_int, c_void_p)


class Options(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("cuda_driver", c_char_p),
        ("nvrtc", c_char_p),
        ("cache_packs", POINTER(c_char_p)),
        ("cache_packs_count", c_size_t),
        ("pack_key", c_char_p),
        ("system_cache_dir", c_char_p),
        ("cache_dir", c_char_p),
        ("use_disk_cache", c_int32),
        ("log_level", c_int32),
        ("cache_max_bytes", c_uint64),
        ("cache_max_files", c_uint64),
        ("frozen", c_int32),
        ("jobs", c_int32),
        ("compile_seconds", c_double),
        ("lock_seconds", c_double),
        ("arch", c_char_p),
        ("tuning", c_void_p),
        ("tuning_gpu", c_char_p),
        ("cancelled", CANCELLED),
        ("progress", PROGRESS),
        ("log", LOG),
        ("user", c_void_p),
    ]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("stride_batch", c_int64),
        ("stride_head", c_int64),
        ("stride_token", c_int64),
    ]


class RunArgs(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("batch", c_int32),
        ("q_len", c_int32),
        ("kv_len", c_int32),
        ("total_q", c_int32),
        ("total_kv", c_int32),
        ("expected_density", c_float),
        ("q", Tensor),
        ("k", Tensor),
        ("v", Tensor),
        ("out", Tensor),
        ("lse", c_void_p),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("tau", c_void_p),
        ("shift", c_void_p),
        ("kbar", c_void_p),
        ("channels", c_void_p),
        ("projection", c_void_p),
        ("sink_logits", c_void_p),
        ("mask_in", c_void_p),
        ("mask_out", c_void_p),
        ("cu_seqlens_q", c_void_p),
        ("cu_seqlens_kv", c_void_p),
        ("q_lens", c_void_p),
        ("kv_lens", c_void_p),
        ("block_table", c_void_p),
        ("block_table_stride", c_int32),
        ("num_pages", c_int32),
        ("code_cache", c_void_p),
        ("coded_lens", c_void_p),
        ("q_positions", c_void_p),
        ("key_offsets", c_void_p),
        ("threshold_in", c_void_p),
        ("threshold_out", c_void_p),
        ("kbar_shared", c_int32),
        ("reserved", c_int32),
    ]


class MergeArgs(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("batch", c_int32),
        ("q_len", c_int32),
        ("total_q", c_int32),
        ("out_a", Tensor),
        ("out_b", Tensor),
        ("out", Tensor),
        ("lse_a", c_void_p),
        ("lse_b", c_void_p),
        ("lse", c_void_p),
    ]


class StageTimes(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t)] + [
        (name, c_double)
        for name in (
            "sequences",
            "mean",
            "channels",
            "quantize",
            "amax",
            "values",
            "prepare",
            "select",
            "tails",
            "attend",
            "total",
        )
    ]


class PlanCounters(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("runs", c_uint64),
        ("given_masks", c_uint64),
        ("fallbacks", c_uint64),
        ("dense_runs", c_uint64),
        ("selects", c_uint64),
        ("merges", c_uint64),
        ("finished", c_uint64),
        ("kept_blocks", c_uint64),
        ("visible_blocks", c_uint64),
        ("milliseconds", c_double),
    ]


class TuningLayers(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("shipped", c_int32),
        ("system_dir", c_char_p),
        ("user_dir", c_char_p),
        ("warning", WARNING),
        ("user", c_void_p),
    ]


# By their names in the header.
ALL = {
    "sale_problem": Problem,
    "sale_policy": Policy,
    "sale_serving": Serving,
    "sale_shape": Shape,
    "sale_kernel_info": KernelInfo,
    "sale_options": Options,
    "sale_tensor": Tensor,
    "sale_run_args": RunArgs,
    "sale_merge_args": MergeArgs,
    "sale_stage_times": StageTimes,
    "sale_plan_counters": PlanCounters,
    "sale_tuning_layers": TuningLayers,
}
