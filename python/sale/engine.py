# SPDX-License-Identifier: Apache-2.0
"""Engine: one device. Plan: kernels of one problem and policy, ready to run."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sale import _structs as structs
from sale._library import check, library
from sale.tensors import Part, Tensors, merge_to_c
from sale.types import Policy, Problem, Serving, Shape

LAYERS = "layers"
LOG_LEVELS = ("off", "warning", "info", "debug")  # SALE_LOG_OFF is 1
# Of sale_options; what is not here has no counterpart in Python.
OPTIONS = (
    "cuda_driver",
    "nvrtc",
    "pack_key",
    "system_cache_dir",
    "cache_dir",
    "use_disk_cache",
    "cache_max_bytes",
    "cache_max_files",
    "frozen",
    "jobs",
    "compile_seconds",
    "lock_seconds",
    "arch",
    "tuning_gpu",
)


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds of each stage of one call; 0 for those that did not run."""

    sequences: float
    mean: float
    channels: float
    quantize: float
    amax: float
    values: float
    prepare: float
    select: float
    tails: float
    attend: float
    total: float


@dataclass(frozen=True)
class PlanCounters:
    """What the calls of a Plan did. A call that is captured into a graph counts once as it is enqueued."""

    runs: int
    given_masks: int  # of runs, with mask_in
    fallbacks: int  # of runs, dense because they are short
    dense_runs: int
    selects: int
    merges: int
    # On the device as calls end, replays too; 0 unless Serving.counted.
    finished: int
    kept_blocks: int
    visible_blocks: int
    milliseconds: float

    @property
    def density(self) -> float:
        """Share of the visible blocks that was kept; NaN before any call has finished."""
        return self.kept_blocks / self.visible_blocks if self.visible_blocks else math.nan


def _load_tuning(tuning: str | None) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    if tuning == LAYERS:
        layers = structs.TuningLayers()
        library().sale_tuning_layers_init(layers, ctypes.sizeof(layers))
        check(library().sale_tuning_load_layers(layers, handle))
    elif tuning is not None:
        check(library().sale_tuning_load(str(tuning).encode(), handle))
    return handle


def _shape(shape: Shape) -> structs.Shape:
    if not isinstance(shape, Shape):
        raise TypeError(f"shape is {shape!r}; give sale.Shape(batch, q_len, kv_len)")
    return shape.to_c()


def _release_engine(handle: ctypes.c_void_p, _log: Any) -> None:
    """The callback is here so that it outlives the engine."""
    library().sale_engine_release(handle)


class Engine:
    """One device: its context, compiler and kernel cache.

    device: a GPU's number; -1 = the current context's, else 0. tuning: "layers" (shipped, system and user records), the
    path of a record, or None for default tiles. log: called with a level ("warning", "info" or "debug") and a sentence,
    from any thread; None = standard error. log_level: the most that is said, "off" to "debug"; None = SALE_LOG, else
    "warning". Other options are those of sale_options, by name: cuda_driver, nvrtc, cache_dir, arch, frozen, jobs, ...
    """

    def __init__(
        self,
        device: int = -1,
        *,
        tuning: str | None = LAYERS,
        log: Callable[[str, str], None] | None = None,
        log_level: str | None = None,
        **options: Any,
    ) -> None:
        c = structs.Options()
        library().sale_options_init(c, ctypes.sizeof(c))
        if log_level is not None:
            if log_level not in LOG_LEVELS:
                raise ValueError(f"log_level is {log_level!r}; it is one of {', '.join(LOG_LEVELS)}")
            c.log_level = 1 + LOG_LEVELS.index(log_level)
        if log is not None:
            c.log = structs.LOG(lambda level, text, _: log(LOG_LEVELS[level - 1], text.decode(errors="replace")))
        for name, value in options.items():
            if name not in OPTIONS:
                raise TypeError(f"Engine has no option {name!r}; it has {', '.join(OPTIONS)}")
            if isinstance(getattr(c, name), (bytes, type(None))):
                setattr(c, name, str(value).encode())
            elif isinstance(value, (int, float)):
                setattr(c, name, value)
            else:
                raise TypeError(f"{name} is {value!r}; it is a number, or True or False")
        record = _load_tuning(tuning)
        c.tuning = record
        handle = ctypes.c_void_p()
        try:
            check(library().sale_engine_create(device, c, handle))
        finally:
            library().sale_tuning_release(record)
        self._handle = handle
        weakref.finalize(self, _release_engine, handle, c.log)

    @property
    def device_name(self) -> str:
        return library().sale_engine_device_name(self._handle).decode()

    @property
    def arch(self) -> str:
        """The architecture that kernels are compiled for, e.g. "sm_90a"."""
        return library().sale_engine_arch(self._handle).decode()

    def prepare(self, problem: Problem, policy: Policy = Policy(), serving: Serving = Serving()) -> Plan:
        """Compiles kernels, or loads them from the cache. Blocks; call it outside the serving path."""
        handle = ctypes.c_void_p()
        check(
            library().sale_engine_prepare(self._handle, problem.to_c(), policy.to_c(), serving.to_c(), handle)
        )
        return Plan(handle, problem, policy, serving)


