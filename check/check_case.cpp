// SPDX-License-Identifier: Apache-2.0
#include "check/check_case.hpp"

#include "generator/generate.hpp"
#include "io/names.hpp"
#include "io/yaml.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sale::check {

namespace {

constexpr std::array modes = {Mode::sparse, Mode::given_mask, Mode::dense};
constexpr std::array batchings = {Batching::plain, Batching::packed, Batching::padded};

constexpr int rows_between_sequences = 3; // where strided

const std::vector<std::string_view> keys = {
    "arch",          "mode",           "dtype",        "head_dim",    "num_q_heads",  "num_kv_heads",   "causal",
    "softmax_scale", "batch",          "q_len",        "kv_len",      "layout",       "estimator",      "block_q",
    "block_k",       "sink",           "window",       "tau",         "tau_per_head", "shift_per_head", "per_call",
    "kbar",          "seed",           "estimate_dim", "channels",    "projection",   "prune_queries",  "fp8_attend",
    "second_filter", "sliding_window", "softcap",      "sink_logits", "dense_below",  "serving",        "page_size",
    "pages",         "sequences",      "v_head_dim"};

// One of two words.
bool word(const io::YamlNode &node, const std::string &key, const char *off, const char *on) {
  const std::string text = node.text(key);
  if (text != off && text != on) {
    node.refuse(fmt::format("{} must be {} or {}", key, off, on));
  }
  return text == on;
}

// The one of `values` whose name the node says.
template <class Values>
auto one_of(const io::YamlNode &node, const char *key, const Values &values) {
  const std::string text = node.text(key);
  std::vector<std::string> names;
  for (const auto value : values) {
    if (text == to_string(value)) {
      return value;
    }
    names.emplace_back(to_string(value));
  }
  node.refuse(fmt::format("{} must be one of {}", key, fmt::join(names, ", ")));
}

// [q_len, kv_len]
SequenceLengths parse_lengths(const io::YamlNode &node) {
  const std::vector<io::YamlNode> two = node.items("sequences");
  if (two.size() != 2) {
    node.refuse("each of sequences must be [q_len, kv_len]");
  }
  return {two[0].integer("q_len"), two[1].integer("kv_len")};
}

// By a parser that does not know the file.
template <class Parse>
auto named(const io::YamlNode &node, const char *key, const Parse &parse) {
  try {
    return parse(node.text(key));
  } catch (const Error &error) {
    node.refuse(error.what());
  }
}

std::uint64_t parse_seed(const io::YamlNode &node) {
  const int seed = node.integer("seed");
  if (seed < 0) {
    node.refuse("seed must not be negative");
  }
  return static_cast<std::uint64_t>(seed);
}

CheckCase parse_case(const io::YamlNode &map) {
  map.require_map(keys);
  CheckCase c;
  const auto with = [&](const char *key, const auto &read) {
    if (const auto node = map.find(key)) {
      read(*node);
    }
  };
  const auto integer = [&](const char *key, int &value) {
    with(key, [&](const io::YamlNode &node) { value = node.integer(key); });
  };
  const auto number = [&](const char *key, float &value) {
    with(key, [&](const io::YamlNode &node) { value = node.number(key); });
  };
  const auto numbers = [&](const char *key, std::vector<float> &values) {
    with(key, [&](const io::YamlNode &node) {
      for (const io::YamlNode &item : node.items(key)) {
        values.push_back(item.number(key));
      }
    });
  };
  with("arch", [&](const io::YamlNode &node) { c.arch = node.text("arch"); });
  with("mode", [&](const io::YamlNode &node) { c.mode = one_of(node, "mode", modes); });
  with("dtype", [&](const io::YamlNode &node) { c.problem.dtype = named(node, "dtype", io::parse_dtype); });
  integer("head_dim", c.problem.head_dim);
  integer("v_head_dim", c.problem.v_head_dim);
  integer("num_q_heads", c.problem.num_q_heads);
  integer("num_kv_heads", c.problem.num_kv_heads);
  with("causal", [&](const io::YamlNode &node) { c.problem.causal = node.boolean("causal"); });
  number("softmax_scale", c.problem.softmax_scale);
  integer("sliding_window", c.problem.sliding_window);
  number("softcap", c.problem.softcap);
  with("sink_logits", [&](const io::YamlNode &node) { c.problem.sink_logits = node.boolean("sink_logits"); });
  with("serving", [&](const io::YamlNode &node) { c.batching = one_of(node, "serving", batchings); });
  integer("page_size", c.page_size);
  with("pages", [&](const io::YamlNode &node) { c.pages_by_head = word(node, "pages", "nhd", "hnd"); });
  with("sequences", [&](const io::YamlNode &node) {
    for (const io::YamlNode &item : node.items("sequences")) {
      c.sequences.push_back(parse_lengths(item));
    }
  });
  integer("batch", c.shape.batch);
  if (c.sequences.empty()) {
    c.shape.q_len = map.at("q_len").integer("q_len");
    c.shape.kv_len = map.at("kv_len").integer("kv_len");
  } else {
    set_sequences(c, c.sequences);
    integer("q_len", c.shape.q_len);
    integer("kv_len", c.shape.kv_len);
  }
  with("layout", [&](const io::YamlNode &node) { c.strided = word(node, "layout", "packed", "strided"); });
  with("estimator",
       [&](const io::YamlNode &node) { c.policy.estimator = named(node, "estimator", io::parse_estimator); });
  integer("block_q", c.policy.block_q);
  integer("block_k", c.policy.block_k);
  integer("sink", c.policy.sink);
  integer("window", c.policy.window);
  number("tau", c.policy.tau);
  numbers("tau_per_head", c.policy.tau_per_head);
  numbers("shift_per_head", c.policy.shift_per_head);
  integer("estimate_dim", c.policy.estimate_dim);
  with("channels", [&](const io::YamlNode &node) {
    for (const io::YamlNode &item : node.items("channels")) {
      c.policy.channels.push_back(item.integer("channels"));
    }
  });
  numbers("projection", c.policy.projection);
  with("prune_queries", [&](const io::YamlNode &node) { c.policy.prune_queries = node.boolean("prune_queries"); });
  with("fp8_attend", [&](const io::YamlNode &node) { c.policy.fp8_attend = node.boolean("fp8_attend"); });
  integer("dense_below", c.policy.dense_below);
  with("second_filter", [&](const io::YamlNode &node) { c.policy.second_filter = node.boolean("second_filter"); });
  with("per_call", [&](const io::YamlNode &node) { c.per_call = node.boolean("per_call"); });
  with("kbar", [&](const io::YamlNode &node) { c.kbar = one_of(node, "kbar", kbar_sources); });
  with("seed", [&](const io::YamlNode &node) { c.seed = parse_seed(node); });
  try {
    validate(c);
  } catch (const Error &error) {
    map.refuse(error.what());
  }
  return c;
}

} // namespace

