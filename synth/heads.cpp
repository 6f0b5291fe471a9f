// SPDX-License-Identifier: Apache-2.0
#include "synth/heads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

namespace sale::synth {

namespace {

// Tags of random streams. New ones go to the end: a stream's tag decides its numbers.
enum Stream : std::uint64_t {
  topic_runs,
  channel_order,
  outliers,
  periods,
  key_mean,
  value_mean,
  sink_direction,
  stripe_directions,
  topic_directions,
  value_topics,
  needle_directions,
  needle_places,
  query_head,
  query_mean,
  line_distances,
};

float dot(const Vector &a, const Vector &b) {
  float sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) {
    sum += a[c] * b[c];
  }
  return sum;
}

void add(Vector &to, const Vector &direction, double length) {
  for (std::size_t c = 0; c < to.size(); ++c) {
    to[c] += static_cast<float>(length) * direction[c];
  }
}

Vector scaled(Vector values, double factor) {
  std::transform(values.begin(), values.end(), values.begin(), [=](float x) { return x * static_cast<float>(factor); });
  return values;
}

// Of length 1 and orthogonal to `others`, which are so among themselves: what every query looks for must not favour
// some topics by chance.
Vector unit_vector(Random random, const Vector &channel_size, const std::vector<Vector> &others = {}) {
  Vector values(channel_size.size());
  for (std::size_t c = 0; c < values.size(); ++c) {
    values[c] = random.normal(c) * channel_size[c];
  }
  for (const Vector &other : others) {
    add(values, other, -dot(values, other));
  }
  const float squares = dot(values, values);
  const float inverse = squares > 0 ? 1.0F / std::sqrt(squares) : 0.0F;
  return scaled(std::move(values), inverse);
}

std::vector<Vector> unit_vectors(Random random, int count, const Vector &channel_size,
                                 const std::vector<Vector> &others = {}) {
  std::vector<Vector> vectors;
  vectors.reserve(count);
  for (int i = 0; i < count; ++i) {
    vectors.push_back(unit_vector(random.child(i), channel_size, others));
  }
  return vectors;
}

std::vector<int> shuffled_channels(Random random, int head_dim) {
  std::vector<int> channels(head_dim);
  std::iota(channels.begin(), channels.end(), 0);
  for (int i = head_dim - 1; i > 0; --i) {
    std::swap(channels[i], channels[random.below(i, i + 1)]);
  }
  return channels;
}

// The size of a feature in the i-th of `count` channels, or pairs of them, that share a purpose: in a few it is large,
// in many small, as in models.
double channel_weight(int i, int count) { return std::clamp(1.5 - 2.2 * i / count, 0.1, 1.0); }

void assign_pairs(std::vector<Turn> &turns, std::span<const int> channels) {
  for (std::size_t i = 0; i < turns.size(); ++i) {
    turns[i].first_channel = channels[2 * i];
    turns[i].second_channel = channels[2 * i + 1];
  }
}

// Appends them with their sizes scaled so that squares sum to 1.
void add_turns(std::vector<Turn> &turns, const std::vector<Turn> &more) {
  double squares = 0;
  for (const Turn &turn : more) {
    squares += static_cast<double>(turn.size) * turn.size;
  }
  for (Turn turn : more) {
    turn.size = static_cast<float>(turn.size / std::sqrt(squares));
    turns.push_back(turn);
  }
}

// Wavelengths of the band rise geometrically from 8 to 2048 tokens, and its energy falls with them.
std::vector<Turn> band(std::span<const int> channels, Random random) {
  const auto count = static_cast<int>(channels.size() / 2);
  std::vector<Turn> turns(count);
  for (int i = 0; i < count; ++i) {
    const double exponent = 3.0 + 8.0 * (i + random.uniform(i)) / count;
    turns[i].step = phase_step(power_of_two(exponent));
    turns[i].size = static_cast<float>(channel_weight(i, count));
  }
  assign_pairs(turns, channels);
  return turns;
}

// The harmonics of one period, weighted as Fejér's kernel: a peak every period, and little between.
std::vector<Turn> slashes(std::span<const int> channels, double period) {
  const auto count = static_cast<int>(channels.size() / 2);
  std::vector<Turn> turns(count);
  for (int i = 0; i < count; ++i) {
    turns[i].harmonic = i + 1;
    turns[i].step = phase_step(period) * static_cast<Phase>(i + 1);
    turns[i].size = static_cast<float>(std::sqrt(1.0 - (i + 1.0) / (count + 1)));
  }
  assign_pairs(turns, channels);
  return turns;
}

// Keys lie in the first half of what their queries see, so outside any local window.
std::vector<Needle> draw_needles(const Structure &structure, Random random, int kv_len) {
  constexpr int shortest = 1024;
  std::vector<Needle> needles;
  const std::uint64_t count = kv_len >= shortest ? structure.needles : 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const int rows = structure.needle_rows;
    const int first_quarter = kv_len / 4;
    Needle needle;
    needle.first_row = (first_quarter + static_cast<int>(random.below(2 * i, kv_len - first_quarter))) / rows * rows;
    needle.end_row = std::min(needle.first_row + rows, kv_len);
    needle.key = 64 + static_cast<int>(random.below(2 * i + 1, needle.first_row / 2 - 64));
    needles.push_back(needle);
  }
  return needles;
}

} // namespace

