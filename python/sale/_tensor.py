# SPDX-License-Identifier: Apache-2.0
"""Device memory of anybody's: pointer, element type, shape and strides."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

_KDL_CPU = 1
_KDL_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged
_DLPACK_NAMES = {(2, 16): "f16", (4, 16): "bf16", (2, 32): "f32", (0, 32): "i32", (1, 32): "u32", (1, 8): "u8"}
_TORCH_NAMES = {
    "torch.bfloat16": "bf16",
    "torch.float16": "f16",
    "torch.float32": "f32",
    "torch.int32": "i32",
    "torch.uint32": "u32",
    "torch.uint8": "u8",
}
# bf16 has no letter of its own there: whoever offers it says two bytes of something.
_ARRAY_INTERFACE_NAMES = {"f2": "f16", "V2": "bf16", "f4": "f32", "i4": "i32", "u4": "u32", "u1": "u8"}


@dataclass
class View:
    """Memory on a GPU. Good as long as `owner` is."""

    pointer: int
    dtype: str  # bf16, f16, f32, i32, u32, u8, or what the owner calls it
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    device: int  # -1 = not known
    owner: Any


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


def packed_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """In elements, the last dimension contiguous."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)


def is_torch(obj: Any) -> bool:
    return type(obj).__module__.split(".")[0] == "torch" or hasattr(obj, "data_ptr")


def _of_torch(tensor: Any, name: str) -> View:
    if not tensor.is_cuda:
        raise ValueError(f"{name} is on {tensor.device}; libsale reads memory of a CUDA device")
    dtype = str(tensor.dtype)
    return View(
        tensor.data_ptr(),
        _TORCH_NAMES.get(dtype, dtype),
        tuple(tensor.shape),
        tuple(tensor.stride()),
        tensor.device.index or 0,
        tensor,
    )


def _of_array_interface(obj: Any) -> View:
    interface = obj.__cuda_array_interface__
    typestr = interface["typestr"]
    shape = tuple(interface["shape"])
    size = int(typestr[2:])
    strides = interface.get("strides")
    return View(
        interface["data"][0],
        _ARRAY_INTERFACE_NAMES.get(typestr[1:], typestr),
        shape,
        packed_strides(shape) if strides is None else tuple(stride // size for stride in strides),
        -1,
        obj,
    )


def _of_dlpack(obj: Any, name: str, stream: int) -> View:
    device_type, device = obj.__dlpack_device__()
    if device_type not in _KDL_CUDA:
        where = "in the CPU's memory" if device_type == _KDL_CPU else f"on DLPack device type {device_type}"
        raise ValueError(f"{name} is {where}; libsale reads memory of a CUDA device")
    # The protocol's 1 is the default stream; 0 is refused there.
    capsule = obj.__dlpack__(stream=stream or 1)
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype = ctypes.c_void_p
    pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]
    tensor = _DLTensor.from_address(pointer_of(capsule, b"dltensor"))
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    strides = tuple(tensor.strides[i] for i in range(tensor.ndim)) if tensor.strides else packed_strides(shape)
    dtype = _DLPACK_NAMES.get((tensor.code, tensor.bits), f"DLPack {tensor.code}/{tensor.bits}")
    # The capsule is not consumed: it gives the memory back itself, when nobody holds it any more.
    return View((tensor.data or 0) + tensor.byte_offset, dtype, shape, strides, device, (obj, capsule))


def view(obj: Any, name: str, stream: int = 0) -> View:
    """`obj` as device memory; `name` is for messages. Raises TypeError or ValueError."""
    if is_torch(obj):
        return _of_torch(obj, name)
    if hasattr(obj, "__cuda_array_interface__"):
        return _of_array_interface(obj)
    if hasattr(obj, "__dlpack__") and hasattr(obj, "__dlpack_device__"):
        return _of_dlpack(obj, name, stream)
    raise TypeError(
        f"{name} is a {type(obj).__name__}; give a tensor of torch, or an object with __cuda_array_interface__ or __dlpack__"
    )