class Plan:
    """Kernels of one problem and policy on one device. Made by Engine.prepare; safe to use from several threads."""

    def __init__(self, handle: ctypes.c_void_p, problem: Problem, policy: Policy, serving: Serving) -> None:
        self._handle = handle
        self.problem = problem
        self.policy = policy
        self.serving = serving
        weakref.finalize(self, library().sale_plan_release, handle)

    def workspace_bytes(self, shape: Shape) -> int:
        bytes_ = ctypes.c_size_t()
        check(library().sale_plan_workspace_bytes(self._handle, _shape(shape), bytes_))
        return bytes_.value

    def mask_words(self, shape: Shape) -> int:
        """32-bit words of a mask."""
        words = ctypes.c_size_t()
        check(library().sale_plan_mask_words(self._handle, _shape(shape), words))
        return words.value

    def code_cache_bytes(self, num_pages: int) -> int:
        """Of Tensors.code_cache, for Plans with Serving.code_cache."""
        bytes_ = ctypes.c_size_t()
        check(library().sale_plan_code_cache_bytes(self._handle, num_pages, bytes_))
        return bytes_.value

    @property
    def kernels(self) -> list[str]:
        info = structs.KernelInfo(struct_size=ctypes.sizeof(structs.KernelInfo))
        names = []
        for i in range(library().sale_plan_kernel_count(self._handle)):
            check(library().sale_plan_kernel(self._handle, i, info))
            names.append(info.name.decode())
        return names

    def counters(self) -> PlanCounters:
        """Asks nothing of the driver and waits for nothing."""
        c = structs.PlanCounters(struct_size=ctypes.sizeof(structs.PlanCounters))
        check(library().sale_plan_get_counters(self._handle, c))
        return PlanCounters(**{name: getattr(c, name) for name in PlanCounters.__dataclass_fields__})

    def run(self, tensors: Tensors, stream: int = 0) -> None:
        """Enqueues attention on `stream` (a CUstream as a number; 0 = the default one) and returns."""
        args, _owners = self._args(tensors, stream)
        check(library().sale_plan_run(self._handle, args, stream))

    def run_dense(self, tensors: Tensors, stream: int = 0) -> None:
        """As run, with every visible block kept."""
        args, _owners = self._args(tensors, stream)
        check(library().sale_plan_run_dense(self._handle, args, stream))

    def select(self, tensors: Tensors, stream: int = 0) -> None:
        """The mask alone, into mask_out; with Serving.parts also threshold_out, and then mask_out may be None."""
        args, _owners = self._args(tensors, stream)
        check(library().sale_plan_select(self._handle, args, stream))

    def merge(self, a: Part, b: Part, into: Part, stream: int = 0) -> None:
        """Attention over the keys of both; `into` may be one of them. Without into.out, lse or thresholds alone."""
        args, _owners = merge_to_c(a, b, into, self.problem, stream)
        check(library().sale_plan_merge(self._handle, args, stream))

    def profile(self, tensors: Tensors, stream: int = 0) -> StageTimes:
        """run with events around each stage; waits for the stream."""
        args, _owners = self._args(tensors, stream)
        times = structs.StageTimes(struct_size=ctypes.sizeof(structs.StageTimes))
        check(library().sale_plan_profile(self._handle, args, stream, times))
        return StageTimes(**{name: getattr(times, name) for name in StageTimes.__dataclass_fields__})

    def _args(self, tensors: Tensors, stream: int) -> tuple[structs.RunArgs, list[Any]]:
        estimate_dim = self.policy.estimate_dim or self.problem.head_dim
        return tensors.to_c(self.problem, estimate_dim, self.serving, self.mask_words, stream)
