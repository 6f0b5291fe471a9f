// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/select_wgmma_problem.hpp"

#include "args/select_wgmma_args.cuh"
#include "generator/generate.hpp"
#include "tests/emulator/kernels/kernel_test.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

namespace sale::test {

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Of an integer of at most 4 in magnitude.
std::uint8_t code(int value, bool int8) {
  if (int8) {
    return static_cast<std::uint8_t>(value);
  }
  constexpr std::uint8_t magnitude[] = {0x00, 0x38, 0x40, 0x44, 0x48};
  return static_cast<std::uint8_t>(magnitude[std::abs(value)] | (value < 0 ? 0x80 : 0));
}

/// The largest f16 that is at most x: from the exponent, with exact steps.
double round_down_to_f16(float x) {
  if (std::isnan(x) || std::isinf(x)) {
    return x;
  }
  const int exponent = std::max(std::ilogb(x == 0 ? 1.0F : x), -14);
  const double step = std::ldexp(1.0, exponent - 10);
  const double down = std::floor(x / step) * step;
  return down > 65504 ? 65504 : down < -65504 ? -static_cast<double>(infinity) : down;
}

std::vector<std::uint8_t> codes(const std::vector<int> &values, bool int8) {
  std::vector<std::uint8_t> result;
  std::transform(values.begin(), values.end(), std::back_inserter(result),
                 [int8](int value) { return code(value, int8); });
  return result;
}

// Powers of two: an f16 twice, whose bits are those of the exponent, or for int8 an fp32.
std::vector<std::uint32_t> scale_words(const SelectWgmmaProblem &problem) {
  std::vector<std::uint32_t> words;
  if (problem.c.int8) {
    std::transform(problem.scale_exponent.begin(), problem.scale_exponent.end(), std::back_inserter(words),
                   [](int exponent) { return static_cast<std::uint32_t>(exponent + 127) << 23; });
    return words;
  }
  for (std::size_t i = 0; i < problem.scale_exponent.size(); ++i) {
    const auto half =
        i == problem.nan_scale ? 0x7fffU : static_cast<std::uint32_t>(problem.scale_exponent[i] + 15) << 10;
    words.push_back(half | half << 16);
  }
  return words;
}

} // namespace

std::ostream &operator<<(std::ostream &out, const SelectWgmmaCase &c) {
  return out << fmt::format("{}{}{} {}x{} gqa{} q{} k{} heads {}x{} consumers {}x{} keys {}x{}{}{}{}",
                            c.int8 ? "d" : "e", c.width, c.pruned ? " 2:4" : "", c.q_len, c.kv_len, c.gqa, c.block_q,
                            c.block_k, c.batch, c.kv_heads, c.consumers, c.units, c.keys_per_step, c.stages,
                            c.drawn ? "" : " strided", c.causal ? "" : " all keys",
                            c.sliding_window != 0 ? fmt::format(" sliding {}", c.sliding_window) : "");
}

KernelSpec spec_of(const SelectWgmmaCase &c) {
  KernelSpec spec;
  spec.stage = Stage::select;
  spec.arch = Arch{9, 0, true};
  spec.head_dim = c.int8 ? c.width : 256;
  spec.gqa = c.gqa;
  spec.estimator = c.int8 ? Estimator::int8 : Estimator::fp8;
  spec.block_q = c.block_q;
  spec.block_k = c.block_k;
  spec.estimate_dim = c.width == spec.head_dim ? 0 : c.width;
  spec.basis = c.width == spec.head_dim ? EstimateBasis::all : EstimateBasis::channels;
  spec.prune_queries = c.pruned;
  spec.causal = c.causal;
  spec.sliding = c.sliding_window != 0;
  spec.tile = {
      .rows_per_warp = 16 * c.units, .warps = 4 * c.consumers, .keys_per_step = c.keys_per_step, .stages = c.stages};
  return spec;
}

