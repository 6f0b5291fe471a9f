# SPDX-License-Identifier: Apache-2.0
"""Which masks transformers' models get under "sale", on the CPU, where attention itself is torch's. Ends with 77 without torch."""

import sys
import unittest

try:
    import torch
    import transformers
except ImportError:
    print("skipped: there is no torch, or no transformers")
    sys.exit(77)

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
