// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/ragged_tensor.hpp"

#include "tests/emulator/kernels/plain_attention.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace sale::test {

namespace {

constexpr std::uint16_t nan = 0x7fff;

} // namespace

RaggedTensor::RaggedTensor(std::vector<int> lens, int heads, int head_dim, int max_len, const Placement &placement,
                           unsigned seed)
    : lens_(std::move(lens)), heads_(heads), head_dim_(head_dim) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (const int len : lens_) {
    std::vector<std::uint16_t> rows(static_cast<std::size_t>(heads) * len * head_dim);
    std::generate(rows.begin(), rows.end(), [&] { return to_bf16(normal(random)); });
    rows_.push_back(std::move(rows));
    alone_.push_back(Device::get().upload(rows_.back().empty() ? std::vector{nan, nan} : rows_.back()));
  }
  place(placement, max_len);
}

::TensorArg RaggedTensor::alone(std::size_t sequence) const {
  const long long stride = static_cast<long long>(lens_[sequence]) * head_dim_;
  return {alone_[sequence]->as<void>(), 0, stride, head_dim_};
}

void RaggedTensor::place(const Placement &placement, int max_len) {
  const long long total = std::accumulate(lens_.begin(), lens_.end(), 0LL);
  const long long batch = static_cast<long long>(lens_.size());
  const int page_size = placement.paged() ? placement.page_size : 1;
  const int pages = (max_len + page_size - 1) / page_size; // of the longest sequence
  long long rows = 0;                                      // of all heads
  switch (placement.kind) {
  case Placement::Kind::packed:
    arg_ = {nullptr, 0, total * head_dim_, head_dim_};
    rows = heads_ * total;
    break;
  case Placement::Kind::padded:
    arg_ = {nullptr, static_cast<long long>(heads_) * max_len * head_dim_, static_cast<long long>(max_len) * head_dim_,
            head_dim_};
    rows = batch * heads_ * max_len;
    break;
  case Placement::Kind::paged:
    arg_ = {nullptr, static_cast<long long>(heads_) * page_size * head_dim_,
            static_cast<long long>(placement.heads_inside ? 1 : page_size) * head_dim_,
            static_cast<long long>(placement.heads_inside ? heads_ : 1) * head_dim_};
    rows = batch * pages * heads_ * page_size;
    break;
  }
  std::vector<int> order(static_cast<std::size_t>(batch) * pages);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1)); // the same for K and V
  std::vector<int> table(order.size(), -1);
  std::vector<std::uint16_t> data(static_cast<std::size_t>(rows) * head_dim_ + 8, nan);
  long long start = 0;
  for (std::size_t b = 0; b < lens_.size(); ++b) {
    for (int token = 0; token < lens_[b]; ++token) {
      long long row = 0;
      if (placement.paged()) {
        const std::size_t entry = b * static_cast<std::size_t>(pages) + static_cast<std::size_t>(token / page_size);
        table[entry] = order[entry];
        row = order[entry] * arg_.stride_batch + token % page_size * arg_.stride_token;
      } else {
        row = static_cast<long long>(b) * arg_.stride_batch +
              (placement.kind == Placement::Kind::packed ? start + token : token) * arg_.stride_token;
      }
      for (int head = 0; head < heads_; ++head) {
        const auto from = rows_[b].begin() + (static_cast<long long>(head) * lens_[b] + token) * head_dim_;
        std::copy_n(from, head_dim_, data.begin() + row + head * arg_.stride_head);
      }
    }
    start += lens_[b];
  }
  data_ = Device::get().upload(data);
  table_ = Device::get().upload(table);
  pages_ = table;
  arg_.data = data_->as<void>();
  if (placement.paged()) {
    paged_.table = table_->as<const int>();
    paged_.table_stride = pages;
    paged_.page_size = page_size;
    paged_.num_pages = static_cast<int>(batch) * pages;
  }
}

} // namespace sale::test
