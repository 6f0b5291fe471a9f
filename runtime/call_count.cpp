// SPDX-License-Identifier: Apache-2.0
// What counts a call on the device.
#include "runtime/call.hpp"

namespace sale {

CountArgs Call::count_args() const {
  CountArgs a{};
  a.started = at<unsigned long long>(layout_.started);
  a.totals = plan_.totals->data();
  a.batch = args_.shape.batch;
  a.num_q_heads = plan_.problem.num_q_heads;
  a.q_len = args_.shape.q_len;
  a.kv_len = args_.shape.kv_len;
  a.mask_words = mask_row_words(plan_.policy, args_.shape.kv_len);
  a.sliding_window = plan_.problem.sliding_window;
  a.ragged = ragged_;
  return a;
}

void Call::begin_count() const {
  CountArgs a = count_args();
  a.begins = 1;
  launch_grid(plan_.count, 1, 1, 1, a);
}

void Call::end_count(const std::uint32_t *mask) const {
  CountArgs a = count_args();
  a.mask = mask;
  // About one CTA for each multiprocessor.
  const unsigned wanted = ceil_div(plan_.device->multiprocessors(), a.num_q_heads);
  const unsigned most = ceil_div(a.q_len, plan_.policy.block_q * plan_.count.spec.tile.warps);
  launch_grid(plan_.count, std::min(wanted, most), static_cast<unsigned>(a.num_q_heads), 1, a);
}

} // namespace sale
