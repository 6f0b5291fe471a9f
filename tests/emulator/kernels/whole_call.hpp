// SPDX-License-Identifier: Apache-2.0
// Whole calls of Plans on the device of the kernels' tests: two query heads over one KV head of 64 channels, structured
// inputs, and a policy that keeps some blocks and drops others.
#pragma once

#include "reference/element.hpp"
#include "reference/synthetic.hpp"
#include "sale/sale.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include <memory>

namespace sale::test {

class WholeCallTest : public KernelTest {
protected:
  static constexpr int head_dim = 64;
  static constexpr int heads = 2;

  WholeCallTest() {
    problem_.head_dim = head_dim;
    problem_.num_q_heads = heads;
    problem_.num_kv_heads = 1;
    policy_.tau = 0.05F;
    policy_.window = 64;
  }

  /// Makes the inputs of problem_.
  void upload(const Shape &shape) {
    const Device &device = Device::get();
    shape_ = shape;
    tensors_ = reference::structured(problem_, shape, 5);
    q_ = device.upload(reference::to_elements(tensors_.q, problem_.dtype));
    k_ = device.upload(reference::to_elements(tensors_.k, problem_.dtype));
    v_ = device.upload(reference::to_elements(tensors_.v, problem_.dtype));
  }

  /// With the inputs and nothing else.
  RunArgs inputs() const {
    RunArgs args;
    args.shape = shape_;
    args.q = packed_view(q_->as<void>(), heads, shape_.q_len, head_dim);
    args.k = packed_view(k_->as<void>(), 1, shape_.kv_len, head_dim);
    args.v = packed_view(v_->as<void>(), 1, shape_.kv_len, head_dim);
    return args;
  }
  std::unique_ptr<DeviceBuffer> out_of(const Shape &shape) const {
    return Device::get().allocate(std::size_t{2} * shape.batch * heads * shape.q_len * head_dim);
  }

  static Options engine_options(const char *arch) {
    Options options;
    options.cuda_driver = Device::get().driver().file();
    options.arch = arch;
    options.use_disk_cache = false;
    options.jobs = 1;
    return options;
  }

  static void finish() {
    const Driver &driver = Device::get().driver();
    driver.check(driver.api.stream_synchronize(nullptr), "cuStreamSynchronize");
  }

  Problem problem_;
  Policy policy_;
  Serving serving_;
  Shape shape_;
  reference::Tensors tensors_;
  std::unique_ptr<DeviceBuffer> q_, k_, v_;
};

} // namespace sale::test
