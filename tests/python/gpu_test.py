# SPDX-License-Identifier: Apache-2.0
"""With torch on a GPU: sale.attention, the operator, and transformers' models. Ends with 77 where there is none."""

import sys
import unittest

try:
    import torch
except ImportError:
    torch = None
if torch is None or not torch.cuda.is_available():
    print("skipped: there is no torch, or no GPU")
    sys.exit(77)

import sale
from sale.torch_op import attention as attention_op

torch.manual_seed(1)


def tensors(q_heads=8, kv_heads=2, q_len=700, kv_len=900, head_dim=128, dtype=torch.bfloat16, batch=2):
    def make(heads, tokens):
        return torch.randn(batch, heads, tokens, head_dim, dtype=dtype, device="cuda")

    return make(q_heads, q_len), make(kv_heads, kv_len), make(kv_heads, kv_len)


def by_the_book(q, k, v, sliding=0, scale=None, causal=True):
    q_len, kv_len = q.shape[2], k.shape[2]
    group = q.shape[1] // k.shape[1]
    k, v = (each.float().repeat_interleave(group, 1) for each in (k, v))
    scores = q.float() @ k.transpose(2, 3) * (scale or q.shape[3] ** -0.5)
    position = torch.arange(kv_len - q_len, kv_len, device=q.device)[:, None]
    key = torch.arange(kv_len, device=q.device)[None]
    if causal:
        scores = scores.masked_fill(key > position, float("-inf"))
    if sliding:
        scores = scores.masked_fill(key <= position - sliding, float("-inf"))
    return scores.softmax(-1) @ v


