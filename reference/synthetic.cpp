// SPDX-License-Identifier: Apache-2.0
#include "reference/synthetic.hpp"

#include "reference/element.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace sale::reference {

namespace {

using Random = std::mt19937_64;
using Vector = std::vector<float>;

Vector normal_vector(Random &random, std::size_t size, float deviation = 1.0F) {
  std::normal_distribution<float> normal(0.0F, deviation);
  Vector values(size);
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

void add(float *row, const Vector &direction, float amount) {
  for (std::size_t d = 0; d < direction.size(); ++d) {
    row[d] += amount * direction[d];
  }
}

/// A direction per frequency, turning with the position as rotary embeddings do: two positions agree when they are
/// near.
Vector position_vector(int position, int head_dim) {
  Vector values(head_dim);
  for (int d = 0; d + 1 < head_dim; d += 2) {
    const double angle = position * std::pow(0.03, static_cast<double>(d) / head_dim) * 0.5;
    values[d] = static_cast<float>(std::cos(angle));
    values[d + 1] = static_cast<float>(std::sin(angle));
  }
  return values;
}

void round_all(Vector &values, DType dtype) {
  std::transform(values.begin(), values.end(), values.begin(), [=](float x) { return round_to_element(x, dtype); });
}

} // namespace

Tensors gaussian(const Problem &problem, const Shape &shape, const GaussianOptions &options) {
  Random random(options.seed);
  Tensors tensors = make_tensors(problem, shape);
  const auto fill = [&](Vector &values, int length, int dim, float mean, float deviation) {
    const std::size_t head_size = static_cast<std::size_t>(length) * dim;
    for (std::size_t first = 0; first < values.size(); first += head_size) {
      const Vector shift = normal_vector(random, dim, mean);
      const Vector noise = normal_vector(random, head_size, deviation);
      for (std::size_t i = 0; i < head_size; ++i) {
        values[first + i] = noise[i] + shift[i % dim];
      }
    }
    round_all(values, problem.dtype);
  };
  fill(tensors.q, shape.q_len, problem.head_dim, options.q_mean, options.q_size);
  fill(tensors.k, shape.kv_len, problem.head_dim, options.k_mean, 1.0F);
  fill(tensors.v, shape.kv_len, tensors.v_width(), 0.0F, 1.0F);
  return tensors;
}

int needle_key(const Shape &shape) { return shape.kv_len / 3; }

Tensors structured(const Problem &problem, const Shape &shape, std::uint64_t seed) {
  Random random(seed);
  Tensors tensors = make_tensors(problem, shape);
  const int dim = problem.head_dim;
  // Directions have length about 1 and noise of a row about 1, so that an amount a on both sides adds a^2 to q.k;
  // `unit` makes q.k times the default scale of the order of the amounts' product.
  const float unit = std::pow(static_cast<float>(dim), 0.25F);
  const auto direction = [&] { return normal_vector(random, dim, 1.0F / std::sqrt(static_cast<float>(dim))); };
  const float band = 2.6F / std::sqrt(static_cast<float>(dim) / 2.0F);

  for (int b = 0; b < shape.batch; ++b) {
    for (int g = 0; g < problem.num_kv_heads; ++g) {
      const Vector sink = direction();
      const Vector stripe = direction();
      const Vector needle = direction();
      const Vector k_mean = direction();
      std::uniform_int_distribution<int> any_channel(0, dim - 1);
      const int outlier = any_channel(random);
      for (int j = 0; j < shape.kv_len; ++j) {
        float *k = tensors.k.data() + tensors.kv_row(b, g, j) * dim;
        add(k, normal_vector(random, dim), 0.3F);
        add(k, position_vector(j, dim), band * unit);
        add(k, k_mean, 2.0F * unit);
        k[outlier] += 6.0F;
        if (j < 4) {
          add(k, sink, 3.6F * unit);
        }
        if (random() % 401 == 0) {
          add(k, stripe, 2.6F * unit);
        }
        if (j == needle_key(shape)) {
          add(k, needle, 4.0F * unit);
        }
        const Vector v = normal_vector(random, tensors.v_width());
        std::copy(v.begin(), v.end(), tensors.v.begin() + tensors.kv_row(b, g, j) * tensors.v_width());
      }
      for (int h = g * tensors.group(); h < (g + 1) * tensors.group(); ++h) {
        const Vector q_mean = direction();
        for (int i = 0; i < shape.q_len; ++i) {
          float *q = tensors.q.data() + tensors.q_row(b, h, i) * dim;
          add(q, normal_vector(random, dim), 0.6F);
          add(q, position_vector(tensors.position(i), dim), band * unit);
          add(q, q_mean, 1.0F * unit);
          add(q, sink, 2.6F * unit);
          add(q, stripe, 2.6F * unit);
          if (i >= shape.q_len - 8) {
            add(q, needle, 4.0F * unit);
          }
        }
      }
    }
  }
  round_all(tensors.q, problem.dtype);
  round_all(tensors.k, problem.dtype);
  round_all(tensors.v, problem.dtype);
  return tensors;
}

} // namespace sale::reference
