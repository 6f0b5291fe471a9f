// SPDX-License-Identifier: Apache-2.0
// sequences: what a ragged call's other kernels know of its sequences, from lengths in device memory. One CTA. Lengths
// that promise more than there is are cut, so that whatever they are no kernel leaves its arrays.
#pragma once

#include "args/sequences_args.cuh"
#include "common/sequence.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "sequences/unit_weights.cuh"

template <class Config>
struct SequencesLayout {
  static constexpr int max_sequences = 4096;
  static constexpr int first_units = 0; // [batch + 1]: of units in the order of the sequences
  static constexpr int sums = first_units + (max_sequences + 1) * 4;
  static constexpr int kv_tokens = sums + Config::threads * 4;
  static constexpr int shared_bytes = kv_tokens + 4;
};

SALE_DEVICE s32 clamp(s32 value, s32 low, s32 high) { return imax(low, imin(value, high)); }

struct Span {
  s32 first;
  s32 length;
};

// Of one sequence's rows of Q, or of K. cu null: not packed. lens null: as cu says, or `most`.
SALE_DEVICE Span span_of(const int *cu, const int *lens, s32 total, s32 most, s32 index) {
  Span span = {0, most};
  s32 room = most;
  if (cu != nullptr) {
    span.first = clamp(cu[index], 0, total);
    span.length = clamp(cu[index + 1], span.first, total) - span.first;
    room = imin(most, total - span.first);
  }
  if (lens != nullptr) {
    span.length = lens[index];
  }
  span.length = clamp(span.length, 0, room);
  return span;
}

SALE_DEVICE SequenceEntry entry_of(const SequencesArgs &args, s32 index) {
  constexpr s32 tile = 128;
  constexpr s32 far = 1 << 30; // sums with lengths do not overflow
  const Span q = span_of(args.cu_q, args.q_lens, args.total_q, args.q_len, index);
  const Span kv = span_of(args.cu_kv, args.kv_lens, args.total_kv, args.kv_len, index);
  SequenceEntry entry;
  entry.q_len = q.length;
  entry.kv_len = kv.length;
  entry.position = args.q_positions != nullptr ? clamp(args.q_positions[index], -far, far) : kv.length - q.length;
  entry.key_offset = args.key_offsets != nullptr ? clamp(args.key_offsets[index], 0, far) : 0;
  entry.coded_len = clamp(args.coded_lens != nullptr ? args.coded_lens[index] : kv.length - q.length, 0, kv.length);
  entry.q_start = q.first;
  entry.kv_start = kv.first;
  if (args.cu_q != nullptr) {
    entry.q_row = tile * (q.first / tile + index);
    entry.lse_row = q.first;
    entry.mask_row = q.first / args.block_q + index;
  } else {
    const s64 head = static_cast<s64>(index) * args.num_q_heads;
    entry.q_row = index * ceil_div(args.q_len, tile) * tile;
    entry.lse_row = head * args.q_len;
    entry.mask_row = head * ceil_div(args.q_len, args.block_q);
  }
  entry.kv_row = args.cu_kv != nullptr ? tile * (kv.first / tile + index) : index * ceil_div(args.kv_len, tile) * tile;
  entry.unused[0] = entry.unused[1] = entry.unused[2] = 0;
  return entry;
}

