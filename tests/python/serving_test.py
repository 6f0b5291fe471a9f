# SPDX-License-Identifier: Apache-2.0
"""Plans of sequences, pages and parts on the emulated GPU: each sequence gets what a plain call of its own gets."""

import math
import random
import unittest

import sale
from sale.density import visible_blocks

import emulator
from emulator import Array

Q_HEADS, KV_HEADS, DIM, PAGE = 2, 1, 64, 32
LENGTHS = ((70, 70), (33, 90))  # q_len, kv_len


class Rows:
    """[heads, tokens, DIM] f16 values."""

    def __init__(self, heads, tokens, seed):
        draw = random.Random(seed)
        self.heads = [[[draw.uniform(-1, 1) for _ in range(DIM)] for _ in range(tokens)] for _ in range(heads)]

    @staticmethod
    def array(rows, *batch):
        """The tokens of all, one after the other."""
        together = [[token for each in rows for token in each.heads[head]] for head in range(len(rows[0].heads))]
        flat = [value for head in together for token in head for value in token]
        return Array("<f2", (*batch, len(together), len(together[0]), DIM), flat)


def poison(typestr, *shape):
    value = 255 if typestr == "<u1" else math.nan
    return Array(typestr, shape, [value] * math.prod(shape))


def ints(*values, shape=None):
    return Array("<i4", shape or (len(values),), values)


