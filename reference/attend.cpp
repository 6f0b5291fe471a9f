// SPDX-License-Identifier: Apache-2.0
#include "reference/attend.hpp"

#include "reference/linear.hpp"
#include "core/parallel_for.hpp"
#include "reference/softcap.hpp"
#include "sale/error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace sale::reference {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Of a sum without the sink: -infinity.
double sink_logit(const Tensors &tensors, int h) {
  return tensors.sink_logits.empty() ? -infinity : tensors.sink_logits[h];
}

/// ln(e^a + e^b).
double log_of_sum(double a, double b) {
  const double larger = std::max(a, b);
  const double smaller = std::min(a, b);
  return smaller == -infinity ? larger : larger + std::log1p(std::exp(smaller - larger));
}

/// The running softmax of one row.
struct RowState {
  double max = -infinity;
  double sum = 0.0;
};

/// Where results go; out may be null.
struct Outputs {
  float *out = nullptr;
  double *lse = nullptr;
};

struct Call {
  const Tensors &tensors;
  double scale;
  const Mask *mask;
  int block_q;
  int block_k;
};

void attend_block(const Call &call, int b, int h, int query_block, const Outputs &outputs) {
  const Tensors &tensors = call.tensors;
  const int dim = tensors.head_dim;
  const int v_dim = tensors.v_width();
  const int g = tensors.kv_head(h);
  const int first_row = query_block * call.block_q;
  const int rows = std::min(call.block_q, tensors.shape.q_len - first_row);
  const int first_block = tensors.first_key(first_row) / call.block_k;
  const int end_key = tensors.end_key(first_row + rows - 1);
  const float *q = tensors.query(b, h, first_row);
  const std::vector<double> queries(q, q + static_cast<std::ptrdiff_t>(rows) * dim);
  std::vector<RowState> states(rows);
  std::vector<double> accumulators(static_cast<std::size_t>(rows) * v_dim);
  std::vector<double> weights(call.block_k);
  std::vector<double> values;
  KeyTile keys;

  for (int block = first_block; block * call.block_k < end_key; ++block) {
    const int first_key = block * call.block_k;
    if (call.mask != nullptr && !call.mask->test(b, h, query_block, block)) {
      continue;
    }
    const int count = std::min(call.block_k, tensors.shape.kv_len - first_key);
    keys.load(tensors.key(b, g, first_key), count, dim);
    if (outputs.out != nullptr) {
      const float *v = tensors.value(b, g, first_key);
      values.assign(v, v + static_cast<std::ptrdiff_t>(count) * v_dim);
    }
    for (int r = 0; r < rows; ++r) {
      const int begin = std::clamp(tensors.first_key(first_row + r) - first_key, 0, count);
      const int end = std::clamp(tensors.end_key(first_row + r) - first_key, begin, count);
      if (begin == end) {
        continue;
      }
      keys.scores(queries.data() + static_cast<std::ptrdiff_t>(r) * dim, weights.data());
      const auto seen = std::span(weights).subspan(begin, end - begin);
      std::transform(seen.begin(), seen.end(), seen.begin(),
                     [&](double x) { return softcapped(tensors, call.scale, x); });
      RowState &state = states[r];
      double *accumulator = accumulators.data() + static_cast<std::ptrdiff_t>(r) * v_dim;
      const double max = std::max(state.max, *std::max_element(seen.begin(), seen.end()));
      if (max > state.max) {
        const double rescale = std::exp(call.scale * (state.max - max));
        state.max = max;
        state.sum *= rescale;
        std::for_each(accumulator, accumulator + v_dim, [=](double &x) { x *= rescale; });
      }
      for (double &weight : seen) {
        weight = std::exp(call.scale * (weight - max));
        state.sum += weight;
      }
      if (outputs.out != nullptr) {
        multiply_add(seen.data(), end - begin, values.data() + static_cast<std::ptrdiff_t>(begin) * v_dim, v_dim,
                     accumulator);
      }
    }
  }

  const double sink = sink_logit(tensors, h);
  for (int r = 0; r < rows; ++r) {
    const std::size_t row = tensors.q_row(b, h, first_row + r);
    const RowState &state = states[r];
    const double of_keys = state.sum == 0.0 ? -infinity : call.scale * state.max + std::log(state.sum);
    outputs.lse[row] = log_of_sum(of_keys, sink);
    const double share = of_keys == -infinity ? 0.0 : std::exp(of_keys - outputs.lse[row]) / state.sum;
    for (int d = 0; outputs.out != nullptr && d < v_dim; ++d) {
      outputs.out[row * v_dim + d] = static_cast<float>(accumulators[static_cast<std::size_t>(r) * v_dim + d] * share);
    }
  }
}

void attend_all(const Call &call, const Outputs &outputs) {
  const Tensors &tensors = call.tensors;
  validate(tensors);
  if (call.mask != nullptr) {
    const Mask expected(tensors.shape, tensors.num_q_heads, call.block_q, call.block_k);
    if (call.mask->batch() != expected.batch() || call.mask->num_q_heads() != expected.num_q_heads() ||
        call.mask->q_blocks() != expected.q_blocks() || call.mask->k_blocks() != expected.k_blocks()) {
      throw Error(ErrorKind::invalid_argument, "the mask's sizes are not those of the tensors and block sizes");
    }
  }
  const int heads = tensors.shape.batch * tensors.num_q_heads;
  const int q_blocks = ceil_div(tensors.shape.q_len, call.block_q);
  // Last query blocks first: they see the most keys.
  parallel_for(static_cast<std::int64_t>(heads) * q_blocks, [&](std::int64_t item) {
    const int head = static_cast<int>(item % heads);
    attend_block(call, head / tensors.num_q_heads, head % tensors.num_q_heads,
                 q_blocks - 1 - static_cast<int>(item / heads), outputs);
  });
}

} // namespace

Attention attend(const Tensors &tensors, float scale, const Mask *mask, int block_q, int block_k) {
  Attention result;
  result.out.resize(tensors.q_rows() * tensors.v_width());
  std::vector<double> lse(tensors.q_rows());
  attend_all({tensors, scale, mask, block_q, block_k}, {result.out.data(), lse.data()});
  result.lse.assign(lse.begin(), lse.end());
  return result;
}

std::vector<double> log_sum_exp(const Tensors &tensors, float scale, const Mask *mask, int block_q, int block_k) {
  std::vector<double> lse(tensors.q_rows());
  attend_all({tensors, scale, mask, block_q, block_k}, {nullptr, lse.data()});
  return lse;
}

} // namespace sale::reference
