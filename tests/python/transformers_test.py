# SPDX-License-Identifier: Apache-2.0
"""Which masks transformers' models get under "sale", on the CPU, where attention itself is torch's. Ends with 77 without torch."""

import dataclasses
import sys
import unittest
import unittest.mock
import warnings

try:
    import torch
    import transformers
except ImportError:
    print("skipped: there is no torch, or no transformers")
    sys.exit(77)

import sale
from sale import torch_op
from sale.integrations import transformers as integration

TOKENS = 640


class Masks(unittest.TestCase):
    """Models under "sale" must say what they say under "sdpa", whatever hides keys from queries."""

    def model(self, name, **more):
        sizes = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        config = transformers.AutoConfig.for_model(
            name, **sizes, head_dim=16, vocab_size=128, max_position_embeddings=4096, **more
        )
        torch.manual_seed(2)
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()

    def compare(self, model, batch=1, without_mask=None, **more):
        """without_mask: how many calls come without a mask; those are the ones that libsale would have on a GPU."""
        registered = integration.register(tau=0.0, min_tokens=256)
        masks = []

        def recorded(module, query, key, value, attention_mask, **kwargs):
            masks.append(attention_mask)
            return registered(module, query, key, value, attention_mask, **kwargs)

        transformers.AttentionInterface.register(integration.NAME, recorded)
        ids = torch.randint(128, (batch, TOKENS), generator=torch.Generator().manual_seed(1))
        logits = {}
        for kind in ("sdpa", integration.NAME):
            model.set_attn_implementation(kind)
            with torch.inference_mode():
                logits[kind] = model(ids, **more).logits
        torch.testing.assert_close(logits[integration.NAME], logits["sdpa"], rtol=0, atol=1e-4)
        self.assertEqual(len(masks), 2)
        self.assertEqual(sum(mask is None for mask in masks), without_mask)

    def test_causal(self):
        self.compare(self.model("llama"), batch=2, without_mask=2)

    def test_an_attention_mask_of_ones(self):
        self.compare(self.model("llama"), attention_mask=torch.ones(1, TOKENS, dtype=torch.long), without_mask=2)

    def test_padding(self):
        mask = torch.ones(2, TOKENS, dtype=torch.long)
        mask[0, :100] = 0
        self.compare(self.model("llama"), batch=2, attention_mask=mask, without_mask=0)

    def test_sliding_windows(self):
        self.compare(self.model("mistral", sliding_window=100), without_mask=2)

    def test_sequences_packed_into_one(self):
        positions = torch.cat([torch.arange(400), torch.arange(TOKENS - 400)])[None]
        self.compare(self.model("llama"), position_ids=positions, use_cache=False, without_mask=0)

    def test_chunks_of_attention(self):
        model = self.model("llama4_text", intermediate_size_mlp=64, attention_chunk_size=100, num_local_experts=2,
                           no_rope_layers=[1, 0], moe_layers=[], attn_temperature_tuning=False)
        self.compare(model, without_mask=1)

    def test_tokens_of_a_cache_before_them(self):
        model = self.model("llama")
        ids = torch.randint(128, (1, TOKENS), generator=torch.Generator().manual_seed(1))
        logits = {}
        for kind in ("sdpa", integration.NAME):
            integration.register(tau=0.0, min_tokens=256)
            model.set_attn_implementation(kind)
            with torch.inference_mode():
                first = model(ids[:, :300], use_cache=True)
                logits[kind] = model(ids[:, 300:], past_key_values=first.past_key_values).logits
        torch.testing.assert_close(logits[integration.NAME], logits["sdpa"], rtol=0, atol=1e-4)


class Registration(unittest.TestCase):
    def test_what_is_not_for_libsale_says_why_and_warns_once(self):
        registered = integration.register(tau=0.01, min_tokens=256)
        module = torch.nn.Module()
        q, k = torch.zeros(1, 4, 300, 64), torch.zeros(1, 2, 300, 64)
        with warnings.catch_warnings(record=True) as said:  # assertWarns would import all of transformers
            warnings.simplefilter("always")
            registered(module, q, k, k, None)
            registered(module, q[:, :, :1], k, k, None)
        self.assertEqual([str(each.message) for each in said],
                         ["layer 0 is computed by SDPA, not by libsale: tensors on cpu"])
        layer = registered.report()[0]
        self.assertEqual((layer.sparse, layer.other, layer.why), (0, 2, {"tensors on cpu": 2}))

    def test_each_reason_has_its_words(self):
        registered = integration.register(min_tokens=256)
        module = torch.nn.Module()

        def of(q_len=300, kv_len=300, dim=64, v_dim=64, dtype=torch.bfloat16, mask=None, causal=True):
            with unittest.mock.patch.object(torch.Tensor, "is_cuda", True):
                q = torch.zeros(1, 4, q_len, dim, dtype=dtype)
                k, v = torch.zeros(1, 2, kv_len, dim), torch.zeros(1, 2, kv_len, v_dim)
                return registered.why_not(module, q, k, v, mask, 0.0, causal)

        self.assertIsNone(of())
        self.assertEqual(of(q_len=255), "fewer than 256 queries")
        self.assertEqual(of(dim=80, v_dim=80), "head_dim 80, none of 64, 96, 128, 192, 256")
        self.assertEqual(of(v_dim=128), "v_head_dim 128 beside 64")
        self.assertEqual(of(dtype=torch.float32), "float32, neither bfloat16 nor float16")
        self.assertIn("a mask", of(mask=torch.zeros(1)))
        self.assertIn("not causal", of(causal=False))
        self.assertEqual(of(q_len=301), "more queries than keys")

    def test_refuses_what_no_layer_could_run(self):
        for error, words, options in (
            (sale.Error, "tau", {"tau": -1.0}),
            (sale.Error, "tau", {"policy": sale.Policy(tau_per_head=(0.1, -0.1))}),
            (sale.Error, "block_q", {"policy": sale.Policy(block_q=48)}),
            (ValueError, "min_tokens is 0; it is a whole number of queries", {"min_tokens": 0}),
            (ValueError, "min_tokens is '1K'", {"min_tokens": "1K"}),
        ):
            with self.subTest(options), self.assertRaisesRegex(error, words):
                integration.register(**options)
        integration.register(policy=sale.Policy(estimator="fp8", tau_per_head=(0.1,) * 4, kbar=(0.0,) * 64))


class Operator(unittest.TestCase):
    def test_passes_every_field_of_a_policy_on(self):
        other = {"estimator": "fp8", "tau_per_head": (0.5, 0.25), "shift_per_head": (0.5, 1.0), "channels": (1, 2)}
        other |= {"projection": (0.5, 2.0), "kbar": (0.25, 0.5), "tau": 0.5}
        default = sale.Policy()
        for field in dataclasses.fields(default):
            if field.name not in other:
                value = getattr(default, field.name)
                other[field.name] = not value if isinstance(value, bool) else value + 1
        policy = sale.Policy(**other)
        for field in dataclasses.fields(default):
            self.assertNotEqual(getattr(policy, field.name), getattr(default, field.name), field.name)
        q = torch.zeros(1, 4, 8, 64)
        with (
            unittest.mock.patch.object(torch_op, "_op", torch_op._run),
            unittest.mock.patch.object(torch_op._attention, "attention") as called,
        ):
            torch_op.attention(q, q, q, policy=policy)
            self.assertEqual(called.call_args.kwargs["policy"], policy)
            torch_op.attention(q, q, q, policy=policy, tau=0.125)
            self.assertEqual(called.call_args.kwargs["policy"], dataclasses.replace(policy, tau=0.125, tau_per_head=()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