// The last of `count` ascending numbers that is at most `value`; the first is.
template <class Number>
SALE_DEVICE s32 last_at_most(s32 count, s32 value, const Number &number) {
  s32 low = 0;
  s32 high = count;
  while (high - low > 1) {
    const s32 middle = (low + high) / 2;
    if (number(middle) <= value) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// Writes every sequence's entry, and leaves its first unit in shared memory. There are no more units than slots.
template <class Config>
SALE_DEVICE void write_entries(const SequencesArgs &args, u32 shared) {
  using Layout = SequencesLayout<Config>;
  const s32 thread = static_cast<s32>(thread_index());
  const u32 sum_address = shared + Layout::sums + thread * 4;
  const s32 each = ceil_div(args.batch, Config::threads);
  const s32 first = thread * each;
  const s32 end = imin(first + each, args.batch);
  if (thread == 0) {
    store_shared_4(shared + Layout::kv_tokens, 0);
  }
  sync_threads();
  s32 units = 0;
  u32 keys = 0;
  for (s32 b = first; b < end; ++b) {
    const SequenceEntry entry = entry_of(args, b);
    args.sequences[b] = entry;
    units += ceil_div(entry.q_len, rows_per_unit);
    keys += static_cast<u32>(entry.kv_len);
  }
  add_shared(shared + Layout::kv_tokens, keys);

  s32 sum = units; // of this thread's sequences and all before them
  store_shared_4(sum_address, static_cast<u32>(sum));
  sync_threads();
  for (s32 step = 1; step < Config::threads; step *= 2) {
    const s32 before = thread >= step ? static_cast<s32>(load_shared_4(sum_address - step * 4)) : 0;
    sync_threads();
    sum += before;
    store_shared_4(sum_address, static_cast<u32>(sum));
    sync_threads();
  }
  s32 first_unit = sum - units;
  for (s32 b = first; b < end; ++b) {
    store_shared_4(shared + Layout::first_units + b * 4, static_cast<u32>(imin(first_unit, args.slots)));
    first_unit += ceil_div(args.sequences[b].q_len, rows_per_unit);
  }
  if (thread == Config::threads - 1) {
    store_shared_4(shared + Layout::first_units + args.batch * 4, static_cast<u32>(imin(sum, args.slots)));
  }
  sync_threads();
}

template <class Config>
SALE_DEVICE void write_key_units(const SequencesArgs &args) {
  constexpr s32 tile = 128;
  for (s32 slot = static_cast<s32>(thread_index()); slot < args.kv_rows / tile; slot += Config::threads) {
    const s32 b = last_at_most(args.batch, slot * tile, [&](s32 sequence) { return args.sequences[sequence].kv_row; });
    const s32 key = slot * tile - args.sequences[b].kv_row;
    args.key_units[slot] = key >= 0 && key < args.sequences[b].kv_len ? static_cast<u32>(b) : ~0U;
  }
}

// Puts units in the order of their work, the most first; those of equal work stay in the order of the sequences.
template <class Config>
SALE_DEVICE void write_row_units(const SequencesArgs &args, u32 shared) {
  const auto first_unit = [&](s32 sequence) {
    return static_cast<s32>(load_shared_4(shared + SequencesLayout<Config>::first_units + sequence * 4));
  };
  const auto weights_of = [&](s32 sequence) {
    return UnitWeights(args, sequence, first_unit(sequence + 1) - first_unit(sequence));
  };
  const s32 units = first_unit(args.batch);
  for (s32 number = static_cast<s32>(thread_index()); number < units; number += Config::threads) {
    const s32 b = last_at_most(args.batch, number, first_unit);
    const s32 unit = number - first_unit(b);
    const UnitWeights own = weights_of(b);
    const s32 weight = own.weight(unit);
    s32 rank = own.above(weight) + unit - (own.units - own.above(weight - 1));
#pragma unroll 4
    for (s32 other = 0; other < b; ++other) {
      rank += weights_of(other).above(weight - 1);
    }
#pragma unroll 4
    for (s32 other = b + 1; other < args.batch; ++other) {
      rank += weights_of(other).above(weight);
    }
    args.row_units[rank] = static_cast<u32>(b) << 16 | static_cast<u32>(unit);
  }
  if (thread_index() == 0) {
    const s32 kv_tokens = static_cast<s32>(load_shared_4(shared + SequencesLayout<Config>::kv_tokens));
    *args.counts = {units, kv_tokens, {0, 0}};
  }
}

// Grid: 1.
template <class Config>
SALE_DEVICE void sequences(const SequencesArgs &args) {
  const u32 shared = dynamic_shared_address();
  write_entries<Config>(args, shared);
  write_key_units<Config>(args);
  write_row_units<Config>(args, shared);
}
