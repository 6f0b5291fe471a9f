// SPDX-License-Identifier: Apache-2.0
#include "reference/tensors.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

namespace sale::reference {

Tensors describe_tensors(const Problem &problem, const Shape &shape) {
  Tensors tensors;
  tensors.shape = shape;
  tensors.num_q_heads = problem.num_q_heads;
  tensors.num_kv_heads = problem.num_kv_heads;
  tensors.head_dim = problem.head_dim;
  tensors.v_head_dim = problem.v_head_dim;
  tensors.causal = problem.causal;
  tensors.sliding_window = problem.sliding_window;
  tensors.softcap = problem.softcap;
  if (problem.sink_logits) {
    tensors.sink_logits.resize(problem.num_q_heads);
  }
  return tensors;
}

Tensors make_tensors(const Problem &problem, const Shape &shape) {
  Tensors tensors = describe_tensors(problem, shape);
  tensors.q.resize(tensors.q_rows() * tensors.head_dim);
  tensors.k.resize(tensors.kv_rows() * tensors.head_dim);
  tensors.v.resize(tensors.kv_rows() * tensors.v_width());
  return tensors;
}

void validate(const Tensors &tensors) {
  sale::validate(tensors.shape, false); // a sequence of a ragged batch may have more queries than keys
  if (tensors.num_kv_heads < 1 || tensors.num_q_heads < 1 || tensors.num_q_heads % tensors.num_kv_heads != 0) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("num_q_heads {} must be a positive multiple of num_kv_heads {}", tensors.num_q_heads,
                            tensors.num_kv_heads));
  }
  if (tensors.head_dim < 8 || tensors.head_dim % 8 != 0) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("head_dim {} must be a positive multiple of 8", tensors.head_dim));
  }
  if (tensors.v_head_dim < 0 || tensors.v_head_dim % 8 != 0) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("v_head_dim {} must be a multiple of 8, or 0 for head_dim", tensors.v_head_dim));
  }
  const auto check = [](const char *name, std::size_t actual, std::size_t expected) {
    if (actual != expected) {
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("{} has {} elements; its sizes say {}", name, actual, expected));
    }
  };
  check("q", tensors.q.size(), tensors.q_rows() * tensors.head_dim);
  check("k", tensors.k.size(), tensors.kv_rows() * tensors.head_dim);
  check("v", tensors.v.size(), tensors.kv_rows() * tensors.v_width());
  if (!tensors.sink_logits.empty()) {
    check("sink_logits", tensors.sink_logits.size(), tensors.num_q_heads);
  }
}

} // namespace sale::reference
