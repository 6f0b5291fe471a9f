# SPDX-License-Identifier: Apache-2.0
"""Finds and loads libsale.so, and makes its errors exceptions."""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from sale import _structs as structs

C_API_VERSION = 1  # SALE_C_API_VERSION that _structs.py was written for


class Error(RuntimeError):
    """What libsale refused or could not do. `status` names the kind, e.g. "invalid_argument"; `log` is the compiler's or
    driver's, if there is one."""

    def __init__(self, status: str, text: str, log: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.log = log


def _candidates() -> list[str]:
    named = os.environ.get("SALE_LIBRARY")
    if named:
        return [named]
    beside = sorted(Path(__file__).parent.glob("lib/libsale.so*"))
    return [str(path) for path in beside] + ["libsale.so.0"]


def _declare(library: ctypes.CDLL) -> None:
    handle, pointer, size = ctypes.c_void_p, ctypes.POINTER, ctypes.c_size_t
    text, number = ctypes.c_char_p, ctypes.c_int32
    run = [handle, pointer(structs.RunArgs), handle]
    signatures = {
        "sale_c_api_version": (ctypes.c_int, []),
        "sale_version": (text, []),
        "sale_status_name": (text, [number]),
        "sale_last_error": (text, []),
        "sale_last_error_log": (text, []),
        "sale_problem_init": (None, [pointer(structs.Problem), size]),
        "sale_policy_init": (None, [pointer(structs.Policy), size]),
        "sale_serving_init": (None, [pointer(structs.Serving), size]),
        "sale_shape_init": (None, [pointer(structs.Shape), size]),
        "sale_options_init": (None, [pointer(structs.Options), size]),
        "sale_run_args_init": (None, [pointer(structs.RunArgs), size]),
        "sale_merge_args_init": (None, [pointer(structs.MergeArgs), size]),
        "sale_tuning_layers_init": (None, [pointer(structs.TuningLayers), size]),
        "sale_validate": (number, [pointer(structs.Problem), pointer(structs.Policy), pointer(structs.Serving)]),
        "sale_engine_create": (number, [ctypes.c_int, pointer(structs.Options), pointer(handle)]),
        "sale_engine_release": (None, [handle]),
        "sale_engine_prepare": (
            number,
            [handle, pointer(structs.Problem), pointer(structs.Policy), pointer(structs.Serving), pointer(handle)],
        ),
        "sale_engine_device_name": (text, [handle]),
        "sale_engine_arch": (text, [handle]),
        "sale_plan_release": (None, [handle]),
        "sale_plan_workspace_bytes": (number, [handle, pointer(structs.Shape), pointer(size)]),
        "sale_plan_mask_words": (number, [handle, pointer(structs.Shape), pointer(size)]),
        "sale_plan_run": (number, run),
        "sale_plan_run_dense": (number, run),
        "sale_plan_select": (number, run),
        "sale_plan_merge": (number, [handle, pointer(structs.MergeArgs), handle]),
        "sale_plan_code_cache_bytes": (number, [handle, ctypes.c_int64, pointer(size)]),
        "sale_plan_profile": (number, [*run, pointer(structs.StageTimes)]),
        "sale_plan_get_counters": (number, [handle, pointer(structs.PlanCounters)]),
        "sale_plan_kernel_count": (size, [handle]),
        "sale_plan_kernel": (number, [handle, size, pointer(structs.KernelInfo)]),
        "sale_tuning_load": (number, [text, pointer(handle)]),
        "sale_tuning_load_layers": (number, [pointer(structs.TuningLayers), pointer(handle)]),
        "sale_tuning_release": (None, [handle]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


@functools.cache
def _loaded() -> tuple[ctypes.CDLL, str]:
    problems = []
    for candidate in _candidates():
        try:
            library = ctypes.CDLL(candidate)
        except OSError as error:
            problems.append(str(error))
            continue
        if not hasattr(library, "sale_c_api_version"):
            raise Error("not_found", f"{candidate} is another library: it has no sale_c_api_version; give libsale.so's path")
        _declare(library)
        found = library.sale_c_api_version()
        if found < C_API_VERSION:
            raise Error("not_found", f"{candidate} has version {found} of the C API; this package needs {C_API_VERSION}")
        return library, candidate
    if os.environ.get("SALE_LIBRARY"):
        raise Error("not_found", f"SALE_LIBRARY cannot be opened: {problems[0]}; give libsale.so's path, or unset it")
    raise Error(
        "not_found",
        "libsale.so was not found (" + "; ".join(problems) + "); install it, or name it with SALE_LIBRARY=/path/libsale.so",
    )


def library() -> ctypes.CDLL:
    """libsale.so: SALE_LIBRARY, else the one in this package, else the loader's."""
    return _loaded()[0]


def library_path() -> str:
    """What was loaded, as the loader was told it."""
    return _loaded()[1]


def version() -> str:
    """Of the library, e.g. "0.1.0"."""
    return library().sale_version().decode()


def check(status: int) -> None:
    """Raises Error unless the status is SALE_OK."""
    if status != 0:
        lib = library()
        raise Error(
            lib.sale_status_name(status).decode(),
            lib.sale_last_error().decode(errors="replace"),
            lib.sale_last_error_log().decode(errors="replace"),
        )
