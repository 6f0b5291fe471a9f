// SPDX-License-Identifier: Apache-2.0
#include "synth/make.hpp"

#include "core/parallel_for.hpp"
#include "reference/element.hpp"
#include "synth/heads.hpp"

#include <algorithm>
#include <cmath>

namespace sale::synth {

namespace {

constexpr int rows_per_piece = 2048;
constexpr int topic_rows = 16; ///< Queries and keys of such a run are on their topic with one strength.
constexpr float value_noise = 0.7F;

// Streams of a head's rows.
enum Stream : std::uint64_t { noise, topic_strength, stripe_strength, values };

void add(float *row, const Vector &direction, float length) {
  for (std::size_t c = 0; c < direction.size(); ++c) {
    row[c] += length * direction[c];
  }
}

class Maker {
public:
  Maker(const Problem &problem, const Shape &shape, const Structure &structure, std::uint64_t seed)
      : problem_(problem), shape_(shape), structure_(structure),
        unit_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(effective_softmax_scale(problem))))) {
    const Random random(seed);
    for (int b = 0; b < shape.batch; ++b) {
      const Random element = random.child(b);
      topics_.push_back(draw_topics(structure, element, shape.kv_len));
      for (int g = 0; g < problem.num_kv_heads; ++g) {
        kv_heads_.emplace_back(problem, structure, element.child(1000 + g), b, g, shape.kv_len);
        const int group = problem.num_q_heads / problem.num_kv_heads;
        for (int h = g * group; h < (g + 1) * group; ++h) {
          q_heads_.emplace_back(problem, structure, kv_heads_.back(), h);
        }
      }
    }
  }

  Qkv run(int jobs) const {
    const std::size_t dim = problem_.head_dim;
    const std::size_t v_dim = effective_v_head_dim(problem_);
    Qkv qkv;
    qkv.q.resize(q_heads_.size() * shape_.q_len * dim);
    qkv.k.resize(kv_heads_.size() * shape_.kv_len * dim);
    qkv.v.resize(kv_heads_.size() * shape_.kv_len * v_dim);
    for (const KvHead &head : kv_heads_) {
      qkv.needles.insert(qkv.needles.end(), head.needles.begin(), head.needles.end());
    }
    const auto pieces = [](std::size_t heads, int rows) {
      return static_cast<std::int64_t>(heads) * ((rows + rows_per_piece - 1) / rows_per_piece);
    };
    const std::int64_t q_pieces = pieces(q_heads_.size(), shape_.q_len);
    const std::int64_t kv_pieces = pieces(kv_heads_.size(), shape_.kv_len);
    const auto fill = [&](std::vector<std::uint16_t> &bits, std::size_t channels, std::int64_t piece, int rows,
                          const auto &write_row) {
      const std::int64_t per_head = (rows + rows_per_piece - 1) / rows_per_piece;
      const auto head = static_cast<std::size_t>(piece / per_head);
      const int first = static_cast<int>(piece % per_head) * rows_per_piece;
      Vector row(channels);
      for (int i = first; i < std::min(first + rows_per_piece, rows); ++i) {
        write_row(head, i, row);
        std::transform(row.begin(), row.end(), bits.data() + (head * rows + i) * channels,
                       [&](float x) { return reference::float_to_element(x, problem_.dtype); });
      }
    };
    sale::parallel_for(
        q_pieces + 2 * kv_pieces,
        [&](std::int64_t piece) {
          if (piece < q_pieces) {
            fill(qkv.q, dim, piece, shape_.q_len, [&](auto head, int i, Vector &row) { query(head, i, row); });
          } else if (piece < q_pieces + kv_pieces) {
            fill(qkv.k, dim, piece - q_pieces, shape_.kv_len,
                 [&](auto head, int j, Vector &row) { key(head, j, row); });
          } else {
            fill(qkv.v, v_dim, piece - q_pieces - kv_pieces, shape_.kv_len,
                 [&](auto head, int j, Vector &row) { value(head, j, row); });
          }
        },
        jobs);
    return qkv;
  }