const char *to_string(Mode mode) {
  switch (mode) {
  case Mode::sparse: return "sparse";
  case Mode::given_mask: return "given_mask";
  case Mode::dense: return "dense";
  }
  return "unknown";
}

const char *to_string(Batching batching) {
  switch (batching) {
  case Batching::plain: return "plain";
  case Batching::packed: return "packed";
  case Batching::padded: return "padded";
  }
  return "unknown";
}

const char *to_string(KbarSource kbar) {
  switch (kbar) {
  case KbarSource::mean: return "mean";
  case KbarSource::given: return "given";
  case KbarSource::policy: return "policy";
  }
  return "unknown";
}

void set_sequences(CheckCase &c, std::vector<SequenceLengths> sequences) {
  c.shape = {static_cast<int>(sequences.size()), 0, 0};
  for (const SequenceLengths &sequence : sequences) {
    c.shape.q_len = std::max(c.shape.q_len, sequence.q_len);
    c.shape.kv_len = std::max(c.shape.kv_len, sequence.kv_len);
  }
  c.sequences = std::move(sequences);
}

Serving CheckCase::serving() const {
  Serving result;
  result.ragged = batching != Batching::plain;
  result.page_size = page_size;
  return result;
}

std::vector<SequenceLengths> CheckCase::lengths() const {
  return sequences.empty()
             ? std::vector<SequenceLengths>(static_cast<std::size_t>(shape.batch), {shape.q_len, shape.kv_len})
             : sequences;
}

int CheckCase::rows_between() const { return strided ? rows_between_sequences : 0; }

Shape CheckCase::call_shape() const {
  Shape result = shape;
  if (batching == Batching::packed) {
    for (const SequenceLengths &sequence : lengths()) {
      result.total_q += sequence.q_len + rows_between();
      result.total_kv += page_size != 0 ? 0 : sequence.kv_len + rows_between();
    }
  }
  return result;
}

std::string CheckCase::describe() const {
  const int v_dim = effective_v_head_dim(problem);
  std::string text = fmt::format("{} {} {} d{}{} heads {}/{} {}x{}/{}", arch.empty() ? "own arch" : arch,
                                 to_string(mode), to_string(problem.dtype), problem.head_dim,
                                 v_dim == problem.head_dim ? "" : fmt::format(" v{}", v_dim), problem.num_q_heads,
                                 problem.num_kv_heads, shape.batch, shape.q_len, shape.kv_len);
  if (mode == Mode::sparse) {
    text += fmt::format(" {}", to_string(policy.estimator));
    if (policy.estimator == Estimator::fp8) {
      text += fmt::format(" e{}{}{}{}", policy.estimate_dim == 0 ? problem.head_dim : policy.estimate_dim,
                          policy.channels.empty() ? "" : " given channels",
                          policy.projection.empty() ? "" : " projected", policy.prune_queries ? " 2:4" : "");
    }
  }
  if (policy.fp8_attend) {
    text += " fp8 attend";
  }
  if (policy.second_filter) {
    text += " filtered";
  }
  if (mode != Mode::dense) {
    text += fmt::format(" q{} k{}", policy.block_q, policy.block_k);
  }
  if (!problem.causal) {
    text += " non-causal";
  }
  if (problem.sliding_window != 0) {
    text += fmt::format(" sliding {}", problem.sliding_window);
  }
  if (problem.softcap != 0.0F) {
    text += fmt::format(" softcap {}", problem.softcap);
  }
  text += problem.sink_logits ? " sinks" : "";
  if (policy.dense_below != 0) {
    text += fmt::format(" dense below {}", policy.dense_below);
  }
  if (kbar != KbarSource::mean) {
    text += fmt::format(" kbar {}", to_string(kbar));
  }
  text += strided ? " strided" : "";
  if (batching != Batching::plain) {
    text += fmt::format(" {}", to_string(batching));
  }
  if (page_size != 0) {
    text += fmt::format(" pages of {} {}", page_size, pages_by_head ? "hnd" : "nhd");
  }
  for (const SequenceLengths &sequence : sequences) {
    text += fmt::format(" {}/{}", sequence.q_len, sequence.kv_len);
  }
  return text;
}

