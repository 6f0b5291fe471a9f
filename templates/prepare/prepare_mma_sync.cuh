// SPDX-License-Identifier: Apache-2.0
// prepare for the mma.sync family: the threshold T of every query row from its reference keys, and what select needs of
// Q: codes, scales and θ (docs/numerics.md, sections 3, 5, 6 and 12). One CTA takes one query block of some query heads
// of one KV head; each warp takes rows of its own from the keys to the codes.
#pragma once

#include "args/prepare_args.cuh"
#include "common/estimator.cuh"
#include "common/key_rows.cuh"
#include "common/load_tile.cuh"
#include "common/region.cuh"
#include "common/seen_keys.cuh"
#include "common/sequence.cuh"
#include "common/swizzle.cuh"
#include "device/cp_async.cuh"
#include "device/memory.cuh"
#include "device/shared.cuh"
#include "device/special.cuh"
#include "device/types.cuh"
#include "device/warp.cuh"
#include "prepare/exact_queries.cuh"
#include "prepare/float_queries.cuh"
#include "prepare/integer_queries.cuh"
#include "prepare/query_rows.cuh"
#include "prepare/reference_sum.cuh"

template <class Config>
struct PrepareLayout {
  static constexpr int rows = Config::rows_per_warp * Config::warps;
  static constexpr int heads = rows / Config::block_q; // query heads of a KV head, which share its keys
  static constexpr int head_groups = (Config::gqa + heads - 1) / heads;
  static_assert(rows % Config::block_q == 0, "a CTA takes one query block of each of its heads");
  static_assert(Config::block_q % Config::rows_per_warp == 0, "a warp's rows are of one head");
  static_assert(Config::block_k % Config::keys_per_step == 0, "the keys of a step are consecutive");
  static constexpr int row_bytes = Config::head_dim * 2;
  static constexpr int q_bytes = rows * row_bytes;
  static constexpr int tile_bytes = Config::keys_per_step * row_bytes;
  static constexpr int shared_bytes = q_bytes + Config::stages * tile_bytes + rows * 4;
};

// The reference keys as one ascending list: the visible blocks before the estimated ones, those among them that are not
// causal, and those after.
template <class Config>
struct ReferenceKeys {
  s32 start; // the first; 0 unless sliding
  s32 count;
  s32 first_gap;  // list positions from here on
  s32 gap;        // skip this many keys
  s32 second_gap; // not causal: and those from here on
  s32 gaps;       // this many in all

  SALE_DEVICE explicit ReferenceKeys(const Region<Config> &region) {
    constexpr s32 block_k = Config::block_k;
    start = region.first_visible * block_k;
    first_gap = imin(region.first_estimated * block_k, region.visible_keys) - start;
    if constexpr (Config::causal) {
      gap = region.end_estimated * block_k - first_gap - start;
      count = first_gap;
    } else {
      gap = region.near_begin * block_k - first_gap;
      second_gap = first_gap + (region.near_end - region.near_begin) * block_k;
      gaps = region.end_estimated * block_k - second_gap;
      count = second_gap;
    }
    count += imax(region.visible_keys - region.end_estimated * block_k, 0);
  }

  SALE_DEVICE s32 key(s32 position) const {
    if constexpr (Config::causal) {
      return start + (position < first_gap ? position : position + gap);
    } else {
      return position + (position < first_gap ? 0 : (position < second_gap ? gap : gaps));
    }
  }
};

// Copies steps of keys, which never straddle a gap, into shared memory: a thread has the same chunk of every
// threads / chunks-th key.
template <class Config>
class KeyLoader {
  static constexpr int row_bytes = Config::head_dim * 2;
  static constexpr int chunks = row_bytes / 16;
  // Keys that lie evenly spaced.
  static constexpr int together = Config::paged ? Config::page_rows : Config::keys_per_step;

public:
  // Keys from `limit` on become zero.
  SALE_DEVICE KeyLoader(const KeyRows<Config> &keys, s32 limit) : keys_(keys), limit_(limit) {
    if constexpr (Config::threads % chunks == 0) {
      keys_.skip(s64{16} * (thread_index() % chunks));
    }
  }

  SALE_DEVICE void load(u32 tile, s32 first_key) const {
    if constexpr (Config::threads % chunks != 0) {
      load_keys<Config::keys_per_step, row_bytes, Config::threads>(tile, keys_, first_key, limit_);
    } else {
#pragma unroll
      for (int first = 0; first < Config::keys_per_step; first += together) {
        load_together(tile + first * row_bytes, first_key + first);
      }
    }
  }

private:
  SALE_DEVICE void load_together(u32 tile, s32 first_key) const {
    constexpr int total = together * chunks;
    constexpr int keys_at_once = Config::threads / chunks;
    const u32 chunk = thread_index() % chunks;
    const s32 row = static_cast<s32>(thread_index() / chunks);
    const s32 existing = limit_ - first_key - row;
    const u8 *source = source_of(first_key, row);
#pragma unroll
    for (int i = 0; i < (total + Config::threads - 1) / Config::threads; ++i) {
      const u32 tile_row = static_cast<u32>(row + i * keys_at_once);
      if (total % Config::threads == 0 || tile_row < together) {
        cp_async_16(tile + Swizzle<row_bytes>::offset(tile_row, chunk), source, i * keys_at_once < existing);
        source += keys_at_once * keys_.stride();
      }
    }
  }

