// SPDX-License-Identifier: Apache-2.0
// The single sequences on which an error bound must hold: batch elements of the samples, whole and cut short.
#pragma once

#include "calibrate/shift.hpp"
#include "reference/tensors.hpp"
#include "sale/types.hpp"

#include <vector>

namespace sale {

struct Sequence {
  int sample = 0;             ///< Index of the input that it is from.
  reference::Tensors tensors; ///< Of batch 1; its length is tensors.shape.kv_len.
  std::vector<bool> chosen;   ///< [query blocks]: which of them count.
};

struct SequenceChoice {
  std::vector<int> lengths; ///< Prefixes in addition to the whole; a sample that is shorter has no such prefix.
  int rows = 0;             ///< Query rows of a sequence that count, in whole blocks, spread evenly; 0 = all.
  Part part = Part::whole;  ///< Of the query blocks.
};

/// Throws Error(invalid_argument) for a length that no sample reaches, samples that hold chunks where there are
/// lengths, and a NaN or an infinity in a sample.
std::vector<Sequence> sequences_of(const std::vector<reference::Tensors> &samples, const Policy &policy,
                                   const SequenceChoice &choice);

} // namespace sale
