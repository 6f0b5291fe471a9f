// SPDX-License-Identifier: Apache-2.0
// The pipeline stages of select: tiles of K (codes, or 16-bit keys for exact), and beside them the keys' scales and
// int4 biases.
#pragma once

#include "args/select_args.cuh"
#include "common/coded_pages.cuh"
#include "common/estimator.cuh"
#include "common/key_rows.cuh"
#include "common/load_keys.cuh"
#include "common/load_tile.cuh"
#include "common/sequence.cuh"
#include "device/cp_async.cuh"
#include "device/special.cuh"
#include "device/types.cuh"

template <class Config>
struct SelectLayout {
  static constexpr int row_bytes = Config::code_row_bytes;
  static constexpr int sub_blocks = Config::keys_per_step / 32;
  static constexpr int tile_bytes = Config::keys_per_step * row_bytes;
  static constexpr int scales_per_sub_block = Config::estimator == Estimator::int4 ? 4 : 1;
  static constexpr int scale_bytes =
      Config::estimator == Estimator::exact ? 0 : RoundUp<sub_blocks * scales_per_sub_block * 4, 16>::result;
  static constexpr int bias_bytes = Config::estimator == Estimator::int4 ? Config::keys_per_step * 4 : 0;
  static constexpr int stage_bytes = tile_bytes + scale_bytes + bias_bytes;
  static constexpr int shared_bytes = Config::stages * stage_bytes;
};

template <class Config>
class KeyTiles {
  using Layout = SelectLayout<Config>;

public:
  SALE_DEVICE KeyTiles(const SelectArgs &args, const Sequence<Config> &sequence, s32 head)
      : args_(args), sequence_(sequence), kv_len_(sequence.kv_len), kv_head_(head / Config::gqa) {
    const s32 kv_head = head / Config::gqa;
    if constexpr (Config::estimator == Estimator::exact) {
      if constexpr (!Config::paged) {
        keys_ = static_cast<const u8 *>(args.k.data) + 2 * sequence.key_element(args, args.k, kv_head);
        row_stride_ = 2 * args.k.stride_token;
      }
    } else {
      const s32 kv_heads = args.num_q_heads / Config::gqa;
      keys_ = args.k_codes + sequence.key_row(args, kv_heads, kv_head) * Layout::row_bytes;
      row_stride_ = Layout::row_bytes;
      scales_ = args.k_scales + sequence.template key_group<1>(args, kv_heads, kv_head) * Layout::scales_per_sub_block;
      if constexpr (Config::estimator == Estimator::int4) {
        bias_ = args.bias + sequence.template key_group<1>(args, args.num_q_heads, head) * 32;
      }
    }
  }

  // Issues the copies of keys [key, key + keys_per_step), if key < end; what lies past kv_len becomes zero.
  SALE_DEVICE void load(u32 stage, s32 key, s32 end) const {
    if (key >= end) {
      return;
    }
    load_rows(stage, key);
    const s32 thread = static_cast<s32>(thread_index());
    const u32 scales = stage + Layout::tile_bytes;
    static_assert(Layout::sub_blocks <= 32 && Config::keys_per_step / 4 <= Config::threads, "one copy a thread");
    if constexpr (Config::estimator != Estimator::exact) {
      if (thread < Layout::sub_blocks) {
        const bool valid = key + thread * 32 < kv_len_;
        const f32 *source =
            scales_ + (valid ? (key / 32 + thread) * static_cast<s64>(Layout::scales_per_sub_block) : 0);
        if constexpr (Config::estimator == Estimator::int4) {
          cp_async_16(scales + static_cast<u32>(thread) * 16, source, valid);
        } else {
          cp_async_4(scales + static_cast<u32>(thread) * 4, source, valid);
        }
      }
    }
    if constexpr (Config::estimator == Estimator::int4) {
      if (thread < Config::keys_per_step / 4) {
        const bool valid = key + thread * 4 < kv_len_;
        cp_async_16(scales + Layout::scale_bytes + static_cast<u32>(thread) * 16,
                    bias_ + (valid ? key + thread * 4 : 0), valid);
      }
    }
  }

private:
  SALE_DEVICE void load_rows(u32 stage, s32 key) const {
    constexpr int keys = Config::keys_per_step;
    if constexpr (Config::coded_pages) {
      const CodedPages<Config> pages(args_.paged, sequence_.batch, args_.num_q_heads / Config::gqa, kv_head_);
      load_keys<keys, Layout::row_bytes, Config::threads, 32>(stage, pages, key, kv_len_);
    } else if constexpr (Config::estimator == Estimator::exact) {
      if constexpr (Config::paged) {
        const KeyRows<Config> pages(args_, args_.k, sequence_, kv_head_);
        load_keys<keys, Layout::row_bytes, Config::threads, Config::page_rows>(stage, pages, key, kv_len_);
      } else {
        load_tile<keys, Layout::row_bytes, Config::threads>(stage, keys_, row_stride_, kv_len_, ConsecutiveRows{key});
      }
    } else {
      load_tile<keys, Layout::row_bytes, Config::threads>(stage, keys_, row_stride_, kv_len_, ConsecutiveRows{key});
    }
  }

  const SelectArgs &args_;
  const Sequence<Config> sequence_;
  const u8 *keys_; // unless in pages
  s64 row_stride_; // bytes
  const f32 *scales_;
  const f32 *bias_;
  s32 kv_len_;
  s32 kv_head_;
};
