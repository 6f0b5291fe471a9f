# SPDX-License-Identifier: Apache-2.0
"""sale.attention and Plans on the emulated GPU, against attention by the book."""

import ctypes
import math
import random
import threading
import unittest

import sale
from sale import _tensor
from sale.density import visible_blocks

import emulator
from emulator import Array

TOKENS, Q_HEADS, KV_HEADS, HEAD_DIM = 90, 2, 1, 64
OUT = Q_HEADS * TOKENS * HEAD_DIM


def tensor(heads, seed):
    draw = random.Random(seed)
    return Array("<f2", (1, heads, TOKENS, HEAD_DIM), [draw.uniform(-1, 1) for _ in range(heads * TOKENS * HEAD_DIM)])


def poison(typestr, *shape):
    value = {"f2": math.nan, "f4": math.nan}.get(typestr[1:], 255)
    return Array(typestr, shape, [value] * math.prod(shape))


def dense(q, k, v):
    """Causal attention in double precision: [heads * tokens * head_dim], and lse [heads * tokens]."""
    q, k, v = q.values(), k.values(), v.values()
    out, lses = [], []
    for head in range(Q_HEADS):
        for i in range(TOKENS):
            row = q[(head * TOKENS + i) * HEAD_DIM :][:HEAD_DIM]
            scores = [
                sum(a * b for a, b in zip(row, k[j * HEAD_DIM : (j + 1) * HEAD_DIM])) / math.sqrt(HEAD_DIM)
                for j in range(i + 1)
            ]
            lse = math.log(sum(map(math.exp, scores)))
            lses.append(lse)
            weights = [math.exp(score - lse) for score in scores]
            out += [sum(w * v[j * HEAD_DIM + c] for j, w in enumerate(weights)) for c in range(HEAD_DIM)]
    return out, lses


