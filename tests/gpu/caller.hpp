// SPDX-License-Identifier: Apache-2.0
// One caller of a Plan: tensors with structure, of which the default policy leaves much out, and a stream.
#pragma once

#include "reference/element.hpp"
#include "reference/synthetic.hpp"
#include "runtime/shared_library.hpp"
#include "tests/gpu/gpu_fixture.hpp"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace sale::test {

/// A stream that waits for no other.
class Stream {
public:
  explicit Stream(const Driver &driver) : library_(SharedLibrary::open(driver.file())) {
    constexpr unsigned non_blocking = 1;
    auto *create = reinterpret_cast<int (*)(cu::Stream *, unsigned)>(library_.symbol("cuStreamCreate"));
    EXPECT_EQ(create(&stream_, non_blocking), cu::success);
  }
  ~Stream() { reinterpret_cast<int (*)(cu::Stream)>(library_.symbol("cuStreamDestroy_v2"))(stream_); }
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;
  cu::Stream get() const { return stream_; }

private:
  SharedLibrary library_;
  cu::Stream stream_ = nullptr;
};

class Caller {
public:
  static constexpr Shape shape{1, 3000, 3000};
  static Problem problem() {
    Problem made;
    made.num_q_heads = 4;
    made.num_kv_heads = 2;
    return made;
  }

  /// Of a Plan for problem().
  Caller(std::shared_ptr<const Device> device, const Plan &plan, unsigned seed)
      : device_(std::move(device)), workspace_(device_, plan.workspace_bytes(shape)),
        mask_(device_, sizeof(std::uint32_t) * mask_words(problem(), plan.policy(), shape)) {
    const reference::Tensors tensors = reference::structured(problem(), shape, seed);
    q_ = upload(tensors.q);
    k_ = upload(tensors.k);
    v_ = upload(tensors.v);
    out_ = DeviceArray(device_, q_.bytes());
    args_.shape = shape;
    args_.q = view(q_, problem().num_q_heads);
    args_.k = view(k_, problem().num_kv_heads);
    args_.v = view(v_, problem().num_kv_heads);
    args_.out = view(out_, problem().num_q_heads);
    args_.workspace = workspace_.data();
    args_.workspace_bytes = workspace_.bytes();
    args_.mask_out = static_cast<std::uint32_t *>(mask_.data());
  }

  void poison() {
    const std::vector<unsigned char> ones(std::max(out_.bytes(), mask_.bytes()), 0xFF); // out: NaNs
    out_.upload(ones.data());
    mask_.upload(ones.data());
    const CurrentContext current(*device_);
    // The copy may still be under way, and streams of the callers' own do not wait for it.
    device_->driver().check(device_->driver().api.stream_synchronize(nullptr), "cuStreamSynchronize");
  }
  void run(const Plan &plan, cu::Stream stream) const { plan.run(args_, stream); }

  /// Of the last run: the mask's words, then those of the output.
  std::vector<std::uint32_t> result() const {
    std::vector<std::uint32_t> words = mask();
    std::vector<std::uint32_t> out(out_.bytes() / sizeof(std::uint32_t));
    out_.download(out.data());
    words.insert(words.end(), out.begin(), out.end());
    return words;
  }
  std::vector<std::uint32_t> mask() const {
    std::vector<std::uint32_t> words(mask_.bytes() / sizeof(std::uint32_t));
    mask_.download(words.data());
    return words;
  }

private:
  DeviceArray upload(const std::vector<float> &values) {
    const std::vector<std::uint16_t> elements = reference::to_elements(values, problem().dtype);
    DeviceArray array(device_, elements.size() * sizeof(elements[0]));
    array.upload(elements.data());
    return array;
  }
  static TensorView view(const DeviceArray &array, int heads) {
    return packed_view(array.data(), heads, shape.q_len, problem().head_dim);
  }

  std::shared_ptr<const Device> device_;
  DeviceArray q_, k_, v_, out_, workspace_, mask_;
  RunArgs args_;
};

/// With the output and the mask poisoned before.
inline std::vector<std::uint32_t> alone(const Plan &plan, Caller &caller) {
  caller.poison();
  caller.run(plan, nullptr);
  return caller.result();
}

} // namespace sale::test