def tokens_of(values, total, first, count, width=DIM):
    """[Q_HEADS, total, width] -> of one sequence."""
    rows = [head * total + i for head in range(Q_HEADS) for i in range(first, first + count)]
    return [value for row in rows for value in values[row * width : (row + 1) * width]]


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        emulator.Memory.driver()
        cls.engine = sale.Engine(0, cuda_driver=emulator.DRIVER, arch="sm_80", use_disk_cache=0, tuning=None)
        cls.problem = sale.Problem("f16", DIM, num_q_heads=Q_HEADS, num_kv_heads=KV_HEADS)
        cls.policy = sale.Policy(tau=0.3, sink=0, window=0)
        cls.q = [Rows(Q_HEADS, q_len, seed) for seed, (q_len, _) in enumerate(LENGTHS)]
        cls.k = [Rows(KV_HEADS, kv_len, 10 + seed) for seed, (_, kv_len) in enumerate(LENGTHS)]
        cls.v = [Rows(KV_HEADS, kv_len, 20 + seed) for seed, (_, kv_len) in enumerate(LENGTHS)]
        cls.kbar = Array("<f4", (KV_HEADS, DIM), [0.125] * DIM)
        cls.plain = cls.engine.prepare(cls.problem, cls.policy)
        cls.alone = [cls.run_alone(i) for i in range(len(LENGTHS))]

    @classmethod
    def run_alone(cls, i):
        q_len, kv_len = LENGTHS[i]
        shape = sale.Shape(1, q_len, kv_len)
        call = sale.Tensors(
            Rows.array([cls.q[i]], 1),
            Rows.array([cls.k[i]], 1),
            Rows.array([cls.v[i]], 1),
            poison("<f2", 1, Q_HEADS, q_len, DIM),
            poison("<u1", cls.plain.workspace_bytes(shape)),
            lse=poison("<f4", 1, Q_HEADS, q_len),
            kbar=Array("<f4", (1, KV_HEADS, DIM), cls.kbar.values()),
        )
        cls.plain.run(call)
        return list(call.out.values()), list(call.lse.values())

    def packed(self, plan, shape, k, v, **more):
        total = shape.total_q
        return sale.Tensors(
            Rows.array(self.q),
            k,
            v,
            poison("<f2", Q_HEADS, total, DIM),
            poison("<u1", plan.workspace_bytes(shape)),
            lse=poison("<f4", Q_HEADS, total),
            shape=shape,
            kbar=self.kbar,
            cu_seqlens_q=ints(0, 70, 103),
            **more,
        )

    def assert_as_alone(self, call):
        for (out, lse), first, (q_len, _) in zip(self.alone, (0, 70), LENGTHS):
            self.assertEqual(tokens_of(call.out.values(), 103, first, q_len), out)
            self.assertEqual(tokens_of(call.lse.values(), 103, first, q_len, 1), lse)

    def test_packed_sequences(self):
        plan = self.engine.prepare(self.problem, self.policy, sale.Serving(ragged=True))
        shape = sale.Shape(2, 70, 90, total_q=103, total_kv=160)
        call = self.packed(plan, shape, Rows.array(self.k), Rows.array(self.v), cu_seqlens_kv=ints(0, 70, 160))
        plan.run(call)
        self.assert_as_alone(call)

    def test_pages_with_codes_of_an_earlier_call(self):
        plan = self.engine.prepare(self.problem, self.policy, sale.Serving(page_size=PAGE, code_cache=True))
        pages, table = 8, [[3, 0, 7], [1, 5, 4]]  # 2 and 6 are nobody's

        def paged(sequences):
            content = [math.nan] * (pages * PAGE * DIM)
            for rows, own in zip(sequences, table):
                for i, token in enumerate(rows.heads[0]):
                    at = (own[i // PAGE] * PAGE + i % PAGE) * DIM
                    content[at : at + DIM] = token
            return Array("<f2", (pages, KV_HEADS, PAGE, DIM), content)

        shape = sale.Shape(2, 70, 90, total_q=103)
        codes = poison("<u1", plan.code_cache_bytes(pages))
        serving = dict(block_table=ints(*table[0], *table[1], shape=(2, 3)), kv_lens=ints(70, 90), code_cache=codes)
        for coded in (ints(0, 0), ints(70, 90)):
            call = self.packed(plan, shape, paged(self.k), paged(self.v), coded_lens=coded, **serving)
            plan.run(call)
            self.assert_as_alone(call)

    def test_parts_merge_to_the_whole(self):
        plan = self.engine.prepare(self.problem, sale.Policy(tau=0.0), sale.Serving(parts=True))
        q_len, kv_len, cut = *LENGTHS[1], 40
        parts = []
        for first, count in ((0, cut), (cut, kv_len - cut)):
            k, v = Rows(KV_HEADS, 0, 0), Rows(KV_HEADS, 0, 0)
            k.heads = [self.k[1].heads[0][first : first + count]]
            v.heads = [self.v[1].heads[0][first : first + count]]
            shape = sale.Shape(1, q_len, count)
            call = sale.Tensors(
                Rows.array([self.q[1]], 1),
                Rows.array([k], 1),
                Rows.array([v], 1),
                poison("<f2", 1, Q_HEADS, q_len, DIM),
                poison("<u1", plan.workspace_bytes(shape)),
                lse=poison("<f4", 1, Q_HEADS, q_len),
                q_positions=ints(kv_len - q_len - first),
                key_offsets=ints(first),
            )
            plan.run(call)
            parts.append(sale.Part(call.out, call.lse))
        whole = sale.Part(poison("<f2", 1, Q_HEADS, q_len, DIM), poison("<f4", 1, Q_HEADS, q_len))
        plan.merge(*parts, whole)
        dense = self.dense(1)
        for got, wanted in zip(whole.out.values(), dense, strict=True):
            self.assertLess(abs(got - wanted), 2e-3)
        lse = poison("<f4", 1, Q_HEADS, q_len)
        plan.merge(sale.Part(lse=parts[0].lse), sale.Part(lse=parts[1].lse), sale.Part(lse=lse))
        self.assertEqual(lse.values(), whole.lse.values())

    def dense(self, i):
        q_len, kv_len = LENGTHS[i]
        call = sale.Tensors(Rows.array([self.q[i]], 1), Rows.array([self.k[i]], 1), Rows.array([self.v[i]], 1))
        call.out = poison("<f2", 1, Q_HEADS, q_len, DIM)
        self.plain.run_dense(call)
        return call.out.values()

    def test_select_gives_the_mask_alone(self):
        shape = sale.Shape(1, *LENGTHS[1])
        words = self.plain.mask_words(shape)
        masks = [Array("<u4", (words,), [0xFFFFFFFF] * words) for _ in range(2)]
        common = dict(workspace=poison("<u1", self.plain.workspace_bytes(shape)))
        q, k, v = (Rows.array([each[1]], 1) for each in (self.q, self.k, self.v))
        self.plain.select(sale.Tensors(q, k, mask_out=masks[0], **common))
        self.plain.run(sale.Tensors(q, k, v, poison("<f2", 1, Q_HEADS, LENGTHS[1][0], DIM), mask_out=masks[1], **common))
        self.assertEqual(masks[0].values(), masks[1].values())
        kept = sum(word.bit_count() for word in masks[0].values())
        self.assertLess(kept, Q_HEADS * visible_blocks(self.problem, self.policy, shape))

    def test_refuses_what_does_not_fit_together(self):
        plan = self.engine.prepare(self.problem, self.policy, sale.Serving(ragged=True))
        shape = sale.Shape(2, 70, 90, total_q=103, total_kv=160)
        k, v = Rows.array(self.k), Rows.array(self.v)

        def refused(words, **changes):
            call = self.packed(plan, shape, k, v, cu_seqlens_kv=ints(0, 70, 160))
            for name, value in changes.items():
                setattr(call, name, value)
            with self.assertRaisesRegex((ValueError, sale.Error), words):
                plan.run(call)

        refused("shape is needed where sequences are packed", shape=None)
        refused(r"cu_seqlens_q is i32 \[2\]; it must be i32 \[3\]", cu_seqlens_q=ints(0, 103))
        refused(r"k is f16 \[1, 160, 64\]; it must be f16 \[1, 150, 64\]", shape=sale.Shape(2, 70, 90, 103, 150))
        refused("cu_seqlens_kv", cu_seqlens_kv=None)
        refused(r"q_lens is f32 \[2\]; it must be i32 \[2\]", q_lens=poison("<f4", 2))
        refused("block_table", block_table=ints(0, 1, shape=(2, 1)))
        with self.assertRaisesRegex(ValueError, "lse of the merged part is needed"):
            plan.merge(sale.Part(), sale.Part(), sale.Part())


if __name__ == "__main__":
    unittest.main()
