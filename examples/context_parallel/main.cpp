// SPDX-License-Identifier: Apache-2.0
// Context parallelism: the keys of one long sequence are split between two ranks (here one device plays both). Every
// rank attends to its own part; parts merge by their log-sum-exps. What SALE keeps does not change by it: a row's
// threshold comes from its reference keys, wherever they are, so the ranks exchange one number per row before they
// select (docs/serving.md).
//
//   context_parallel [DRIVER [ARCH]]
//
// DRIVER: libcuda.so.1 (default), or libsale_emulator.so where there is no GPU. ARCH: whose kernels, e.g. sm_80;
// default the device's own.
#include "device.hpp"

#include <sale/sale.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

using example::Buffer;
using example::Device;

constexpr int tokens = 512;
constexpr int split = 256; // a multiple of the policy's block_k, so that no block of keys is cut in two
constexpr int q_heads = 4;
constexpr int kv_heads = 2;
constexpr int head_dim = 64;

std::uint16_t to_bf16(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float from_bf16(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// Rows that resemble their neighbours, so that some blocks matter and others do not.
std::vector<std::uint16_t> make_tensor(int heads, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> values(static_cast<std::size_t>(heads) * tokens * head_dim);
  std::array<float, head_dim> drift{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    float &center = drift[i % head_dim];
    center = 0.98F * center + 0.2F * normal(random);
    values[i] = to_bf16(1.5F * center + 0.3F * normal(random));
  }
  return values;
}

// The mean of each KV head's keys: ranks would sum theirs and exchange the sums.
std::vector<float> mean_of(const std::vector<std::uint16_t> &k) {
  std::vector<float> mean(kv_heads * head_dim);
  for (std::size_t i = 0; i < k.size(); ++i) {
    mean[i / (tokens * head_dim) * head_dim + i % head_dim] += from_bf16(k[i]) / tokens;
  }
  return mean;
}

struct Result {
  explicit Result(const Device &device)
      : out(device, sizeof(std::uint16_t) * q_heads * tokens * head_dim), lse(device, sizeof(float) * q_heads * tokens),
        threshold(device, sizeof(float) * q_heads * tokens) {}
  Buffer out;
  Buffer lse;
  Buffer threshold; // per row, as lse: of the reference keys alone, times tau
};

// A rank: its part of the keys, and what it makes of it.
struct Rank {
  Rank(const Device &device, const sale::Plan &plan, const sale::RunArgs &whole, int first_key, int keys)
      : result(device), position(device, sizeof(std::int32_t)), offset(device, sizeof(std::int32_t)), args(whole) {
    const std::int32_t position_of_row_0 = -first_key; // among this rank's keys
    const std::int32_t offset_of_key_0 = first_key;    // in the whole context
    position.upload(&position_of_row_0);
    offset.upload(&offset_of_key_0);
    args.shape.kv_len = keys;
    for (sale::TensorView *view : {&args.k, &args.v}) {
      view->data = static_cast<std::uint16_t *>(view->data) + first_key * view->stride_token;
    }
    args.q_positions = position.as<std::int32_t>();
    args.key_offsets = offset.as<std::int32_t>();
    args.out.data = result.out.as<void>();
    args.lse = result.lse.as<float>();
    mask.emplace(device, sizeof(std::uint32_t) * sale::mask_words(plan.problem(), plan.policy(), args.shape));
    args.workspace_bytes = plan.workspace_bytes(args.shape);
    workspace.emplace(device, args.workspace_bytes);
    args.workspace = workspace->as<void>();
  }

  Result result;
  Buffer position;
  Buffer offset;
  std::optional<Buffer> mask;
  std::optional<Buffer> workspace;
  sale::RunArgs args;
};

// How far two outputs are apart, relative to the largest of them.
double distance(const Buffer &a, const Buffer &b) {
  const std::size_t count = static_cast<std::size_t>(q_heads) * tokens * head_dim;
  const auto x = example::download<std::uint16_t>(a, count);
  const auto y = example::download<std::uint16_t>(b, count);
  double most = 0;
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    most = std::max<double>(most, std::fabs(from_bf16(x[i]) - from_bf16(y[i])));
    largest = std::max<double>(largest, std::fabs(from_bf16(x[i])));
  }
  return most / largest;
}

// Bits of the whole's mask that the ranks' masks, side by side, do not have.
int different_bits(const sale::Plan &plan, const Buffer &whole, const sale::Shape &shape,
                   const std::array<Rank *, 2> &ranks) {
  const std::size_t words = sale::mask_words(plan.problem(), plan.policy(), shape);
  const auto expected = example::download<std::uint32_t>(whole, words);
  const int rows = q_heads * (tokens / plan.policy().block_q);
  const std::size_t width = words / rows;
  int different = 0;
  std::size_t first_block = 0;
  for (const Rank *rank : ranks) {
    const std::size_t part_words = sale::mask_words(plan.problem(), plan.policy(), rank->args.shape);
    const auto part = example::download<std::uint32_t>(*rank->mask, part_words);
    const std::size_t part_width = part_words / rows;
    const std::size_t blocks = rank->args.shape.kv_len / plan.policy().block_k;
    for (int row = 0; row < rows; ++row) {
      for (std::size_t block = 0; block < blocks; ++block) {
        const std::size_t at = first_block + block;
        const bool in_whole = (expected[row * width + at / 32] >> at % 32 & 1) != 0;
        const bool in_part = (part[row * part_width + block / 32] >> block % 32 & 1) != 0;
        different += in_whole != in_part ? 1 : 0;
      }
    }
    first_block += blocks;
  }
  return different;
}

int run(const std::string &driver, const std::string &arch) {
  const Device device(driver);
  sale::Options options;
  options.cuda_driver = driver;
  options.arch = arch;
  const sale::Engine engine(0, options);

  sale::Problem problem;
  problem.head_dim = head_dim;
  problem.num_q_heads = q_heads;
  problem.num_kv_heads = kv_heads;
  sale::Policy policy;
  policy.tau = 0.02F;
  sale::Serving serving;
  serving.parts = true;
  const sale::Plan plan = engine.prepare(problem, policy);
  const sale::Plan part_plan = engine.prepare(problem, policy, serving);

  const std::vector<std::uint16_t> k = make_tensor(kv_heads, 2);
  const std::size_t row_bytes = sizeof(std::uint16_t) * tokens * head_dim;
  Buffer q_memory(device, q_heads * row_bytes);
  Buffer k_memory(device, kv_heads * row_bytes);
  Buffer v_memory(device, kv_heads * row_bytes);
  Buffer kbar(device, sizeof(float) * kv_heads * head_dim);
  q_memory.upload(make_tensor(q_heads, 1).data());
  k_memory.upload(k.data());
  v_memory.upload(make_tensor(kv_heads, 3).data());
  kbar.upload(mean_of(k).data());

  // The whole, to compare with.
  sale::RunArgs args;
  args.shape = {1, tokens, tokens};
  args.q = sale::packed_view(q_memory.as<void>(), q_heads, tokens, head_dim);
  args.k = sale::packed_view(k_memory.as<void>(), kv_heads, tokens, head_dim);
  args.v = sale::packed_view(v_memory.as<void>(), kv_heads, tokens, head_dim);
  const Result dense(device);
  const Result sparse(device);
  args.out = sale::packed_view(dense.out.as<void>(), q_heads, tokens, head_dim);
  args.kbar = kbar.as<float>();
  args.workspace_bytes = plan.workspace_bytes(args.shape);
  const Buffer workspace(device, args.workspace_bytes);
  args.workspace = workspace.as<void>();
  plan.run_dense(args, nullptr);
  const sale::RunArgs part_args = args;
  args.out.data = sparse.out.as<void>();
  const Buffer mask(device, sizeof(std::uint32_t) * sale::mask_words(problem, policy, args.shape));
  args.mask_out = mask.as<std::uint32_t>();
  plan.run(args, nullptr);

  // Everything kept: two parts, merged.
  Rank first(device, part_plan, part_args, 0, split);
  Rank second(device, part_plan, part_args, split, tokens - split);
  const std::array<Rank *, 2> ranks = {&first, &second};
  const Result merged(device);
  sale::MergeArgs merge;
  merge.shape = {1, tokens, 0};
  merge.out_a = first.args.out;
  merge.out_b = second.args.out;
  merge.out = first.args.out;
  merge.out.data = merged.out.as<void>();
  merge.lse_a = first.args.lse;
  merge.lse_b = second.args.lse;
  merge.lse = merged.lse.as<float>();
  for (const Rank *rank : ranks) {
    part_plan.run_dense(rank->args, nullptr);
  }
  part_plan.merge(merge, nullptr);
  const double dense_error = distance(dense.out, merged.out);
  std::printf("everything kept: outputs differ by %.4f of the largest\n", dense_error);

  // Sparse: thresholds of the parts merge as log-sum-exps do; then each rank selects and attends.
  for (Rank *rank : ranks) {
    sale::RunArgs select = rank->args;
    select.mask_out = rank->mask->as<std::uint32_t>();
    select.threshold_out = rank->result.threshold.as<float>();
    part_plan.select(select, nullptr);
  }
  sale::MergeArgs merge_thresholds;
  merge_thresholds.shape = merge.shape;
  merge_thresholds.lse_a = first.result.threshold.as<float>();
  merge_thresholds.lse_b = second.result.threshold.as<float>();
  merge_thresholds.lse = merged.threshold.as<float>();
  part_plan.merge(merge_thresholds, nullptr);
  for (Rank *rank : ranks) {
    sale::RunArgs run = rank->args;
    run.mask_out = rank->mask->as<std::uint32_t>();
    run.threshold_in = merged.threshold.as<float>();
    part_plan.run(run, nullptr);
  }
  part_plan.merge(merge, nullptr);
  const double sparse_error = distance(sparse.out, merged.out);
  const int bits = different_bits(plan, mask, args.shape, ranks);
  std::printf("tau %g: outputs differ by %.4f of the largest, masks in %d blocks\n", policy.tau, sparse_error, bits);
  const bool good = dense_error < 0.02 && sparse_error < 0.02 && bits == 0;
  std::printf("%s\n", good ? "the parts are the whole" : "the parts are NOT the whole");
  return good ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
  try {
    return run(argc > 1 ? argv[1] : "libcuda.so.1", argc > 2 ? argv[2] : "");
  } catch (const std::exception &error) {
    std::fprintf(stderr, "context_parallel: %s\n", error.what());
    return 2;
  }
}
