// SPDX-License-Identifier: Apache-2.0
// Device memory of all the calls on one input: one set of tensors, used again and again.
#pragma once

#include "io/qkv.hpp"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace sale::bench {

class DeviceCall {
public:
  /// What the constructor will allocate.
  static std::size_t bytes(const io::Qkv &qkv, std::size_t workspace_bytes, std::size_t words, int masks);

  /// With room for `masks` masks of `words` words each.
  DeviceCall(std::shared_ptr<const Device> device, const io::Qkv &qkv, std::size_t workspace_bytes, std::size_t words,
             int masks);

  RunArgs args() const;

  std::uint32_t *mask(int index) const { return static_cast<std::uint32_t *>(masks_[index].data()); }
  void upload_mask(int index, const std::vector<std::uint32_t> &words) { masks_[index].upload(words.data()); }
  std::vector<std::uint32_t> download_mask(int index) const;

  /// Makes every element of the output NaN.
  void poison_out() const;
  /// The output of a few heads of the first batch element.
  std::vector<float> sample_out() const;

private:
  std::shared_ptr<const Device> device_;
  Problem problem_;
  Shape shape_;
  DeviceArray q_, k_, v_, out_, workspace_;
  std::vector<DeviceArray> masks_;
};

/// Heads that sample_out looks at.
std::vector<int> sampled_heads(const Problem &problem);

} // namespace sale::bench