std::vector<std::uint8_t> draw_topics(const Structure &structure, Random random, int length) {
  std::vector<std::uint8_t> topics;
  topics.reserve(length);
  const Random runs = random.child(topic_runs);
  const int shortest = std::max(1, structure.topic_tokens / 2);
  for (std::uint64_t run = 0; static_cast<int>(topics.size()) < length; ++run) {
    const auto tokens = shortest + static_cast<int>(runs.below(2 * run, structure.topic_tokens + 1));
    const auto topic = static_cast<std::uint8_t>(runs.below(2 * run + 1, structure.topics));
    topics.insert(topics.end(), std::min<std::size_t>(tokens, length - topics.size()), topic);
  }
  return topics;
}

KvHead::KvHead(const Problem &problem, const Structure &structure, Random stream, int batch, int kv_head, int kv_len)
    : random(stream) {
  const Vector all(problem.head_dim, 1.0F);
  key_mean = scaled(unit_vector(random.child(Stream::key_mean), all), structure.key_mean);
  const Vector all_of_values(effective_v_head_dim(problem), 1.0F);
  value_mean = unit_vector(random.child(Stream::value_mean), all_of_values);
  const Vector content = assign_channels(problem, structure);

  sink = unit_vector(random.child(sink_direction), content);
  std::vector<Vector> constant = {sink};
  for (int kind = 0; kind < structure.stripe_kinds; ++kind) {
    stripes.push_back(unit_vector(random.child(stripe_directions).child(kind), content, constant));
    constant.push_back(stripes.back());
  }
  topics = unit_vectors(random.child(topic_directions), structure.topics, content, constant);
  needle_directions = unit_vectors(random.child(Stream::needle_directions), structure.needles, content, constant);
  value_topics = unit_vectors(random.child(Stream::value_topics), structure.topics, all_of_values);

  needles = draw_needles(structure, random.child(needle_places), kv_len);
  const int group = problem.num_q_heads / problem.num_kv_heads;
  const bool shared = role_of(problem, structure, kv_head * group).shared;
  for (int i = 0; i < static_cast<int>(needles.size()); ++i) {
    needles[i].batch = batch;
    needles[i].kv_head = kv_head;
    needles[i].first_q_head = kv_head * group + (shared ? 0 : i % group);
    needles[i].end_q_head = shared ? (kv_head + 1) * group : needles[i].first_q_head + 1;
  }
}

