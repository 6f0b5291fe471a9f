// SPDX-License-Identifier: Apache-2.0
#include "bench/input.hpp"

#include "core/parallel_for.hpp"
#include "reference/element.hpp"
#include "synth/make.hpp"
#include "synth/random.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace sale::bench {

namespace {

std::vector<std::uint16_t> normal_values(std::size_t count, DType dtype, std::uint64_t seed) {
  constexpr std::size_t piece = std::size_t{1} << 20U;
  std::vector<std::uint16_t> values(count);
  const synth::Random random(seed);
  parallel_for(static_cast<std::int64_t>((count + piece - 1) / piece), [&](std::int64_t index) {
    const std::size_t begin = static_cast<std::size_t>(index) * piece;
    for (std::size_t i = begin; i < std::min(begin + piece, count); ++i) {
      values[i] = reference::float_to_element(random.normal(i), dtype);
    }
  });
  return values;
}

} // namespace

io::Qkv make_input(const Problem &problem, const Shape &shape, std::optional<double> density) {
  io::Qkv input;
  input.problem = problem;
  input.shape = shape;
  if (density) {
    synth::Qkv made = synth::make(problem, shape, synth::structure_for(shape.kv_len, *density, problem.head_dim));
    input.q = std::move(made.q);
    input.k = std::move(made.k);
    input.v = std::move(made.v);
    return input;
  }
  const auto elements = [&](int heads, int tokens, int head_dim) {
    return static_cast<std::size_t>(shape.batch) * heads * tokens * head_dim;
  };
  input.q = normal_values(elements(problem.num_q_heads, shape.q_len, problem.head_dim), problem.dtype, 1);
  input.k = normal_values(elements(problem.num_kv_heads, shape.kv_len, problem.head_dim), problem.dtype, 2);
  input.v =
      normal_values(elements(problem.num_kv_heads, shape.kv_len, effective_v_head_dim(problem)), problem.dtype, 3);
  return input;
}

} // namespace sale::bench
