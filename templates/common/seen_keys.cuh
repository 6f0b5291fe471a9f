// SPDX-License-Identifier: Apache-2.0
// Which keys consecutive query rows of a warp see, and which of its scores are of others. Config says causal and
// sliding; scores are accumulators as multiply_queries_and_keys leaves them.
#pragma once

#include "device/special.cuh"
#include "device/types.cuh"

template <class Config, int rows>
class SeenKeys {
public:
  // position: key position of the first row.
  SALE_DEVICE SeenKeys(s32 position, s32 kv_len, s32 sliding_window)
      : position_(position), kv_len_(kv_len), sliding_window_(sliding_window) {}

  // The last key that any row sees.
  SALE_DEVICE s32 last() const {
    if constexpr (Config::parts) {
      return Config::causal ? imin(position_ + rows, kv_len_) - 1 : kv_len_ - 1;
    } else {
      return Config::causal ? position_ + rows - 1 : kv_len_ - 1;
    }
  }

  // Whether every row's keys begin behind this one.
  SALE_DEVICE bool begin_after(s32 key) const { return Config::sliding && key + sliding_window_ <= position_; }

  // Whether every row sees all of the keys [first, first + count).
  SALE_DEVICE bool all(s32 first, s32 count) const {
    if (Config::parts && first + count > kv_len_) {
      return false;
    }
    if constexpr (!Config::causal) {
      return first + count - 1 < kv_len_;
    } else if constexpr (Config::sliding) {
      return first + count - 1 <= position_ && first + sliding_window_ > position_ + rows - 1;
    } else {
      return first + count - 1 <= position_;
    }
  }

  // How far key `column` lies past the last that the first row sees.
  SALE_DEVICE s32 ahead(s32 column) const { return column - (Config::causal ? position_ : kv_len_ - 1); }

  // How many keys further than the first row this one sees.
  static SALE_DEVICE s32 further(s32 row) { return Config::causal ? row : 0; }

  // Whether element i of accumulator tile [m][n] is hidden; ahead: of the lane's first column and row of [0][0].
  SALE_DEVICE bool hides(s32 ahead, int m, int n, int i) const {
    if constexpr (Config::parts && Config::causal) { // whose rows may lie behind all keys
      const s32 row = static_cast<s32>(lane_index() / 4);
      if (ahead + n * 8 + i % 2 >= kv_len_ - position_ - row) {
        return true;
      }
    }
    if constexpr (Config::sliding) { // as unsigned numbers, later keys are the farthest behind
      return static_cast<u32>(m * 16 + i / 2 * 8 - (ahead + n * 8 + i % 2)) >= static_cast<u32>(sliding_window_);
    } else {
      return ahead + n * 8 + i % 2 > further(m * 16 + i / 2 * 8);
    }
  }

private:
  s32 position_;
  s32 kv_len_;
  s32 sliding_window_;
};
