// SPDX-License-Identifier: Apache-2.0
// The least that a C++ host does: device memory of its own, one Plan, one prefill. Then the same densely, to see what
// sparsity changed.
//
//   cpp_host [DRIVER [ARCH]]
//
// DRIVER: libcuda.so.1 (default), or libsale_emulator.so where there is no GPU. ARCH: whose kernels, e.g. sm_80;
// default the device's own.
#include "device.hpp"

#include <sale/sale.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <string>
#include <vector>

namespace {

using example::Buffer;
using example::Device;

constexpr int tokens = 512;
constexpr int q_heads = 4;
constexpr int kv_heads = 2;
constexpr int head_dim = 64;

// Rows that resemble their neighbours, so that some blocks matter and others do not.
std::vector<std::uint16_t> random_bf16(int heads, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.35F);
  std::vector<std::uint16_t> values(static_cast<std::size_t>(heads) * tokens * head_dim);
  std::array<float, head_dim> row{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    float &wide = row[i % head_dim];
    wide = 0.98F * wide + normal(random);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &wide, sizeof(bits));
    values[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return values;
}

// The mean of |a - b| over the mean of |b|.
double distance(const Buffer &a, const Buffer &b) {
  const auto value = [](std::uint16_t bits) {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float result = 0;
    std::memcpy(&result, &wide, sizeof(result));
    return static_cast<double>(result);
  };
  constexpr std::size_t count = static_cast<std::size_t>(q_heads) * tokens * head_dim;
  const auto x = example::download<std::uint16_t>(a, count);
  const auto y = example::download<std::uint16_t>(b, count);
  double apart = 0;
  double size = 0;
  for (std::size_t i = 0; i < count; ++i) {
    apart += std::fabs(value(x[i]) - value(y[i]));
    size += std::fabs(value(y[i]));
  }
  return apart / size;
}

int run(const std::string &driver, const std::string &arch) {
  const Device device(driver);
  sale::Options options;
  options.cuda_driver = driver;
  options.arch = arch;
  sale::Problem problem;
  problem.head_dim = head_dim;
  problem.num_q_heads = q_heads;
  problem.num_kv_heads = kv_heads;
  sale::Policy policy;
  policy.tau = 0.02F;
  const sale::Plan plan = sale::Engine(0, options).prepare(problem, policy); // blocks: kernels are compiled, or cached

  constexpr std::size_t head_bytes = sizeof(std::uint16_t) * tokens * head_dim;
  Buffer q(device, q_heads * head_bytes);
  Buffer k(device, kv_heads * head_bytes);
  Buffer v(device, kv_heads * head_bytes);
  const Buffer sparse(device, q_heads * head_bytes);
  const Buffer dense(device, q_heads * head_bytes);
  q.upload(random_bf16(q_heads, 1).data());
  k.upload(random_bf16(kv_heads, 2).data());
  v.upload(random_bf16(kv_heads, 3).data());

  sale::RunArgs args;
  args.shape = {1, tokens, tokens};
  args.q = sale::packed_view(q.as<void>(), q_heads, tokens, head_dim);
  args.k = sale::packed_view(k.as<void>(), kv_heads, tokens, head_dim);
  args.v = sale::packed_view(v.as<void>(), kv_heads, tokens, head_dim);
  args.out = sale::packed_view(sparse.as<void>(), q_heads, tokens, head_dim);
  args.workspace_bytes = plan.workspace_bytes(args.shape);
  const Buffer workspace(device, args.workspace_bytes);
  args.workspace = workspace.as<void>();
  plan.run(args, nullptr); // on the context's default stream; returns at once

  args.out.data = dense.as<void>();
  plan.run_dense(args, nullptr);
  const double error = distance(sparse, dense);
  std::printf("libsale on %s: sparse and dense attention differ by %.4f\n", plan.kernels().front().arch.c_str(), error);
  return error < 0.1 ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return run(argc > 1 ? argv[1] : "libcuda.so.1", argc > 2 ? argv[2] : "");
  } catch (const sale::Error &error) {
    std::fprintf(stderr, "cpp_host: %s: %s\n", sale::to_string(error.kind()), error.what());
  } catch (const std::exception &error) {
    std::fprintf(stderr, "cpp_host: %s\n", error.what());
  }
  return 2;
}