SelectWgmmaProblem::SelectWgmmaProblem(const SelectWgmmaCase &with)
    : c(with), random_(static_cast<unsigned>(c.q_len * 1000 + c.kv_len)) {
  std::uniform_int_distribution<int> value(-4, 4);
  std::uniform_int_distribution<int> exponent(-3, 3);
  std::uniform_int_distribution<int> pattern(0, 5);
  q.resize(static_cast<std::size_t>(q_heads()) * q_padded() * stored_width());
  k.resize(static_cast<std::size_t>(all_kv_heads()) * c.kv_len * c.width);
  std::generate(q.begin(), q.end(), [&] { return value(random_); });
  std::generate(k.begin(), k.end(), [&] { return value(random_); });
  scale_exponent.resize(static_cast<std::size_t>(all_kv_heads()) * scales_per_head());
  std::generate(scale_exponent.begin(), scale_exponent.end(), [&] { return exponent(random_); });
  if (c.pruned) {
    patterns.resize(q.size() / 2);
    std::generate(patterns.begin(), patterns.end(), [&] { return pattern(random_); });
  }
  tau.assign(static_cast<std::size_t>(c.gqa) * c.kv_heads, 0.004F);
  draw_thresholds();
}

reference::Region SelectWgmmaProblem::region(int block) const {
  Problem problem;
  problem.causal = c.causal;
  problem.sliding_window = c.sliding_window;
  Policy policy;
  policy.block_q = c.block_q;
  policy.block_k = c.block_k;
  policy.sink = c.sink;
  policy.window = c.window;
  return reference::region_of(policy, problem, {1, c.q_len, c.kv_len}, block);
}

int SelectWgmmaProblem::product(int head, int row, int key) const {
  const int *a = q.data() + row_of(head, row) * stored_width();
  const int *b = k.data() + (static_cast<std::size_t>(head / c.gqa) * c.kv_len + key) * c.width;
  int sum = 0;
  for (int i = 0; i < stored_width(); ++i) {
    sum += a[i] * b[c.pruned ? i / 2 * 4 + position(head, row, i) : i];
  }
  return sum;
}

bool SelectWgmmaProblem::keeps(int head, int row, int key) const {
  const std::size_t group = static_cast<std::size_t>(head / c.gqa) * scales_per_head() + key / 32;
  const double scale = group == nan_scale ? std::nan("") : std::ldexp(1.0, scale_exponent[group]);
  if (c.int8) {
    return !(product(head, row, key) * scale <= theta[row_of(head, row)]);
  }
  return !(product(head, row, key) - round_down_to_f16(theta[row_of(head, row)]) * scale < 0);
}

std::vector<std::uint32_t> SelectWgmmaProblem::expected_mask() const {
  std::vector<std::uint32_t> mask(static_cast<std::size_t>(q_heads()) * q_blocks() * mask_words(), 0);
  for (int head = 0; head < q_heads(); ++head) {
    for (int block = 0; block < q_blocks(); ++block) {
      std::uint32_t *row = mask.data() + (static_cast<std::size_t>(head) * q_blocks() + block) * mask_words();
      const reference::Region of = region(block);
      for (int at = of.first_visible; at < of.visible_blocks; ++at) {
        if (!of.estimated(at) || kept(head, block, at)) {
          row[at / 32] |= 1U << at % 32;
        }
      }
    }
  }
  return mask;
}

std::vector<std::uint32_t> SelectWgmmaProblem::metadata() const {
  std::vector<std::uint32_t> words;
  for (int tile = 0; tile < q_heads() * q_padded() / 64; ++tile) {
    for (int step = 0; step < c.width / 64; ++step) {
      for (int thread = 0; thread < 128; ++thread) {
        const int lane = thread % 32;
        const int row = tile * 64 + thread / 32 * 16 + lane / 4 + lane % 2 * 8;
        std::uint32_t word = 0;
        for (int group = 0; group < 8; ++group) {
          const auto &pair = pairs[static_cast<std::size_t>(
              patterns[static_cast<std::size_t>(row) * c.width / 4 + step * 16 + lane / 2 % 2 * 8 + group])];
          word |= static_cast<std::uint32_t>(pair[0] | pair[1] << 2) << 4 * group;
        }
        words.push_back(word);
      }
    }
  }
  return words;
}

int SelectWgmmaProblem::position(int head, int row, int i) const {
  return pairs[static_cast<std::size_t>(patterns[row_of(head, row) * c.width / 4 + i / 2])]
              [static_cast<std::size_t>(i % 2)];
}

