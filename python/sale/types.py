# SPDX-License-Identifier: Apache-2.0
"""What a model fixes, how sparse it runs, and how calls hand sequences over: include/sale/types.hpp, same names."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields

from sale import _structs as structs
from sale._library import check, library

DTYPES = {"bf16": 0, "f16": 1}
ESTIMATORS = {"exact": 0, "int8": 1, "int4": 2, "fp8": 3}


def _number_of(name: str, value: str, numbers: dict[str, int]) -> int:
    if value not in numbers:
        raise ValueError(f"{name} is {value!r}; it is one of {', '.join(numbers)}")
    return numbers[value]


@dataclass(frozen=True)
class Problem:
    """What a model fixes about its attention."""

    dtype: str = "bf16"  # or f16
    head_dim: int = 128
    v_head_dim: int = 0  # 0 = head_dim
    num_q_heads: int = 32
    num_kv_heads: int = 8
    causal: bool = True  # bottom-right aligned
    softmax_scale: float = 0.0  # 0 = 1 / sqrt(head_dim)
    sliding_window: int = 0  # keys a row sees, its own included; 0 = all
    softcap: float = 0.0  # 0 = none
    sink_logits: bool = False  # calls bring them

    def to_c(self) -> structs.Problem:
        c = structs.Problem()
        library().sale_problem_init(c, ctypes.sizeof(c))
        for field in fields(self):
            value = getattr(self, field.name)
            setattr(c, field.name, _number_of("dtype", value, DTYPES) if field.name == "dtype" else value)
        return c


@dataclass(frozen=True)
class Policy:
    """How sparse attention may be. Decides results."""

    estimator: str = "int8"  # exact, int8, int4 or fp8 (sm_90a)
    block_q: int = 64
    block_k: int = 32
    sink: int = 32
    window: int = 128
    tau: float = 0.004  # relative-score threshold of every head; 0 is dense
    tau_per_head: tuple[float, ...] = ()  # [num_q_heads], instead of tau
    shift_per_head: tuple[float, ...] = ()  # [num_q_heads], nats
    estimate_dim: int = 0  # fp8: channels of the estimate; 0 = head_dim
    channels: tuple[int, ...] = ()  # [num_kv_heads, estimate_dim]
    projection: tuple[float, ...] = ()  # [num_kv_heads, 2, estimate_dim, head_dim]
    kbar: tuple[float, ...] = ()  # [num_kv_heads, head_dim]; what K loses; empty = the mean of each call's keys
    prune_queries: bool = False
    fp8_attend: bool = False
    second_filter: bool = False
    dense_below: int = 0  # calls with fewer keys run dense

    def __post_init__(self) -> None:
        for name in ("tau_per_head", "shift_per_head", "channels", "projection", "kbar"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists are welcome; a key must be hashable

    def to_c(self) -> structs.Policy:
        """The arrays live as long as the result."""
        c = structs.Policy()
        library().sale_policy_init(c, ctypes.sizeof(c))
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "estimator":
                c.estimator = _number_of("estimator", value, ESTIMATORS)
            elif isinstance(value, tuple):
                if value:
                    element = ctypes.c_int32 if field.name == "channels" else ctypes.c_float
                    setattr(c, field.name, (element * len(value))(*value))
                    setattr(c, field.name + "_count", len(value))
            else:
                setattr(c, field.name, value)
        return c


@dataclass(frozen=True)
class Serving:
    """How calls hand sequences over."""

    ragged: bool = False
    page_size: int = 0
    code_cache: bool = False
    parts: bool = False
    counted: bool = False  # calls are counted on the device, too (Plan.counters)

    @property
    def is_ragged(self) -> bool:
        return self.ragged or self.page_size != 0 or self.parts

    def to_c(self) -> structs.Serving:
        c = structs.Serving()
        library().sale_serving_init(c, ctypes.sizeof(c))
        for field in fields(self):
            setattr(c, field.name, getattr(self, field.name))
        return c


@dataclass(frozen=True)
class Shape:
    """Sizes of one call."""

    batch: int = 1
    q_len: int = 0
    kv_len: int = 0
    total_q: int = 0
    total_kv: int = 0

    def to_c(self) -> structs.Shape:
        c = structs.Shape()
        library().sale_shape_init(c, ctypes.sizeof(c))
        for field in fields(self):
            setattr(c, field.name, getattr(self, field.name))
        return c


def validate(problem: Problem, policy: Policy = Policy(), serving: Serving = Serving()) -> None:
    """Raises sale.Error that says what is supported, unless libsale can do it on some GPU."""
    check(library().sale_validate(problem.to_c(), policy.to_c(), serving.to_c()))