// In shuffled order: outliers, then pairs that turn, then those that directions lie in, whose sizes are returned.
Vector KvHead::assign_channels(const Problem &problem, const Structure &structure) {
  const int dim = problem.head_dim;
  const std::uint64_t num_outliers = std::min(structure.outlier_channels, dim / 16);
  const int num_band = dim * 3 / 16;
  const int num_slash = dim / 16;
  const std::vector<int> order = shuffled_channels(random.child(channel_order), dim);
  const std::span<const int> turning = std::span(order).subspan(num_outliers);
  const std::size_t band_channels = std::size_t{2} * num_band;
  const std::size_t slash_channels = std::size_t{2} * num_slash;
  const std::span<const int> rest = turning.subspan(band_channels + slash_channels);
  const auto num_rest = static_cast<int>(rest.size());

  const Random period = random.child(periods);
  add_turns(turns, band(turning.first(band_channels), period));
  add_turns(turns, slashes(turning.subspan(band_channels, slash_channels),
                           structure.slash_period * power_of_two(period.uniform(num_band, 0.0, 2.0))));
  Vector content(dim);
  for (int i = 0; i < num_rest; ++i) {
    content[rest[i]] = static_cast<float>(channel_weight(i, num_rest));
  }

  // Noise, too, is larger in the channels that matter.
  Vector noise(dim, 0.3F);
  for (int c = 0; c < dim; ++c) {
    noise[c] += content[c];
  }
  for (int i = 0; i < num_band + num_slash; ++i) {
    const double weight = i < num_band ? channel_weight(i, num_band) : channel_weight(i - num_band, num_slash);
    noise[turns[i].first_channel] += static_cast<float>(weight);
    noise[turns[i].second_channel] += static_cast<float>(weight);
  }
  noise = scaled(noise, 1.0 / std::sqrt(static_cast<double>(dot(noise, noise))));
  key_noise = scaled(noise, structure.key_noise);
  query_noise = scaled(noise, structure.query_noise);

  const Random outlier = random.child(outliers);
  for (std::uint64_t i = 0; i < num_outliers; ++i) {
    const auto mean = static_cast<float>(structure.outlier_mean * outlier.uniform(2 * i, 1.0, 2.0));
    key_mean[order[i]] = outlier.below(2 * i + 1, 2) == 0 ? mean : -mean;
    key_noise[order[i]] *= static_cast<float>(structure.outlier_noise);
    query_noise[order[i]] /= static_cast<float>(structure.outlier_noise);
  }
  return content;
}

QueryHead::QueryHead(const Problem &problem, const Structure &structure, const KvHead &kv, int q_head)
    : random(kv.random.child(query_head).child(q_head)) {
  const HeadRole role = role_of(problem, structure, q_head);
  const Style &style = structure.styles[role.style];
  // What a query looks for: the same in a shared group, each head's own in a differing one.
  const Random looks = role.shared ? kv.random.child(query_head) : random;
  const double per_nat = 1.0 / structure.key_feature;

  const Vector all(problem.head_dim, 1.0F);
  constant = scaled(unit_vector(looks.child(query_mean), all), structure.query_mean);
  add(constant, kv.sink, sink_of(structure, role) * per_nat);
  for (int kind = 0; kind < structure.stripe_kinds; ++kind) {
    if (role.shared || kind == q_head % structure.stripe_kinds) {
      add(constant, kv.stripes[kind], style.stripe * per_nat);
    }
  }
  topic = static_cast<float>(style.topic * per_nat);

  const Random lines = looks.child(line_distances);
  for (const Turn &turn : kv.turns) {
    const double here = turn.harmonic == 0 ? style.band : style.slash;
    // Slashes lie half a period back and then every period: not on the query itself, where they would raise its
    // threshold. Half a turn of the first harmonic is i half-turns of the i-th.
    const bool odd = turn.harmonic % 2 == 1;
    double cosine = odd ? -here : here;
    double sine = 0;
    for (int i = 0; turn.harmonic == 0 && i < structure.lines; ++i) {
      const auto distance = static_cast<Phase>(power_of_two(lines.uniform(i, 9.0, 14.0)));
      const Rotation there = rotation(distance * turn.step);
      cosine += style.line * there.cosine;
      sine += style.line * there.sine;
    }
    looks_back.push_back({static_cast<float>(cosine * per_nat), static_cast<float>(sine * per_nat)});
  }
}

} // namespace sale::synth
