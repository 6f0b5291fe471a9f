// SPDX-License-Identifier: Apache-2.0
// What the rows of one head are made of: directions, channels and strengths, drawn once per head.
#pragma once

#include "synth/functions.hpp"
#include "synth/make.hpp"
#include "synth/random.hpp"
#include "synth/structure.hpp"

#include <cstdint>
#include <vector>

namespace sale::synth {

using Vector = std::vector<float>;

/// What all heads of a batch element share: the topic of each position.
std::vector<std::uint8_t> draw_topics(const Structure &structure, Random random, int length);

/// Two channels that turn with the position, as rotary embeddings do.
struct Turn {
  int first_channel = 0;
  int second_channel = 0;
  Phase step = 0;   ///< Per token.
  float size = 0;   ///< Of the feature's length; squares sum to 1.
  int harmonic = 0; ///< Of the slashes' period, from 1; 0 = it belongs to the band.
};

/// Directions have length 1.
struct KvHead {
  KvHead(const Problem &problem, const Structure &structure, Random random, int batch, int kv_head, int kv_len);

  Random random;
  Vector key_mean;
  Vector value_mean;
  Vector key_noise; ///< Deviation of each channel.
  Vector query_noise;
  Vector sink;
  std::vector<Vector> stripes;
  std::vector<Vector> topics;
  std::vector<Vector> value_topics;
  std::vector<Vector> needle_directions;
  std::vector<Needle> needles;
  std::vector<Turn> turns;

private:
  Vector assign_channels(const Problem &problem, const Structure &structure);
};

struct QueryHead {
  QueryHead(const Problem &problem, const Structure &structure, const KvHead &kv, int q_head);

  Random random;
  Vector constant; ///< What every row has: its mean, the sink and the stripes.
  /// Per turn: the feature's strength at each distance it looks back, as one complex number.
  std::vector<Rotation> looks_back;
  float topic = 0;
};

} // namespace sale::synth
