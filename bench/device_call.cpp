// SPDX-License-Identifier: Apache-2.0
#include "bench/device_call.hpp"

#include "reference/element.hpp"

#include <algorithm>
#include <utility>

namespace sale::bench {

namespace {

constexpr int most_sampled_heads = 4;

std::size_t bytes_of(const std::vector<std::uint16_t> &values) { return values.size() * sizeof(values[0]); }

std::size_t bytes_of_out(const io::Qkv &qkv) {
  return bytes_of(qkv.q) / qkv.problem.head_dim * effective_v_head_dim(qkv.problem);
}

} // namespace

std::size_t DeviceCall::bytes(const io::Qkv &qkv, std::size_t workspace_bytes, std::size_t words, int masks) {
  return bytes_of(qkv.q) + bytes_of_out(qkv) + bytes_of(qkv.k) + bytes_of(qkv.v) + workspace_bytes +
         words * sizeof(std::uint32_t) * static_cast<std::size_t>(masks);
}

DeviceCall::DeviceCall(std::shared_ptr<const Device> device, const io::Qkv &qkv, std::size_t workspace_bytes,
                       std::size_t words, int masks)
    : device_(std::move(device)), problem_(qkv.problem), shape_(qkv.shape), q_(device_, bytes_of(qkv.q)),
      k_(device_, bytes_of(qkv.k)), v_(device_, bytes_of(qkv.v)), out_(device_, bytes_of_out(qkv)),
      workspace_(device_, workspace_bytes) {
  for (int i = 0; i < masks; ++i) {
    masks_.emplace_back(device_, words * sizeof(std::uint32_t));
  }
  q_.upload(qkv.q.data());
  k_.upload(qkv.k.data());
  v_.upload(qkv.v.data());
}

RunArgs DeviceCall::args() const {
  const int v_head_dim = effective_v_head_dim(problem_);
  RunArgs args;
  args.shape = shape_;
  args.q = packed_view(q_.data(), problem_.num_q_heads, shape_.q_len, problem_.head_dim);
  args.k = packed_view(k_.data(), problem_.num_kv_heads, shape_.kv_len, problem_.head_dim);
  args.v = packed_view(v_.data(), problem_.num_kv_heads, shape_.kv_len, v_head_dim);
  args.out = packed_view(out_.data(), problem_.num_q_heads, shape_.q_len, v_head_dim);
  args.workspace = workspace_.data();
  args.workspace_bytes = workspace_.bytes();
  return args;
}

std::vector<std::uint32_t> DeviceCall::download_mask(int index) const {
  std::vector<std::uint32_t> words(masks_[index].bytes() / sizeof(std::uint32_t));
  masks_[index].download(words.data());
  return words;
}

void DeviceCall::poison_out() const {
  constexpr unsigned two_nans = 0xFFFFFFFF;
  const Driver &driver = device_->driver();
  driver.check(driver.api.fill_words(reinterpret_cast<cu::Address>(out_.data()), two_nans,
                                     out_.bytes() / sizeof(two_nans), nullptr),
               "cuMemsetD32Async");
}

std::vector<float> DeviceCall::sample_out() const {
  const Driver &driver = device_->driver();
  const std::size_t head_size = static_cast<std::size_t>(shape_.q_len) * effective_v_head_dim(problem_);
  std::vector<std::uint16_t> head(head_size);
  std::vector<float> sample;
  for (const int h : sampled_heads(problem_)) {
    const std::size_t offset = static_cast<std::size_t>(h) * head_size * sizeof(head[0]);
    driver.check(driver.api.copy_to_host(head.data(), reinterpret_cast<cu::Address>(out_.data()) + offset,
                                         head_size * sizeof(head[0])),
                 "cuMemcpyDtoH");
    const std::vector<float> values = reference::to_floats(head, problem_.dtype);
    sample.insert(sample.end(), values.begin(), values.end());
  }
  return sample;
}

std::vector<int> sampled_heads(const Problem &problem) {
  const int count = std::min(most_sampled_heads, problem.num_q_heads);
  std::vector<int> heads(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    heads[static_cast<std::size_t>(i)] = i * problem.num_q_heads / count;
  }
  return heads;
}

} // namespace sale::bench