void SelectWgmmaProblem::draw_thresholds() {
  std::uniform_int_distribution<std::size_t> rank(0, 3);
  std::uniform_int_distribution<int> off(-1, 1);
  theta.assign(static_cast<std::size_t>(q_heads()) * q_padded(), infinity);
  for (int head = 0; head < q_heads(); ++head) {
    for (int row = 0; row < c.q_len; ++row) {
      const reference::Region of = region(row / c.block_q);
      if (random_() % 8 != 0 || of.estimated_count() == 0) {
        continue;
      }
      std::vector<float> estimates;
      for (int key = 0; key < c.kv_len; ++key) {
        if (!of.estimated(key / c.block_k)) {
          continue;
        }
        const std::size_t group = static_cast<std::size_t>(head / c.gqa) * scales_per_head() + key / 32;
        const int exponent = c.int8 ? scale_exponent[group] : -scale_exponent[group];
        estimates.push_back(std::ldexp(static_cast<float>(product(head, row, key)), exponent));
      }
      const std::size_t nth = std::min(rank(random_), estimates.size() - 1);
      std::partial_sort(estimates.begin(), estimates.begin() + static_cast<std::ptrdiff_t>(nth) + 1, estimates.end(),
                        std::greater<>());
      const float estimate = estimates[nth];
      const int exponent = std::max(std::ilogb(estimate), -14);
      theta[row_of(head, row)] = estimate + std::ldexp(0.75F * static_cast<float>(off(random_)), exponent - 10);
    }
  }
}

bool SelectWgmmaProblem::kept(int head, int block, int at) const {
  if (tau[static_cast<std::size_t>(head % (c.gqa * c.kv_heads))] == 0) {
    return true;
  }
  for (int row = block * c.block_q; row < std::min((block + 1) * c.block_q, c.q_len); ++row) {
    for (int key = at * c.block_k; key < (at + 1) * c.block_k; ++key) {
      if (keeps(head, row, key)) {
        return true;
      }
    }
  }
  return false;
}

std::vector<std::uint32_t> run(const SelectWgmmaProblem &problem) {
  const SelectWgmmaCase &c = problem.c;
  Device &device = Device::get();
  const KernelSpec spec = spec_of(c);
  const auto k = device.upload(codes(problem.k, c.int8));
  const auto q = device.upload(codes(problem.q, c.int8));
  const auto metadata = device.upload(c.pruned ? problem.metadata() : std::vector<std::uint32_t>(1));
  const auto scales = device.upload(scale_words(problem));
  const auto theta = device.upload(problem.theta);
  const auto tau = device.upload(problem.tau);
  const auto next = device.upload(std::vector<std::uint32_t>(1, 0));
  const auto mask =
      device.allocate(static_cast<std::size_t>(problem.q_heads()) * problem.q_blocks() * problem.mask_words() * 4);
  const int box_bytes = c.width % 128 == 0 ? 128 : c.width % 64 == 0 ? 64 : 32;
  const TensorMap map = device.tensor_map(*k, {.heads = problem.all_kv_heads(),
                                               .rows = c.kv_len,
                                               .channels = c.width,
                                               .element_bytes = 1,
                                               .box_channels = box_bytes,
                                               .box_rows = c.keys_per_step});
  SelectWgmmaArgs args{};
  std::memcpy(&args.k_codes, &map, sizeof map);
  args.q_codes = q->as<unsigned char>();
  args.q_metadata = metadata->as<unsigned>();
  args.k_scales = scales->as<unsigned>();
  args.theta = theta->as<float>();
  args.tau = tau->as<float>();
  args.mask = mask->as<unsigned>();
  args.next_item = c.drawn ? next->as<unsigned>() : nullptr;
  args.batch = c.batch;
  args.num_q_heads = c.gqa * c.kv_heads;
  args.q_len = c.q_len;
  args.kv_len = c.kv_len;
  args.sink = c.sink;
  args.window = c.window;
  args.sliding_window = c.sliding_window;
  args.mask_words = problem.mask_words();
  device.run(generate(spec), "sale_select", {2, 1}, static_cast<unsigned>(spec.threads()),
             static_cast<unsigned>(spec.shared_memory()), {&args});
  return mask->read<std::uint32_t>();
}

} // namespace sale::test