private:
  void add_noise(Vector &row, const Vector &deviation, Random random, int position) const {
    const auto first = static_cast<std::uint64_t>(position) * row.size();
    for (std::size_t c = 0; c < row.size(); ++c) {
      row[c] += deviation[c] * random.normal(first + c);
    }
  }

  void scale(Vector &row) const {
    std::transform(row.begin(), row.end(), row.begin(), [&](float x) { return x * unit_; });
  }

  std::size_t batch_of_kv(std::size_t kv_index) const { return kv_index / problem_.num_kv_heads; }

  void query(std::size_t index, int i, Vector &row) const {
    const std::size_t kv_index = index / (problem_.num_q_heads / problem_.num_kv_heads);
    const int q_head = static_cast<int>(index % problem_.num_q_heads);
    const KvHead &kv = kv_heads_[kv_index];
    const QueryHead &head = q_heads_[index];
    const int position = shape_.kv_len - shape_.q_len + i;

    row = head.constant;
    add_noise(row, kv.query_noise, head.random.child(noise), position);
    const double strength = head.random.child(topic_strength).uniform(position / topic_rows, 0.3, 1.0);
    add(row.data(), kv.topics[topics_[batch_of_kv(kv_index)][position]], head.topic * static_cast<float>(strength));
    for (std::size_t t = 0; t < kv.turns.size(); ++t) {
      const Turn &turn = kv.turns[t];
      const Rotation here = rotation(static_cast<Phase>(position) * turn.step);
      const Rotation back = head.looks_back[t];
      row[turn.first_channel] += turn.size * (here.cosine * back.cosine + here.sine * back.sine);
      row[turn.second_channel] += turn.size * (here.sine * back.cosine - here.cosine * back.sine);
    }
    for (std::size_t n = 0; n < kv.needles.size(); ++n) {
      const Needle &needle = kv.needles[n];
      if (q_head >= needle.first_q_head && q_head < needle.end_q_head && position >= needle.first_row &&
          position < needle.end_row) {
        add(row.data(), kv.needle_directions[n], static_cast<float>(structure_.needle / structure_.key_feature));
      }
    }
    scale(row);
  }

  void key(std::size_t index, int j, Vector &row) const {
    const KvHead &kv = kv_heads_[index];
    const auto length = static_cast<float>(structure_.key_feature);
    row = kv.key_mean;
    add_noise(row, kv.key_noise, kv.random.child(noise), j);
    const double strength = kv.random.child(topic_strength).uniform(j / topic_rows, 0.3, 1.0);
    add(row.data(), kv.topics[topics_[batch_of_kv(index)][j]], length * static_cast<float>(strength));
    for (const Turn &turn : kv.turns) {
      const Rotation here = rotation(static_cast<Phase>(j) * turn.step);
      row[turn.first_channel] += length * turn.size * here.cosine;
      row[turn.second_channel] += length * turn.size * here.sine;
    }
    if (j < structure_.sink_keys) {
      add(row.data(), kv.sink, length * static_cast<float>(structure_.sink));
    } else {
      const Random stripe = kv.random.child(stripe_strength);
      if (stripe.below(3 * static_cast<std::uint64_t>(j), structure_.stripe_every) == 0) {
        const auto kind = stripe.below(3 * static_cast<std::uint64_t>(j) + 1, structure_.stripe_kinds);
        const double part = stripe.uniform(3 * static_cast<std::uint64_t>(j) + 2, 0.5, 1.0);
        add(row.data(), kv.stripes[kind], length * static_cast<float>(part));
      }
    }
    for (std::size_t n = 0; n < kv.needles.size(); ++n) {
      if (j == kv.needles[n].key) {
        add(row.data(), kv.needle_directions[n], length);
      }
    }
    scale(row);
  }

  // The first keys' values are small, as in models: a sink takes attention and gives nothing.
  void value(std::size_t index, int j, Vector &row) const {
    const KvHead &kv = kv_heads_[index];
    const Random random = kv.random.child(values);
    const float size = j < structure_.sink_keys ? 0.05F : 1.0F;
    const float topic_size = value_noise * std::sqrt(static_cast<float>(row.size()));
    const Vector &topic = kv.value_topics[topics_[batch_of_kv(index)][j]];
    const auto first = static_cast<std::uint64_t>(j) * row.size();
    for (std::size_t c = 0; c < row.size(); ++c) {
      row[c] = size * (kv.value_mean[c] + topic_size * topic[c] + value_noise * random.normal(first + c));
    }
  }

  const Problem &problem_;
  const Shape &shape_;
  const Structure &structure_;
  float unit_;                                    ///< Makes softmax_scale * q.k of two vectors of length 1 one nat.
  std::vector<std::vector<std::uint8_t>> topics_; ///< [batch][kv_len]
  std::vector<KvHead> kv_heads_;                  ///< [batch * num_kv_heads]
  std::vector<QueryHead> q_heads_;                ///< [batch * num_q_heads]
};

} // namespace

Qkv make(const Problem &problem, const Shape &shape, const Structure &structure, std::uint64_t seed, int jobs) {
  validate(problem);
  validate(shape);
  validate(structure);
  return Maker(problem, shape, structure, seed).run(jobs);
}

} // namespace sale::synth