  SALE_DEVICE const u8 *source_of(s32 first_key, s32 row) const {
    if constexpr (Config::paged) {
      return keys_.row_below(first_key, limit_) + row * keys_.stride();
    } else {
      return keys_.row(first_key + row);
    }
  }

  KeyRows<Config> keys_;
  s32 limit_;
};

// What one CTA, and within it one warp, works on.
template <class Config>
struct PrepareWork {
  using Layout = PrepareLayout<Config>;

  s32 query_block;
  s32 first_row; // of the query block, in its sequence
  s64 batch;
  s32 kv_head;
  s32 first_head; // of the CTA, in the KV head's group
  // The warp's:
  s32 head; // in the KV head's group, which may have fewer
  s32 row;  // in the query block

  // Of a CTA for which there is something to do.
  explicit SALE_DEVICE PrepareWork(const PrepareArgs &args) {
    if constexpr (Config::ragged) {
      const auto scheduled = ScheduledRows<Config::block_q>::again(args.ragged, static_cast<s32>(block_x()));
      first_row = scheduled.first_row;
      batch = scheduled.batch;
      query_block = first_row / Config::block_q;
    } else {
      query_block = static_cast<s32>(block_x());
      first_row = query_block * Config::block_q;
      batch = block_z();
    }
    kv_head = static_cast<s32>(block_y()) / Layout::head_groups;
    first_head = static_cast<s32>(block_y()) % Layout::head_groups * Layout::heads;
    head = first_head + shared_row() / Config::block_q;
    row = shared_row() % Config::block_q;
  }

  // Whether there is: grids of ragged batches have room for any lengths.
  static SALE_DEVICE bool exists(const PrepareArgs &args) {
    if constexpr (Config::ragged) {
      const ScheduledRows<Config::block_q> scheduled(args.ragged, static_cast<s32>(block_x()));
      return scheduled.exists && scheduled.first_row < Sequence<Config>(args, scheduled.batch).q_len;
    }
    return true;
  }

  // The warp's first row among the CTA's.
  static SALE_DEVICE s32 shared_row() { return static_cast<s32>(thread_index() / 32) * Config::rows_per_warp; }
  SALE_DEVICE bool has_head() const { return Config::gqa % Layout::heads == 0 || head < Config::gqa; }
  // Whether no query block of the sequence comes behind.
  SALE_DEVICE bool is_last(const Sequence<Config> &sequence) const {
    if constexpr (Config::ragged) {
      return first_row + Config::block_q >= sequence.q_len;
    } else {
      return query_block == static_cast<s32>(grid_x()) - 1;
    }
  }
  SALE_DEVICE s32 query_head() const { return kv_head * Config::gqa + head; }
};

template <class Config>
SALE_DEVICE void load_queries(const PrepareArgs &args, const PrepareWork<Config> &work,
                              const Sequence<Config> &sequence) {
  using Layout = PrepareLayout<Config>;
  const u8 *q = static_cast<const u8 *>(args.q.data) + 2 * sequence.query_element(args, args.q, 0);
#pragma unroll
  for (int h = 0; h < Layout::heads; ++h) {
    const s32 head = work.first_head + h;
    const s32 limit = Config::gqa % Layout::heads == 0 || head < Config::gqa ? sequence.q_len : 0;
    load_tile<Config::block_q, Layout::row_bytes, Config::threads>(
        dynamic_shared_address() + h * Config::block_q * Layout::row_bytes,
        q + 2 * (work.kv_head * Config::gqa + head) * args.q.stride_head, 2 * args.q.stride_token, limit,
        ConsecutiveRows{work.first_row});
  }
}

template <class Config>
SALE_DEVICE PartThresholds part_thresholds(const PrepareArgs &args, const PrepareWork<Config> &work,
                                           const Sequence<Config> &sequence) {
  if constexpr (Config::parts) {
    const s32 first = work.first_row + work.row;
    const s64 row = sequence.lse_row(args, args.num_q_heads, work.query_head()) + first;
    return {args.threshold_in == nullptr ? nullptr : args.threshold_in + row,
            args.threshold_out == nullptr ? nullptr : args.threshold_out + row, sequence.q_len - first};
  } else {
    return {};
  }
}

