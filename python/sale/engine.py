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
from sale import _tensor
from sale._library import check, library
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


@dataclass
class Tensors:
    """One call's arrays. q, k, v and out are [batch, heads, tokens, head_dim], with any strides that are multiples of 8
    elements and a contiguous head_dim. `workspace` has at least Plan.workspace_bytes(shape) bytes; the rest is optional."""

    q: Any
    k: Any
    v: Any
    out: Any
    workspace: Any
    lse: Any = None  # f32 [batch, num_q_heads, q_len]
    tau: Any = None  # f32 [num_q_heads]
    shift: Any = None  # f32 [num_q_heads]
    kbar: Any = None  # f32 [batch, num_kv_heads, head_dim]
    sink_logits: Any = None  # f32 [num_q_heads]
    mask_in: Any = None  # 32-bit words, Plan.mask_words(shape) of them
    mask_out: Any = None
    expected_density: float = 0.0


def _load_tuning(tuning: str | None) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    if tuning == LAYERS:
        layers = structs.TuningLayers()
        library().sale_tuning_layers_init(layers, ctypes.sizeof(layers))
        check(library().sale_tuning_load_layers(layers, handle))
    elif tuning is not None:
        check(library().sale_tuning_load(str(tuning).encode(), handle))
    return handle


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
            setattr(c, name, str(value).encode() if isinstance(getattr(c, name), (bytes, type(None))) else value)
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
        check(library().sale_plan_workspace_bytes(self._handle, shape.to_c(), bytes_))
        return bytes_.value

    def mask_words(self, shape: Shape) -> int:
        """32-bit words of a mask."""
        words = ctypes.c_size_t()
        check(library().sale_plan_mask_words(self._handle, shape.to_c(), words))
        return words.value

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

    def profile(self, tensors: Tensors, stream: int = 0) -> StageTimes:
        """run with events around each stage; waits for the stream."""
        args, _owners = self._args(tensors, stream)
        times = structs.StageTimes(struct_size=ctypes.sizeof(structs.StageTimes))
        check(library().sale_plan_profile(self._handle, args, stream, times))
        return StageTimes(**{name: getattr(times, name) for name in StageTimes.__dataclass_fields__})

    def _args(self, tensors: Tensors, stream: int) -> tuple[structs.RunArgs, list[Any]]:
        if not isinstance(stream, int):  # ctypes would take the address of a text
            raise TypeError(f"stream is {stream!r}; give a CUstream (cudaStream_t) as a number")
        args = structs.RunArgs()
        library().sale_run_args_init(args, ctypes.sizeof(args))
        views = {
            name: _tensor.view(value, name, stream)
            for name, value in vars(tensors).items()
            if value is not None and name != "expected_density"
        }
        problem = self.problem
        v_head_dim = problem.v_head_dim or problem.head_dim
        batch, _, q_len, _ = _four(views["q"], "q")
        kv_len = _four(views["k"], "k")[2]
        expected = {
            "q": (problem.dtype, (batch, problem.num_q_heads, q_len, problem.head_dim)),
            "k": (problem.dtype, (batch, problem.num_kv_heads, kv_len, problem.head_dim)),
            "v": (problem.dtype, (batch, problem.num_kv_heads, kv_len, v_head_dim)),
            "out": (problem.dtype, (batch, problem.num_q_heads, q_len, v_head_dim)),
            "lse": ("f32", (batch, problem.num_q_heads, q_len)),
            "tau": ("f32", (problem.num_q_heads,)),
            "shift": ("f32", (problem.num_q_heads,)),
            "kbar": ("f32", (batch, problem.num_kv_heads, problem.head_dim)),
            "sink_logits": ("f32", (problem.num_q_heads,)),
        }
        shape = Shape(batch, q_len, kv_len)
        for name, view in views.items():
            if name in ("q", "k", "v", "out"):
                _require(view, name, *expected[name])
                if view.strides[3] != 1 and view.shape[3] != 1:
                    raise ValueError(f"{name} has stride {view.strides[3]} along head_dim, which must be contiguous")
                setattr(args, name, structs.Tensor(view.pointer, *view.strides[:3]))
                continue
            if name in expected:
                _require(view, name, *expected[name])
            elif name == "workspace":
                args.workspace_bytes = _bytes(view)
            elif _bytes(view) < 4 * self.mask_words(shape):
                raise ValueError(f"{name} has {_bytes(view)} bytes; a mask has {4 * self.mask_words(shape)}")
            if view.strides != _tensor.packed_strides(view.shape):
                raise ValueError(f"{name} must be contiguous")
            setattr(args, name, view.pointer)
        args.batch, args.q_len, args.kv_len = batch, q_len, kv_len
        args.expected_density = tensors.expected_density
        return args, list(views.values())


def _four(view: _tensor.View, name: str) -> tuple[int, ...]:
    if len(view.shape) != 4:
        raise ValueError(f"{name} has shape {list(view.shape)}; it is [batch, heads, tokens, head_dim]")
    return view.shape


def _require(view: _tensor.View, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    if view.dtype != dtype or view.shape != shape:
        raise ValueError(f"{name} is {view.dtype} {list(view.shape)}; it must be {dtype} {list(shape)}")


def _bytes(view: _tensor.View) -> int:
    size = {"u8": 1, "f16": 2, "bf16": 2}.get(view.dtype, 4)
    count = 1
    for extent in view.shape:
        count *= extent
    return count * size
