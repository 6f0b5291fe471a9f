// SPDX-License-Identifier: Apache-2.0
#include "io/manifest.hpp"

#include "core/serving_words.hpp"
#include "io/names.hpp"
#include "io/yaml.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace sale::io {

namespace {

constexpr int schema = 1;
constexpr std::size_t most_bytes = 8U << 20U;
constexpr std::size_t most_archs = 32;
constexpr std::size_t most_needs = 1024;
constexpr std::size_t most_kernels = 16384;
constexpr YamlLimits limits = {.depth = 8, .nodes = 1U << 18U, .scalar = 1024};

template <class Value>
using Field = std::pair<const char *, Value>;

// Fields by their names in the file, for reading and writing.
constexpr std::array<Field<bool Problem::*>, 2> problem_switches = {
    {{"causal", &Problem::causal}, {"sink_logits", &Problem::sink_logits}}};
constexpr std::array<Field<int Policy::*>, 3> policy_numbers = {
    {{"estimate_dim", &Policy::estimate_dim}, {"block_q", &Policy::block_q}, {"block_k", &Policy::block_k}}};
constexpr std::array<Field<bool HeadArrays::*>, 2> array_switches = {
    {{"fixed_channels", &HeadArrays::channels}, {"projection", &HeadArrays::projection}}};
constexpr std::array<Field<bool Policy::*>, 3> policy_switches = {{{"prune_queries", &Policy::prune_queries},
                                                                   {"fp8_attend", &Policy::fp8_attend},
                                                                   {"second_filter", &Policy::second_filter}}};

void read(const YamlNode &node, const char *name, int &value) { value = node.integer(name); }
void read(const YamlNode &node, const char *name, bool &value) { value = node.boolean(name); }

template <class Object, class Fields>
void read_fields(const YamlNode &node, const Fields &fields, Object &object) {
  for (const auto &[name, field] : fields) {
    if (const auto found = node.find(name)) {
      read(*found, name, object.*field);
    }
  }
}

template <class Object, class Fields>
std::string fields_text(const Fields &fields, const Object &object) {
  std::string text;
  for (const auto &[name, field] : fields) {
    text += fmt::format(", {}: {}", name, object.*field);
  }
  return text;
}

// What a function of the library refuses is refused where the file says it.
template <class Action>
auto at_line(const YamlNode &node, const Action &action) {
  try {
    return action();
  } catch (const Error &error) {
    node.refuse(error.what());
  }
}

std::vector<YamlNode> items(const YamlNode &node, const char *what, std::size_t most) {
  std::vector<YamlNode> found = node.items(what);
  if (found.size() > most) {
    node.refuse(fmt::format("{} {} are too many; the most is {}", found.size(), what, most));
  }
  return found;
}

Problem parse_problem(const YamlNode &node) {
  node.require_map({"dtype", "head_dim", "v_head_dim", "gqa", "causal", "sliding_window", "softcap", "sink_logits"});
  Problem problem;
  const YamlNode dtype = node.at("dtype");
  problem.dtype = at_line(dtype, [&] { return parse_dtype(dtype.text("dtype")); });
  problem.head_dim = node.at("head_dim").integer("head_dim");
  problem.num_q_heads = node.at("gqa").integer("gqa");
  problem.num_kv_heads = 1;
  if (const auto v_head_dim = node.find("v_head_dim")) {
    problem.v_head_dim = v_head_dim->integer("v_head_dim");
  }
  if (const auto window = node.find("sliding_window")) {
    problem.sliding_window = window->integer("sliding_window");
  }
  if (const auto cap = node.find("softcap")) {
    problem.softcap = cap->number("softcap");
  }
  read_fields(node, problem_switches, problem);
  at_line(node, [&] { validate(problem); });
  return problem;
}

std::pair<Policy, HeadArrays> parse_policy(const YamlNode &node) {
  node.require_map({"estimator", "estimate_dim", "fixed_channels", "projection", "prune_queries", "block_q", "block_k",
                    "fp8_attend", "second_filter"});
  Policy policy;
  HeadArrays arrays;
  const YamlNode estimator = node.at("estimator");
  policy.estimator = at_line(estimator, [&] { return parse_estimator(estimator.text("estimator")); });
  read_fields(node, policy_numbers, policy);
  read_fields(node, policy_switches, policy);
  read_fields(node, array_switches, arrays);
  return {policy, arrays};
}

NamedNeed parse_need(const YamlNode &node) {
  node.require_map({"name", "problem", "policy", "serving"});
  const Problem problem = parse_problem(node.at("problem"));
  const YamlNode policy_node = node.at("policy");
  const auto [policy, arrays] = parse_policy(policy_node);
  const YamlNode word = node.at("serving");
  const Serving serving = at_line(word, [&] { return parse_serving(word.text("serving")); });
  NamedNeed named{node.at("name").text("name"), smallest_need(problem, policy, serving, arrays)};
  at_line(policy_node, [&] { validate(named.need.policy, named.need.problem); });
  at_line(word, [&] { validate(serving, named.need.problem, named.need.policy); });
  return named;
}

std::string parse_word(const YamlNode &node, const char *what, const char *letters, std::size_t least,
                       std::size_t most) {
  std::string word = node.text(what);
  if (word.size() < least || word.size() > most || word.find_first_not_of(letters) != std::string::npos) {
    node.refuse(fmt::format("{:?} is not {}", word, what));
  }
  return word;
}

std::string parse_arch_name(const YamlNode &node) {
  return parse_word(node, "an architecture", "abcdefghijklmnopqrstuvwxyz_0123456789", 1, 16);
}

ManifestKernel parse_kernel(const YamlNode &node, const std::vector<std::string> &archs) {
  node.require_map({"name", "arch", "key"});
  const YamlNode arch = node.at("arch");
  ManifestKernel kernel{node.at("name").text("name"), parse_arch_name(arch),
                        parse_word(node.at("key"), "a key of 64 hexadecimal digits", "0123456789abcdef", 64, 64),
                        node.line()};
  if (std::find(archs.begin(), archs.end(), kernel.arch) == archs.end()) {
    arch.refuse(fmt::format("{} is not among archs, which are {}", kernel.arch, fmt::join(archs, ", ")));
  }
  return kernel;
}

std::string need_text(const NamedNeed &named) {
  const auto &[problem, policy, serving] = named.need;
  return fmt::format("  - name: {}\n"
                     "    problem: {{dtype: {}, head_dim: {}, v_head_dim: {}, gqa: {}, sliding_window: {}, softcap: "
                     "{}{}}}\n"
                     "    policy: {{estimator: {}{}{}{}}}\n"
                     "    serving: {}\n",
                     yaml_text(named.name), to_string(problem.dtype), problem.head_dim, effective_v_head_dim(problem),
                     problem.num_q_heads / problem.num_kv_heads, problem.sliding_window, problem.softcap,
                     fields_text(problem_switches, problem), to_string(policy.estimator),
                     fields_text(policy_numbers, policy), fields_text(array_switches, head_arrays(policy)),
                     fields_text(policy_switches, policy), serving_word(serving));
}

} // namespace

