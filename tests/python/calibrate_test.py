# SPDX-License-Identifier: Apache-2.0
"""sale.calibrate on small models on the CPU. Ends with 77 without torch."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

try:
    import safetensors  # noqa: F401
    import torch
    import transformers
    import yaml  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import sale
from sale.policy_file import load_policy_file

TOKENS, HEADS, LAYERS = 512, 4, 2


def model_of(name, **more):
    sizes = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=LAYERS, num_key_value_heads=2)
    config = transformers.AutoConfig.for_model(
        name, **sizes, num_attention_heads=HEADS, head_dim=64, vocab_size=128, max_position_embeddings=4096, **more
    )
    torch.manual_seed(2)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def ids(seed, tokens=TOKENS):
    return torch.randint(128, (tokens,), generator=torch.Generator().manual_seed(seed))


class Words:
    """A tokenizer: a number for each word."""

    def __call__(self, text, return_tensors):
        assert return_tensors == "pt"
        return mock.Mock(input_ids=torch.tensor([[int(word) for word in text.split()]]))


class Calibrate(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.output = Path(self.folder.name) / "policy.yaml"

    def calibrate(self, model, texts, **more):
        more = {"lengths": (256, TOKENS), "relative_bound": 0.05, "largest_tau": 0.2, "rows": 0} | more
        return sale.calibrate(model, texts, output=self.output, **more)

    def test_writes_a_policy_for_every_layer_and_head(self):
        model = model_of("llama")
        result = self.calibrate(model, [ids(1), ids(2)], judge_texts=[ids(3)])
        self.assertEqual(result.policy_file, self.output)
        self.assertEqual(result.skipped, {})
        policies = load_policy_file(self.output)
        self.assertEqual(sorted(policies), list(range(LAYERS)))
        for policy in policies.values():
            self.assertEqual(len(policy.tau_per_head), HEADS)
            self.assertTrue(all(0 < tau <= 0.2 for tau in policy.tau_per_head), policy.tau_per_head)
        self.assertTrue(result.report)
        self.assertEqual(model.config._attn_implementation, "sdpa", "as it was before")

    def test_a_tighter_bound_gives_smaller_thresholds(self):
        model = model_of("llama")
        taus = []
        for bound in (0.2, 0.001):
            self.calibrate(model, [ids(1)], relative_bound=bound)
            taus.append([tau for policy in load_policy_file(self.output).values() for tau in policy.tau_per_head])
        self.assertTrue(all(tight <= loose for loose, tight in zip(*taus)))
        self.assertLess(sum(taus[1]), sum(taus[0]))

    def test_takes_texts_with_a_tokenizer(self):
        text = " ".join(map(str, ids(1).tolist()))
        self.calibrate(model_of("llama"), [text], tokenizer=Words())
        by_text = self.output.read_text()
        self.calibrate(model_of("llama"), [ids(1).tolist()])
        self.assertEqual(by_text.split("tau:")[1], self.output.read_text().split("tau:")[1])

    def test_leaves_layers_with_a_sliding_window_alone(self):
        model = model_of("gemma3_text", sliding_window=100, layer_types=["sliding_attention", "full_attention"])
        result = self.calibrate(model, [ids(1)])
        self.assertEqual(result.skipped, {0: "its attention has sliding window"})
        self.assertEqual(list(load_policy_file(self.output)), [1])
        with self.assertRaisesRegex(ValueError, "no attention to calibrate .layer 0: its attention has sliding window"):
            self.calibrate(model_of("mistral", sliding_window=100), [ids(1)])

    def test_refuses_what_it_cannot_use(self):
        model = model_of("llama")
        with self.assertRaisesRegex(ValueError, "texts.0. has 100 tokens; the longest of the lengths is 512"):
            self.calibrate(model, [ids(1, 100)])
        with self.assertRaisesRegex(ValueError, "texts.0. is a string; give a tokenizer"):
            self.calibrate(model, ["1 2 3"])
        with self.assertRaisesRegex(ValueError, "texts is empty"):
            self.calibrate(model, [])
        with self.assertRaisesRegex(RuntimeError, "sale calibrate ended with .*estimator"):
            self.calibrate(model, [ids(1)], estimator="int5")
        with mock.patch.dict(os.environ, {"SALE_PROGRAM": "", "PATH": "/nonexistent"}):
            with self.assertRaisesRegex(FileNotFoundError, "SALE_PROGRAM"):
                self.calibrate(model, [ids(1)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