std::string CheckCase::yaml() const {
  std::string text;
  const auto line = [&](const char *key, const auto &value) { text += fmt::format("{}: {}\n", key, value); };
  if (!arch.empty()) {
    line("arch", arch);
  }
  line("mode", to_string(mode));
  line("dtype", to_string(problem.dtype));
  line("head_dim", problem.head_dim);
  if (problem.v_head_dim != 0) {
    line("v_head_dim", problem.v_head_dim);
  }
  line("num_q_heads", problem.num_q_heads);
  line("num_kv_heads", problem.num_kv_heads);
  line("causal", problem.causal);
  if (problem.softmax_scale != 0.0F) {
    line("softmax_scale", problem.softmax_scale);
  }
  line("sliding_window", problem.sliding_window);
  line("softcap", problem.softcap);
  line("sink_logits", problem.sink_logits);
  line("batch", shape.batch);
  line("q_len", shape.q_len);
  line("kv_len", shape.kv_len);
  line("layout", strided ? "strided" : "packed");
  line("estimator", to_string(policy.estimator));
  line("block_q", policy.block_q);
  line("block_k", policy.block_k);
  line("sink", policy.sink);
  line("window", policy.window);
  line("tau", policy.tau);
  const auto list = [&](const char *key, const auto &values) {
    if (!values.empty()) {
      text += fmt::format("{}: [{}]\n", key, fmt::join(values, ", "));
    }
  };
  list("tau_per_head", policy.tau_per_head);
  list("shift_per_head", policy.shift_per_head);
  if (policy.estimator == Estimator::fp8) {
    line("estimate_dim", policy.estimate_dim);
    list("channels", policy.channels);
    list("projection", policy.projection);
    line("prune_queries", policy.prune_queries);
  }
  line("fp8_attend", policy.fp8_attend);
  line("second_filter", policy.second_filter);
  line("dense_below", policy.dense_below);
  line("per_call", per_call);
  line("kbar", to_string(kbar));
  line("seed", seed);
  if (batching == Batching::plain) {
    return text;
  }
  line("serving", to_string(batching));
  line("page_size", page_size);
  line("pages", pages_by_head ? "hnd" : "nhd");
  if (!sequences.empty()) {
    std::vector<std::string> all;
    all.reserve(sequences.size());
    for (const SequenceLengths &sequence : sequences) {
      all.push_back(fmt::format("[{}, {}]", sequence.q_len, sequence.kv_len));
    }
    line("sequences", fmt::format("[{}]", fmt::join(all, ", ")));
  }
  return text;
}

std::vector<CheckCase> parse_cases(const std::string &text, const std::string &file_name) {
  const io::YamlNode root = io::YamlNode::parse(text, file_name);
  if (root.is_map()) {
    return {parse_case(root)};
  }
  std::vector<CheckCase> cases;
  for (const io::YamlNode &item : root.items("the file")) {
    cases.push_back(parse_case(item));
  }
  return cases;
}

std::vector<CheckCase> load_cases(const std::filesystem::path &file) {
  return parse_cases(io::read_text_file(file), file.string());
}

void validate(const CheckCase &c) {
  validate(c.problem);
  validate(c.policy, c.problem);
  validate(c.serving(), c.problem, c.policy);
  validate(c.call_shape(), c.problem, c.serving());
  if (c.batching == Batching::plain && (c.page_size != 0 || !c.sequences.empty())) {
    throw Error(ErrorKind::invalid_argument, "page_size and sequences need serving to be packed or padded");
  }
  for (const SequenceLengths &sequence : c.sequences) {
    if (sequence.q_len < 0 || sequence.q_len > c.shape.q_len || sequence.kv_len < 0 ||
        sequence.kv_len > c.shape.kv_len) {
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("the lengths {}/{} of a sequence must be from 0/0 to q_len/kv_len, {}/{}", sequence.q_len,
                              sequence.kv_len, c.shape.q_len, c.shape.kv_len));
    }
  }
  if (!c.arch.empty()) {
    for (const KernelSpec &spec : plan_kernels(c.problem, c.policy, parse_arch(c.arch), c.serving())) {
      validate(spec);
    }
  }
}

} // namespace sale::check