Manifest parse_manifest(const std::string &text, const std::string &file_name) {
  if (text.size() > most_bytes) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: the file has {} bytes; a manifest has at most {}",
                                                         file_name, text.size(), most_bytes));
  }
  const YamlNode root = YamlNode::parse(text, file_name, limits);
  root.require_map({"schema", "library", "archs", "needs", "kernels"});
  const YamlNode schema_node = root.at("schema");
  if (const int found = schema_node.integer("schema"); found != schema) {
    schema_node.refuse(fmt::format("schema {} is not known; this version reads schema {}", found, schema));
  }
  Manifest manifest;
  manifest.file_name = file_name;
  manifest.library = root.at("library").text("library");
  for (const YamlNode &node : items(root.at("archs"), "archs", most_archs)) {
    manifest.archs.push_back(parse_arch_name(node));
  }
  for (const YamlNode &node : items(root.at("needs"), "needs", most_needs)) {
    manifest.needs.push_back(parse_need(node));
  }
  std::set<std::string> keys;
  for (const YamlNode &node : items(root.at("kernels"), "kernels", most_kernels)) {
    manifest.kernels.push_back(parse_kernel(node, manifest.archs));
    if (!keys.insert(manifest.kernels.back().key).second) {
      node.refuse(fmt::format("the key {} is there twice", manifest.kernels.back().key));
    }
  }
  return manifest;
}

Manifest load_manifest(const std::filesystem::path &path) {
  return parse_manifest(read_text_file(path), path.string());
}

std::string manifest_text(const Manifest &manifest) {
  std::string text = fmt::format("# What models need of libsale's kernel cache: sale prewarm --manifest FILE, with "
                                 "--check to ask what is missing.\n"
                                 "schema: {}\nlibrary: {}\narchs: [{}]\nneeds:\n",
                                 schema, yaml_text(manifest.library), fmt::join(manifest.archs, ", "));
  for (const NamedNeed &need : manifest.needs) {
    text += need_text(need);
  }
  text += "kernels:\n";
  for (const ManifestKernel &kernel : manifest.kernels) {
    text += fmt::format("  - {{name: {}, arch: {}, key: {}}}\n", yaml_text(kernel.name), kernel.arch, kernel.key);
  }
  return text;
}

} // namespace sale::io
