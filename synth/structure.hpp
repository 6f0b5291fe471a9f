// SPDX-License-Identifier: Apache-2.0
// Everything that shapes synthetic Q, K and V (docs/synth.md).
//
// Strengths are in nats: what a feature adds to softmax_scale * q.k of a query that looks for it and a key that has it
// in full. Lengths of vectors are in square roots of nats: a query's times a key's is what they add when parallel.
#pragma once

#include "sale/types.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace sale::synth {

/// A kind of query head: what it looks for, in nats.
struct Style {
  double band = 0;  ///< At distance 0; falls with the logarithm of the distance.
  double slash = 0; ///< On diagonals a period apart.
  double line = 0;  ///< On Structure::lines diagonals at random distances.
  double stripe = 0;
  double topic = 0;
  /// The sink's strength for the sparsest head of this style, three between, and the densest. It raises the threshold,
  /// so this sets how much of all other features a head keeps: its density.
  std::array<double, 5> sink{};
};

struct Structure {
  double sink = 1;            ///< Times Style::sink: the one number that is tuned, per length and density.
  int sink_keys = 4;          ///< The first keys of the sequence.
  int stripe_every = 192;     ///< One key in this many is a stripe, of a strength between half and all of it.
  int stripe_kinds = 2;       ///< Query heads of shared groups look for all, those of differing groups for one.
  int topics = 16;            ///< Of the sequence; runs of keys and queries on one topic, stronger and weaker ones.
  int topic_tokens = 512;     ///< Mean length of a run.
  double slash_period = 1024; ///< The shortest; each KV head's own is up to four times as long.
  int lines = 2;
  int needles = 8; ///< Per KV head: `needle_rows` queries and a key far before them; none below 1024 keys.
  int needle_rows = 16;
  double needle = 20;

  double key_feature = 2.5; ///< Length of every feature in a key. Queries have strength / key_feature.
  double key_noise = 1.1;
  double query_noise = 1;
  double key_mean = 3; ///< Length of the constant vector in all keys of a head.
  double query_mean = 1;
  int outlier_channels = 4; ///< Per KV head; at most head_dim / 16 are used.
  double outlier_mean = 3;  ///< Smallest mean of K in one, either sign; the largest is twice that.
  double outlier_noise = 2; ///< K's noise in one is this much larger, and Q's smaller.

  std::vector<Style> styles;
};

/// The structure whose exact mask at tau 0.004 (64 x 32 blocks, sink 32, window 128) has this density, R included.
/// Tuned for Llama-3.1-8B's heads and `fixed_seed` at powers of two from 8192 to 131072 tokens, interpolated between;
/// shorter and longer calls take the nearest tuned length's. About right for other heads, seeds and head_dims
/// (docs/synth.md). Throws Error(invalid_argument) for a density outside [0.08, 0.3].
Structure structure_for(int length, double density = 0.12, int head_dim = 128);

inline constexpr std::uint64_t fixed_seed = 1;

/// Which part a query head plays.
struct HeadRole {
  int style = 0;       ///< Index into Structure::styles.
  bool shared = false; ///< All query heads of its group look for the same.
  double rank = 0;     ///< 0 for the sparsest head, 1 for the densest.
};

/// Even KV heads have shared groups, odd ones differing groups.
HeadRole role_of(const Problem &problem, const Structure &structure, int q_head);

/// Nats of the sink for this head.
double sink_of(const Structure &structure, const HeadRole &role);

/// Throws Error(invalid_argument) with one sentence.
void validate(const Structure &structure);

} // namespace sale::synth
