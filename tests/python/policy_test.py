# SPDX-License-Identifier: Apache-2.0
"""Policies: as keys, as structs, and from files."""

import importlib.util
import json
import struct
import tempfile
import unittest
from pathlib import Path

import sale
from sale.density import visible_blocks
from sale.policy_file import load_policy_file
from sale.types import validate


class Policies(unittest.TestCase):
    def test_have_the_defaults_of_the_library(self):
        from sale import _structs
        from sale._library import library

        for mine, init, struct in (
            (sale.Problem(), library().sale_problem_init, _structs.Problem),
            (sale.Policy(), library().sale_policy_init, _structs.Policy),
            (sale.Shape(), library().sale_shape_init, _structs.Shape),
        ):
            by_library = struct()
            init(by_library, _structs.ctypes.sizeof(by_library))
            self.assertEqual(bytes(mine.to_c()), bytes(by_library), type(mine).__name__)

    def test_carry_arrays(self):
        policy = sale.Policy("fp8", tau_per_head=[0.1, 0.2], shift_per_head=[1, 2], channels=range(32), estimate_dim=32)
        c = policy.to_c()
        self.assertEqual(c.estimator, 3)
        self.assertEqual([c.tau_per_head[i] for i in range(c.tau_per_head_count)], [0.10000000149011612, 0.20000000298023224])
        self.assertEqual([c.channels[i] for i in range(c.channels_count)], list(range(32)))
        self.assertEqual(c.projection_count, 0)

    def test_of_lists_are_keys(self):
        a, b = sale.Policy(tau_per_head=[0.1]), sale.Policy(tau_per_head=(0.1,))
        self.assertEqual(hash(a), hash(b))
        self.assertEqual(a, b)

    def test_are_validated_by_the_library(self):
        validate(sale.Problem(), sale.Policy())
        with self.assertRaisesRegex(sale.Error, "tau_per_head"):
            validate(sale.Problem(), sale.Policy(tau_per_head=(0.1,)))
        with self.assertRaisesRegex(sale.Error, "page_size"):
            validate(sale.Problem(), sale.Policy(), sale.Serving(page_size=7))


class Visible(unittest.TestCase):
    def test_blocks_are_those_with_a_visible_key(self):
        for causal, window in ((True, 0), (False, 0), (True, 50)):
            problem = sale.Problem(causal=causal, sliding_window=window)
            policy, shape = sale.Policy(), sale.Shape(1, 200, 333)
            blocks = set()
            for i in range(shape.q_len):
                position = shape.kv_len - shape.q_len + i
                end = position + 1 if causal else shape.kv_len
                begin = max(0, position - window + 1) if window else 0
                blocks |= {(i // policy.block_q, j // policy.block_k) for j in range(begin, end)}
            self.assertEqual(visible_blocks(problem, policy, shape), len(blocks))


@unittest.skipUnless(importlib.util.find_spec("yaml"), "there is no PyYAML")
class Files(unittest.TestCase):
    def load(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.yaml"
            path.write_text(text)
            return load_policy_file(path)

    def test_have_a_policy_for_each_layer(self):
        policies = self.load(
            json.dumps(
                {
                    "schema": 1,
                    "policy": {"estimator": "fp8", "estimate_dim": 2},
                    "layers": [3, 5],
                    "tau": [[0.1, 0.2], [0.3, 0.4]],
                    "shift": [[1, 2], [3, 4]],
                    "channels": [[[0, 1], [2, 3]], [[4, 5], [6, 7]]],
                }
            )
        )
        self.assertEqual(sorted(policies), [3, 5])
        self.assertEqual(policies[5].tau_per_head, (0.3, 0.4))
        self.assertEqual(policies[5].shift_per_head, (3, 4))
        self.assertEqual(policies[5].channels, (4, 5, 6, 7))
        self.assertEqual(policies[5].estimator, "fp8")

    def test_bring_arrays_beside_them(self):
        numbers = [0.5, -1.0, 2.0]
        entries = {
            "projection.7": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
            "kbar.7": {"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]},
        }
        header = json.dumps(entries).encode()
        with tempfile.TemporaryDirectory() as folder:
            policy, tensors = Path(folder) / "p.yaml", Path(folder) / "p.safetensors"
            policy.write_text(json.dumps({"schema": 1, "tensors": tensors.name, "layers": [7], "tau": [[0.1]]}))
            tensors.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<3f", *numbers))
            self.assertEqual(load_policy_file(policy)[7].projection, tuple(numbers))
            self.assertEqual(load_policy_file(policy)[7].kbar, tuple(numbers[1:]))

    def test_that_contradict_themselves_are_refused(self):
        with self.assertRaisesRegex(ValueError, "names 2 layers, but has 1"):
            self.load("{schema: 1, layers: [0, 1], tau: [[0.1]]}")

    def test_that_are_none_are_refused(self):
        for text in ("[]", "schema: 2", "schema: 1", "tau: [[1]]"):
            with self.assertRaisesRegex(ValueError, "no policy file"):
                self.load(text)


if __name__ == "__main__":
    unittest.main()