class Emulated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        emulator.Memory.driver()
        sale.configure(cuda_driver=emulator.DRIVER, arch="sm_80", use_disk_cache=0, tuning=None)
        cls.q, cls.k, cls.v = tensor(Q_HEADS, 1), tensor(KV_HEADS, 2), tensor(KV_HEADS, 3)
        cls.expected, cls.expected_lse = dense(cls.q, cls.k, cls.v)
        cls.problem = sale.Problem("f16", HEAD_DIM, num_q_heads=Q_HEADS, num_kv_heads=KV_HEADS)
        cls.shape = sale.Shape(1, TOKENS, TOKENS)
        cls.engine = sale.Engine(0, cuda_driver=emulator.DRIVER, arch="sm_80", use_disk_cache=0, tuning=None)
        cls.plan = cls.engine.prepare(cls.problem)

    def tensors(self, **more):
        out = poison("<f2", 1, Q_HEADS, TOKENS, HEAD_DIM)
        return sale.Tensors(self.q, self.k, self.v, out, poison("<u1", self.plan.workspace_bytes(self.shape)), **more)

    def assert_dense(self, out):
        for got, wanted in zip(out.values(), self.expected, strict=True):
            self.assertLess(abs(got - wanted), 2e-3)

    def test_attention_is_attention(self):
        # All within the reference region, so that nothing is left out.
        lse = poison("<f4", 1, Q_HEADS, TOKENS)
        given = self.tensors()
        out = sale.attention(self.q, self.k, self.v, out=given.out, workspace=given.workspace, lse=lse)
        self.assertIs(out, given.out)
        self.assert_dense(out)
        for got, wanted in zip(lse.values(), self.expected_lse, strict=True):
            self.assertLess(abs(got - wanted), 1e-3)

    def test_plan_runs_sparse_dense_and_profiled(self):
        sparse, everything, profiled = self.tensors(), self.tensors(), self.tensors()
        self.plan.run(sparse)
        self.plan.run_dense(everything)
        times = self.plan.profile(profiled)
        self.assert_dense(sparse.out)
        self.assert_dense(everything.out)
        self.assertEqual(sparse.out.values(), profiled.out.values())
        self.assertGreater(times.total, times.attend)
        self.assertGreater(times.attend, 0)

    def test_mask_has_the_visible_blocks(self):
        mask = poison("<u4", self.plan.mask_words(self.shape))
        self.plan.run(self.tensors(mask_out=mask))
        kept = sum(bin(word).count("1") for word in mask.values())
        self.assertEqual(kept, Q_HEADS * visible_blocks(self.problem, self.plan.policy, self.shape))

    def test_threads_share_a_plan(self):
        calls = [self.tensors() for _ in range(3)]
        threads = [threading.Thread(target=self.plan.run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for call in calls:
            self.assert_dense(call.out)

    def test_engine_and_plan_say_what_they_are(self):
        self.assertEqual(self.engine.arch, "sm_80")
        self.assertIn("Emulated", self.engine.device_name)
        self.assertTrue(any(name.startswith("attend sm_80 f16 d64") for name in self.plan.kernels), self.plan.kernels)
        self.assertEqual(sale.version().count("."), 2)

    def test_an_engine_says_as_much_as_it_is_asked_for(self):
        lines = []
        options = dict(cuda_driver=emulator.DRIVER, arch="sm_80", use_disk_cache=0, tuning=None)
        engine = sale.Engine(0, log=lambda level, text: lines.append((level, text)), log_level="debug", **options)
        plan = engine.prepare(self.problem)
        self.assertEqual(sum(level == "debug" for level, _ in lines), len(plan.kernels))
        self.assertIn("kernels are for sm_80", lines[0][1])
        with self.assertRaisesRegex(ValueError, "log_level is 'loud'; it is one of off, warning, info, debug"):
            sale.Engine(0, log_level="loud", **options)

    def test_a_plan_counts_its_calls(self):
        plan = self.engine.prepare(self.problem, serving=sale.Serving(counted=True))
        self.assertTrue(math.isnan(plan.counters().density))
        call = self.tensors(mask_out=poison("<u4", plan.mask_words(self.shape)))
        call.workspace = poison("<u1", plan.workspace_bytes(self.shape))
        plan.run(call)
        counters = plan.counters()
        self.assertEqual((counters.runs, counters.dense_runs, counters.finished), (1, 0, 1))
        self.assertEqual(counters.kept_blocks, sum(int(word).bit_count() for word in call.mask_out.values()))
        self.assertEqual(counters.visible_blocks, Q_HEADS * visible_blocks(self.problem, sale.Policy(), self.shape))
        self.assertLessEqual(counters.density, 1)

    def test_a_plan_outlives_its_engine(self):
        plan = sale.Engine(0, cuda_driver=emulator.DRIVER, arch="sm_80", use_disk_cache=0).prepare(self.problem)
        call = self.tensors()
        plan.run(call)
        self.assert_dense(call.out)

    def refused(self, kind, sentence, action):
        with self.assertRaises(kind) as caught:
            action()
        self.assertIn(sentence, str(caught.exception))
        return caught.exception

    def test_refuses_other_types(self):
        self.refused(TypeError, "shape is (1, 90, 90); give sale.Shape", lambda: self.plan.workspace_bytes((1, 90, 90)))
        self.refused(TypeError, "frozen is 'yes'; it is a number, or True or False", lambda: sale.Engine(0, frozen="yes"))

    def test_refuses_a_stream_that_is_no_number(self):
        self.refused(TypeError, "stream is 's'; give a CUstream", lambda: self.plan.run(self.tensors(), "s"))

    def test_refuses_what_does_not_fit_together(self):
        short = self.tensors()
        short.workspace = poison("<u1", 16)
        error = self.refused(sale.Error, "workspace", lambda: self.plan.run(short))
        self.assertEqual(error.status, "invalid_argument")
        narrow = self.tensors(lse=poison("<f4", 1, Q_HEADS, 5))
        self.refused(ValueError, "lse is f32 [1, 2, 5]; it must be f32 [1, 2, 90]", lambda: self.plan.run(narrow))
        singles = self.tensors()
        singles.q = poison("<f4", 1, Q_HEADS, TOKENS, HEAD_DIM)
        self.refused(ValueError, "q is f32", lambda: self.plan.run(singles))
        flat = self.tensors()
        flat.q = poison("<f2", TOKENS, HEAD_DIM)
        self.refused(ValueError, "[batch, heads, tokens, head_dim]", lambda: self.plan.run(flat))
        small = self.tensors(mask_out=poison("<u4", 1))
        self.refused(ValueError, "a mask has", lambda: self.plan.run(small))

    def test_refuses_what_is_no_tensor(self):
        self.refused(TypeError, "q is a list", lambda: sale.attention([1], self.k, self.v))
        self.refused(ValueError, "out= and workspace= are needed", lambda: sale.attention(self.q, self.k, self.v))

    def test_refuses_what_the_library_refuses(self):
        self.refused(sale.Error, "head_dim", lambda: self.engine.prepare(sale.Problem(head_dim=100)))
        self.refused(ValueError, "dtype is 'f64'", lambda: self.engine.prepare(sale.Problem(dtype="f64")))
        self.refused(ValueError, "estimator is 'int3'", lambda: self.engine.prepare(self.problem, sale.Policy("int3")))
        self.refused(TypeError, "no option 'speed'", lambda: sale.Engine(0, speed=1))
        error = self.refused(sale.Error, "/nowhere", lambda: sale.Engine(0, cuda_driver="/nowhere/libcuda.so"))
        self.assertEqual(error.status, "not_found")


class OfDlpack:
    """Exports an Array the other way."""

    class Managed(ctypes.Structure):
        _fields_ = [("tensor", _tensor._DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]

    def __init__(self, array, offset=0):
        self.array = array
        shape = array.shape
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        tensor = _tensor._DLTensor(array.memory.address - offset, 2, 0, len(shape), 2, 16, 1, self.shape, None, offset)
        self.managed = self.Managed(tensor, None, None)

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, stream=None):
        assert stream == 1, stream
        make = ctypes.pythonapi.PyCapsule_New
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return make(ctypes.addressof(self.managed), b"dltensor", None)


class Dlpack(unittest.TestCase):
    def test_is_the_same_memory(self):
        array = tensor(KV_HEADS, 4)
        by_interface, by_dlpack = _tensor.view(array, "k"), _tensor.view(OfDlpack(array, 32), "k")
        for name in ("pointer", "dtype", "shape", "strides"):
            self.assertEqual(getattr(by_interface, name), getattr(by_dlpack, name), name)

    def test_of_another_device_is_refused(self):
        other = OfDlpack(tensor(KV_HEADS, 4))
        other.__class__ = type("OnHost", (OfDlpack,), {"__dlpack_device__": lambda self: (1, 0)})
        with self.assertRaisesRegex(ValueError, "k is in the CPU's memory; libsale reads"):
            _tensor.view(other, "k")


if __name__ == "__main__":
    unittest.main()