// Leaves Q's rows in shared memory, zero past q_len, and of each warp's rows T.
template <class Config>
SALE_DEVICE void find_thresholds(const PrepareArgs &args, const PrepareWork<Config> &work, u32 thresholds) {
  using Layout = PrepareLayout<Config>;
  constexpr int stages = Config::stages;
  const u32 q_shared = dynamic_shared_address();
  const u32 k_shared = q_shared + Layout::q_bytes;
  const KeyRows<Config> rows(args, args.k, Sequence<Config>(args, work.batch), work.kv_head);
  const Sequence<Config> sequence(args, work.batch);
  const Region<Config> region(work.query_block, sequence, args);
  const ReferenceKeys<Config> keys(region);
  const KeyLoader<Config> loader(rows, region.visible_keys);
  const auto load_step = [&](s32 stage, s32 first) {
    loader.load(k_shared + static_cast<u32>(stage * Layout::tile_bytes), keys.key(first));
    cp_async_commit();
  };

  load_queries(args, work, sequence);
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    load_step(i, i * Config::keys_per_step);
  }
  const s32 warp_row = PrepareWork<Config>::shared_row();
  const Sequence<Config> again(args, work.batch); // rather than keep it in registers meanwhile
  const SeenKeys<Config, Config::rows_per_warp> seen(again.position + work.first_row + work.row, again.kv_len,
                                                     args.sliding_window);
  ReferenceSum<Config> sum(q_shared + static_cast<u32>(warp_row * Layout::row_bytes), args.softmax_scale, args.softcap);
  s32 count = keys.count;
  if constexpr (Config::parts) {
    count = args.threshold_in != nullptr ? 0 : count;
  }
  s32 stage = 0;
  for (s32 first = 0; first < count; first += Config::keys_per_step) {
    cp_async_wait<stages - 2>();
    sync_threads(); // this stage has landed for every thread, and every warp has left the previous one
    load_step(stage == 0 ? stages - 1 : stage - 1, first + (stages - 1) * Config::keys_per_step);
    if (work.has_head()) {
      if (first == 0) {
        sum.load_queries();
      }
      sum.step(k_shared + static_cast<u32>(stage * Layout::tile_bytes), keys.key(first), seen);
    }
    stage = stage == stages - 1 ? 0 : stage + 1;
  }
  cp_async_wait<0>();
  if constexpr (Config::ragged) {
    sync_threads(); // where there is no key, nothing else has waited for Q
  }
  if (work.has_head()) {
    sum.finish(thresholds + static_cast<u32>(warp_row * 4), load_global_f32(args.tau + work.query_head()),
               args.sink_logits + work.query_head(), args.softmax_scale, part_thresholds(args, work, again));
  }
  sync_warp();
}

// Stands for the codes of each estimator.
template <class Config, Estimator estimator>
struct QueriesOf {
  using type = IntegerQueries<Config>;
};
template <class Config>
struct QueriesOf<Config, Estimator::exact> {
  using type = ExactQueries;
};
template <class Config>
struct QueriesOf<Config, Estimator::fp8> {
  using type = FloatQueries<Config>;
};

// The warp's rows, and its share of the padding that belongs to no query block.
template <class Config>
SALE_DEVICE void write_queries(const PrepareArgs &args, const PrepareWork<Config> &work, u32 thresholds) {
  using Layout = PrepareLayout<Config>;
  using Queries = typename QueriesOf<Config, Config::estimator>::type;
  const s32 block_row = PrepareWork<Config>::shared_row() - work.row; // the head's first row in shared memory
  const Sequence<Config> sequence(args, work.batch);
  const s32 q_padded = ceil_div(sequence.q_len, 128) * 128;
  const s32 head = work.query_head();
  const s64 first = sequence.query_row(args, args.num_q_heads, head) + work.first_row;
  QueryRows rows;
  rows.q = dynamic_shared_address() + static_cast<u32>(block_row * Layout::row_bytes);
  rows.thresholds = thresholds + static_cast<u32>(block_row * 4);
  rows.weights = dynamic_shared_address() + Layout::q_bytes;
  rows.existing = sequence.q_len - work.first_row;
  rows.shift_logits = args.shift == nullptr ? 0.0F : div_rn(load_global_f32(args.shift + head), args.softmax_scale);
  rows.threshold = args.threshold + first;
  rows.theta = args.theta + first;
  rows.scale = args.q_scale + first;
  rows.codes = args.q_codes + first * Queries::code_row_bytes;
  rows.metadata = args.q_metadata + first * Queries::metadata_words;
  const Queries queries(args, sequence, head);

#pragma unroll 1
  for (s32 i = 0; i < Config::rows_per_warp; i += Queries::rows_at_once) {
    queries.write(rows, work.row + i);
  }
  if (work.is_last(sequence) && q_padded - work.first_row > Config::block_q) { // by one block at most
    write_padding<Queries, Config::rows_per_warp>(rows, work.row + Config::block_q);
  }
}

// Grid: (q_blocks, num_kv_heads * head_groups, batch), or of ragged batches (slots * 512 / block_q, num_kv_heads *
// head_groups).
template <class Config>
SALE_DEVICE void prepare(const PrepareArgs &args) {
  using Layout = PrepareLayout<Config>;
  if (!PrepareWork<Config>::exists(args)) {
    return;
  }
  const u32 thresholds = dynamic_shared_address() + Layout::q_bytes + Config::stages * Layout::tile_bytes;
  find_thresholds<Config>(args, PrepareWork<Config>(args), thresholds);
  const PrepareWork<Config> work(args); // again, rather than keep it in registers meanwhile
  if (work.has_head()) {
    write_queries<Config>(args, work, thresholds);
  }
}
