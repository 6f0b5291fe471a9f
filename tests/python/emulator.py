# SPDX-License-Identifier: Apache-2.0
"""Device memory of the emulated GPU, as any array library would offer its own."""

from __future__ import annotations

import ctypes
import os
import struct

DRIVER = os.environ["SALE_EMULATOR_LIBRARY"]


class Memory:
    """Bytes on the first device, whose primary context becomes current."""

    _driver = None

    @classmethod
    def driver(cls) -> ctypes.CDLL:
        if cls._driver is None:
            cls._driver = ctypes.CDLL(DRIVER)
            context = ctypes.c_void_p()
            cls._check(cls._driver.cuInit(0))
            cls._check(cls._driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
            cls._check(cls._driver.cuCtxPushCurrent_v2(context))
        return cls._driver

    @staticmethod
    def _check(result: int) -> None:
        if result != 0:
            raise RuntimeError(f"CUDA error {result}")

    def __init__(self, content: bytes) -> None:
        address = ctypes.c_uint64()
        self._check(self.driver().cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(len(content))))
        self.address = address.value
        self.size = len(content)
        self._check(
            self.driver().cuMemcpyHtoD_v2(ctypes.c_uint64(self.address), content, ctypes.c_size_t(self.size))
        )

    def read(self) -> bytes:
        content = ctypes.create_string_buffer(self.size)
        self._check(
            self.driver().cuMemcpyDtoH_v2(content, ctypes.c_uint64(self.address), ctypes.c_size_t(self.size))
        )
        return content.raw

    def __del__(self) -> None:
        self.driver().cuMemFree_v2(ctypes.c_uint64(self.address))


class Array:
    """Numbers of one type with __cuda_array_interface__."""

    LETTERS = {"f2": "e", "f4": "f", "i4": "i", "u4": "I", "u1": "B"}

    def __init__(self, typestr: str, shape: tuple[int, ...], values) -> None:
        self.typestr = typestr
        self.shape = shape
        self.memory = Memory(struct.pack(f"<{len(values)}{self.LETTERS[typestr[1:]]}", *values))

    @property
    def __cuda_array_interface__(self) -> dict:
        return {"typestr": self.typestr, "shape": self.shape, "data": (self.memory.address, False), "version": 3}

    def values(self) -> tuple:
        content = self.memory.read()
        letter = self.LETTERS[self.typestr[1:]]
        return struct.unpack(f"<{len(content) // struct.calcsize('<' + letter)}{letter}", content)