class OnGpu(unittest.TestCase):
    def assert_close(self, out, expected, most=0.02):
        self.assertEqual(out.shape, expected.shape)
        self.assertLess((out.float() - expected.float()).abs().max().item(), most)

    def test_tau_0_is_dense(self):
        for dtype in (torch.bfloat16, torch.float16):
            q, k, v = tensors(dtype=dtype)
            self.assert_close(sale.attention(q, k, v, tau=0.0), by_the_book(q, k, v))
            self.assert_close(sale.attention(q, k, v, tau=0.0, sliding_window=300), by_the_book(q, k, v, 300))
            self.assert_close(sale.attention(q, k, v, tau=0.0, causal=False), by_the_book(q, k, v, causal=False))

    def test_views_of_other_layouts_are_read_as_they_are(self):
        q, k, v = (each.transpose(1, 2).contiguous().transpose(1, 2) for each in tensors())
        self.assertFalse(q.is_contiguous())
        self.assert_close(sale.attention(q, k, v, tau=0.0, scale=0.2), by_the_book(q, k, v, scale=0.2))

    def test_a_stream_of_the_callers_orders_it(self):
        q, k, v = tensors(q_len=2048, kv_len=2048)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            out = sale.attention(q * 2, k, v, tau=0.0) + 1
        stream.synchronize()
        self.assert_close(out, by_the_book(q * 2, k, v) + 1, 0.05)

    def test_compile_keeps_one_graph(self):
        q, k, v = tensors()
        compiled = torch.compile(lambda q, k, v: attention_op(q * 1.5, k, v, tau=0.0) * 2, fullgraph=True)
        self.assert_close(compiled(q, k, v), by_the_book(q * 1.5, k, v) * 2, 0.05)
        fields = {name: list(x) if isinstance(x, tuple) else x for name, x in vars(sale.Policy(tau=0.0)).items()}
        model = {"sink_logits": None, "causal": True, "scale": 0.0, "sliding_window": 0, "softcap": 0.0}
        torch.library.opcheck(
            torch.ops.sale.attention.default,
            (q, k, v),
            model | fields,
            test_utils=("test_schema", "test_faketensor"),
        )

    def test_compile_takes_a_policy_per_head(self):
        q, k, v = tensors(q_len=2048, kv_len=2048)
        policy = sale.Policy(tau_per_head=[0.5] * 8)
        compiled = torch.compile(lambda q, k, v: attention_op(q, k, v, policy=policy), fullgraph=True)
        self.assertTrue(torch.equal(compiled(q, k, v), sale.attention(q, k, v, policy=policy)))

    def test_a_constant_kbar_of_the_policy(self):
        q, k, v = tensors(q_len=2048, kv_len=2048, batch=5)
        kbar = torch.randn(2, 128)
        policy = sale.Policy(tau=0.5, kbar=kbar.flatten().tolist())
        plan = sale.Engine(0).prepare(sale.Problem(num_q_heads=8, num_kv_heads=2), sale.Policy(tau=0.5))
        shape = sale.Shape(5, 2048, 2048)
        given = sale.Tensors(q, k, v, torch.empty_like(q), torch.empty(plan.workspace_bytes(shape), dtype=torch.uint8).cuda())
        given.kbar = kbar.expand(5, -1, -1).contiguous().cuda()
        plan.run(given, torch.cuda.current_stream().cuda_stream)
        self.assertTrue(torch.equal(sale.attention(q, k, v, policy=policy), given.out))
        compiled = torch.compile(lambda q, k, v: attention_op(q, k, v, policy=policy), fullgraph=True)
        self.assertTrue(torch.equal(compiled(q, k, v), given.out))

    def test_packed_queries_and_pages(self):
        lengths, page = ((700, 900), (1, 300), (512, 512)), 64  # q_len, kv_len
        sequences = [tensors(q_len=q_len, kv_len=kv_len, batch=1) for q_len, kv_len in lengths]
        pages = [-(-kv_len // page) for _, kv_len in lengths]
        numbers = torch.randperm(sum(pages) + 2)
        table = torch.zeros(3, max(pages), dtype=torch.int32)
        caches = torch.full((2, len(numbers), page, 2, 128), torch.nan, dtype=torch.bfloat16, device="cuda")  # NHD
        first = 0
        for i, (_, *keys_and_values) in enumerate(sequences):
            own = numbers[first : first + pages[i]]
            table[i, : pages[i]] = own
            first += pages[i]
            for cache, rows in zip(caches, keys_and_values):
                flat = torch.full((pages[i] * page, 2, 128), torch.nan, dtype=torch.bfloat16, device="cuda")
                flat[: rows.shape[2]] = rows[0].transpose(0, 1)
                cache[own.cuda()] = flat.view(pages[i], page, 2, 128)
        q = torch.cat([q[0].transpose(0, 1) for q, _, _ in sequences])  # [total, heads, head_dim], as engines have it
        starts = [0, 700, 701, 1213]
        shape = sale.Shape(3, 700, 900, total_q=1213)
        problem = sale.Problem(num_q_heads=8, num_kv_heads=2)
        plan = sale.Engine(0).prepare(problem, sale.Policy(tau=0.0), sale.Serving(page_size=page))
        out = torch.full_like(q, torch.nan)
        call = sale.Tensors(
            q.transpose(0, 1),
            *(cache.transpose(1, 2) for cache in caches),
            out.transpose(0, 1),
            torch.empty(plan.workspace_bytes(shape), dtype=torch.uint8, device="cuda"),
            shape=shape,
            cu_seqlens_q=torch.tensor(starts, dtype=torch.int32, device="cuda"),
            kv_lens=torch.tensor([kv_len for _, kv_len in lengths], dtype=torch.int32, device="cuda"),
            block_table=table.cuda(),
        )
        plan.run(call, torch.cuda.current_stream().cuda_stream)
        for begin, end, (each, k, v) in zip(starts, starts[1:], sequences):
            self.assert_close(out[begin:end].transpose(0, 1)[None], by_the_book(each, k, v))

    def test_cuda_graphs_replay_it(self):
        q, k, v = tensors()
        sale.attention(q, k, v, tau=0.0)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = sale.attention(q, k, v, tau=0.0)
        q.copy_(torch.randn_like(q))
        graph.replay()
        self.assert_close(out, by_the_book(q, k, v))

    def test_a_second_device(self):
        if torch.cuda.device_count() < 2:
            self.skipTest("there is one GPU")
        q, k, v = tensors()
        expected = sale.attention(q, k, v)
        other = sale.attention(*(each.to("cuda:1") for each in (q, k, v)))
        self.assertEqual(other.device.index, 1)
        self.assertTrue(torch.equal(other.cpu(), expected.cpu()))


class Transformers(unittest.TestCase):
    """Small models with random weights: sale with tau 0 must say what sdpa says."""

    @classmethod
    def setUpClass(cls):
        try:
            import transformers
        except ImportError as error:
            raise unittest.SkipTest("there is no transformers") from error
        cls.transformers = transformers

    def models(self, name, **more):
        config = self.transformers.AutoConfig.for_model(
            name,
            hidden_size=256,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            vocab_size=512,
            max_position_embeddings=8192,
            **more,
        )
        torch.manual_seed(2)
        model = self.transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).cuda().eval()
        return model

    def logits(self, model, kind, ids, **more):
        model.set_attn_implementation(kind)
        with torch.inference_mode():
            return model(ids, **more).logits.float()

    def compare(self, model, sparse_layers, **more):
        from sale.integrations import transformers as integration

        registered = integration.register(tau=0.0, min_tokens=512, measure_density=True)
        ids = torch.randint(512, (2, 1500), device="cuda")
        expected = self.logits(model, "sdpa", ids, **more)
        got = self.logits(model, "sale", ids, **more)
        scale = expected.std().item()
        self.assertLess((got - expected).abs().max().item() / scale, 0.15)
        self.assertLess((got - expected).abs().mean().item() / scale, 0.01)
        report = registered.report()
        self.assertEqual(sorted(report), list(range(4)))
        self.assertEqual(sum(layer.sparse for layer in report.values()), sparse_layers)
        for layer in report.values():
            if layer.sparse:
                self.assertAlmostEqual(layer.density, 1.0)
        return registered

    def test_llama(self):
        self.compare(self.models("llama"), 4)

    def test_mistral_with_a_sliding_window(self):
        self.compare(self.models("mistral", sliding_window=300), 4)

    def test_qwen3(self):
        self.compare(self.models("qwen3"), 4)

    def test_compiled_model(self):
        from sale.integrations import transformers as integration

        integration.register(tau=0.0, min_tokens=512)
        model = self.models("llama")
        ids = torch.randint(512, (1, 1024), device="cuda")
        expected = self.logits(model, "sdpa", ids)
        model.set_attn_implementation("sale")
        with torch.inference_mode():
            got = torch.compile(model)(ids).logits.float()
        self.assertLess((got - expected).abs().mean().item() / expected.std().item(), 0.02)

    def test_gemma3(self):
        self.compare(self.models("gemma3_text", sliding_window=256), 4)

    def test_padding_is_left_to_sdpa(self):
        mask = torch.ones(2, 1500, dtype=torch.long, device="cuda")
        mask[0, :100] = 0
        self.compare(self.models("llama"), 0, attention_mask=mask)

    def test_packed_sequences_are_left_to_sdpa(self):
        positions = torch.cat([torch.arange(700), torch.arange(800)])[None].expand(2, -1).cuda()
        self.compare(self.models("llama"), 0, position_ids=positions, use_cache=False)

    def test_attention_in_chunks_is_left_to_sdpa(self):
        from transformers.masking_utils import sliding_window_causal_mask_function

        from sale.integrations.transformers import _is_causal_or_sliding

        def chunks(batch, head, row, key):
            return (key <= row) & (key // 300 == row // 300)

        common = {"kv_length": 1500, "local_size": 300}
        self.assertFalse(_is_causal_or_sliding({"mask_function": chunks, **common}))
        sliding = sliding_window_causal_mask_function(300)
        self.assertTrue(_is_causal_or_sliding({"mask_function": sliding, **common}))

    def test_generation_goes_on_from_a_sparse_prefill(self):
        from sale.integrations import transformers as integration

        model = self.models("llama")
        registered = integration.register(tau=0.0, min_tokens=512)
        ids = torch.randint(512, (1, 900), device="cuda")
        said = {}
        for kind in ("sdpa", "sale"):
            model.set_attn_implementation(kind)
            said[kind] = model.generate(ids, max_new_tokens=8, min_new_tokens=8, do_sample=False, pad_token_id=0)
        self.assertEqual(said["sale"].shape, said["sdpa"].shape)
        for layer in registered.report().values():
            self.assertEqual((layer.sparse, layer.other), (1, 7))

    def test_sparse_prefill_keeps_less(self):
        from sale.integrations import transformers as integration

        registered = integration.register(tau=1.0, min_tokens=512, measure_density=True)
        self.logits(self.models("llama"), "sale", torch.randint(512, (1, 4096), device="cuda"))
        for layer in registered.report().values():
            self.assertLess(layer.density, 0.9)


if __name__ == "__main__":
    unittest.main(verbosity=2)
