// SPDX-License-Identifier: Apache-2.0
#include "autotune/record/record.hpp"

#include "io/yaml.hpp"
#include "sale/error.hpp"
#include "sale/tuning.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace sale::autotune {

namespace {

using io::YamlNode;

constexpr int schema = 1;
constexpr std::size_t most_bytes = 4U << 20U;
constexpr std::size_t most_text = 1024;
constexpr io::YamlLimits limits = {.depth = 12, .nodes = 1U << 19U, .scalar = most_text};
constexpr std::size_t most_facts = 64;
constexpr std::size_t most_choices = 256; // of a kernel; calls look through them
constexpr int most_tokens = 1 << 20;      // what calls may have

constexpr std::array<std::pair<const char *, int Tile::*>, 5> tile_fields = {{{"rows_per_warp", &Tile::rows_per_warp},
                                                                              {"warps", &Tile::warps},
                                                                              {"keys_per_step", &Tile::keys_per_step},
                                                                              {"stages", &Tile::stages},
                                                                              {"min_ctas", &Tile::min_ctas}}};

bool is_plain(const std::string &text) {
  return !text.empty() && text.size() <= most_text &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 32 && c < 127; });
}

std::string text_of(const YamlNode &node, const std::string &what) {
  const std::string found = node.text(what);
  if (!is_plain(found)) {
    node.refuse(fmt::format("{} must be 1 to {} printable ASCII characters", what, most_text));
  }
  return found;
}

int integer_of(const YamlNode &node, const char *what, int least, int most) {
  const int found = node.integer(what);
  if (found < least || found > most) {
    node.refuse(fmt::format("{} is {}; it must be from {} to {}", what, found, least, most));
  }
  return found;
}

TuningFacts read_facts(const YamlNode &of) {
  TuningFacts facts;
  if (const auto node = of.find("facts")) {
    const std::vector<std::string> names = node->keys("facts");
    if (names.size() > most_facts) {
      node->refuse(fmt::format("there are {} facts; {} are the most", names.size(), most_facts));
    }
    for (const std::string &name : names) {
      if (!is_plain(name)) {
        node->refuse(fmt::format("a fact's name must be 1 to {} printable ASCII characters", most_text));
      }
      facts[name] = text_of(node->at(name), name);
    }
  }
  return facts;
}

void require_tunable(const YamlNode &node, const std::string &kernel, const Arch &arch) {
  for (const Stage stage : {Stage::prepare, Stage::select, Stage::attend}) {
    if (kernel.rfind(fmt::format("{} {} ", to_string(stage), arch.name()), 0) == 0) {
      return;
    }
  }
  node.refuse(fmt::format("\"{}\" is no kernel of {} whose tile can be chosen: prepare, select or attend", kernel,
                          arch.name()));
}

TileChoice read_choice(const YamlNode &node) {
  node.require_map({"up_to_tokens", "up_to_density", "tile", "facts"});
  TileChoice choice;
  if (const auto tokens = node.find("up_to_tokens"); tokens && !tokens->is_null()) {
    choice.up_to_tokens = integer_of(*tokens, "up_to_tokens", 1, most_tokens);
    if ((choice.up_to_tokens & (choice.up_to_tokens - 1)) != 0) {
      tokens->refuse(fmt::format("up_to_tokens is {}; it must be a power of two", choice.up_to_tokens));
    }
  }
  if (const auto density = node.find("up_to_density"); density && !density->is_null()) {
    choice.up_to_density = density->number("up_to_density");
    if (!(choice.up_to_density > 0 && choice.up_to_density <= 1)) {
      density->refuse(fmt::format("up_to_density is {}; it must be above 0 and at most 1", choice.up_to_density));
    }
  }
  const YamlNode tile = node.at("tile");
  tile.require_map({"rows_per_warp", "warps", "keys_per_step", "stages", "min_ctas"});
  for (const auto &[name, field] : tile_fields) {
    choice.tile.*field = integer_of(tile.at(name), name, 1, 4096);
  }
  choice.facts = read_facts(node);
  return choice;
}

void require_order(const YamlNode &node, const TileChoice &before, const TileChoice &choice) {
  if (choice.up_to_tokens < before.up_to_tokens ||
      (choice.up_to_tokens == before.up_to_tokens && choice.up_to_density <= before.up_to_density)) {
    node.refuse("choices must ascend by up_to_tokens, and those of one length by up_to_density");
  }
  if (choice.up_to_tokens != before.up_to_tokens && before.up_to_density != 1) {
    node.refuse("the choices of the length before lack the last one, without up_to_density");
  }
}

KernelTuning read_kernel(const YamlNode &node, const Arch &arch) {
  node.require_map({"kernel", "choices"});
  KernelTuning tuning;
  const YamlNode name = node.at("kernel");
  tuning.kernel = text_of(name, "kernel");
  require_tunable(name, tuning.kernel, arch);
  const std::vector<YamlNode> choices = node.at("choices").items("choices");
  if (choices.size() > most_choices) {
    node.refuse(fmt::format("there are {} choices; {} are the most of a kernel", choices.size(), most_choices));
  }
  for (const YamlNode &item : choices) {
    TileChoice choice = read_choice(item);
    if (!tuning.choices.empty()) {
      require_order(item, tuning.choices.back(), choice);
    }
    tuning.choices.push_back(std::move(choice));
  }
  const TileChoice &last = tuning.choices.back();
  if (last.up_to_tokens != TileChoice::all_tokens || last.up_to_density != 1) {
    node.refuse("the last choice must be for all lengths and densities, without up_to_tokens and up_to_density");
  }
  return tuning;
}

GpuTuning read_gpu(const YamlNode &node) {
  node.require_map({"name", "arch", "multiprocessors", "facts", "kernels"});
  GpuTuning gpu;
  gpu.name = text_of(node.at("name"), "name");
  const YamlNode arch = node.at("arch");
  try {
    gpu.arch = parse_arch(text_of(arch, "arch"));
  } catch (const Error &error) {
    arch.refuse(error.what());
  }
  gpu.multiprocessors = integer_of(node.at("multiprocessors"), "multiprocessors", 1, 4096);
  gpu.facts = read_facts(node);
  std::set<std::string> names;
  for (const YamlNode &item : node.at("kernels").items("kernels")) {
    KernelTuning kernel = read_kernel(item, gpu.arch);
    if (!names.insert(kernel.kernel).second) {
      item.refuse(fmt::format("the kernel \"{}\" is there twice", kernel.kernel));
    }
    gpu.kernels.push_back(std::move(kernel));
  }
  return gpu;
}

TuningRecord read_record(const YamlNode &root) {
  root.require_map({"schema", "library", "templates", "gpus"});
  const YamlNode schema_node = root.at("schema");
  if (const int found = schema_node.integer("schema"); found != schema) {
    schema_node.refuse(fmt::format("schema {} is not known; this version reads schema {}", found, schema));
  }
  TuningRecord record;
  record.library = text_of(root.at("library"), "library");
  record.templates = text_of(root.at("templates"), "templates");
  for (const YamlNode &node : root.at("gpus").items("gpus")) {
    GpuTuning gpu = read_gpu(node);
    if (tuning_for(record, gpu.name, gpu.arch, gpu.multiprocessors) != nullptr) {
      node.refuse(
          fmt::format("{} ({}, {} multiprocessors) is there twice", gpu.name, gpu.arch.name(), gpu.multiprocessors));
    }
    record.gpus.push_back(std::move(gpu));
  }
  return record;
}

std::string facts_text(const TuningFacts &facts, const std::string &indent) {
  std::string text = facts.empty() ? "" : indent + "facts:\n";
  for (const auto &[name, value] : facts) {
    text += fmt::format("{}  {}: {}\n", indent, io::yaml_text(name), io::yaml_text(value));
  }
  return text;
}

std::string choice_text(const TileChoice &choice) {
  std::string tile;
  for (const auto &[name, field] : tile_fields) {
    tile += fmt::format("{}{}: {}", tile.empty() ? "" : ", ", name, choice.tile.*field);
  }
  std::string text = fmt::format("          - tile: {{{}}}\n", tile);
  const std::string indent(12, ' ');
  if (choice.up_to_tokens != TileChoice::all_tokens) {
    text += fmt::format("{}up_to_tokens: {}\n", indent, choice.up_to_tokens);
  }
  if (choice.up_to_density != 1) {
    text += fmt::format("{}up_to_density: {}\n", indent, choice.up_to_density);
  }
  return text + facts_text(choice.facts, indent);
}

} // namespace

TuningRecord parse_record(const std::string &text, const std::string &file_name) {
  if (text.size() > most_bytes) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: the file has {} bytes; a tuning record has at most {}",
                                                         file_name, text.size(), most_bytes));
  }
  TuningRecord record = read_record(YamlNode::parse(text, file_name, limits));
  record.source = file_name;
  return record;
}

std::string record_text(const TuningRecord &record) {
  std::string text = fmt::format("schema: {}\nlibrary: {}\ntemplates: {}\ngpus:\n", schema,
                                 io::yaml_text(record.library), io::yaml_text(record.templates));
  for (const GpuTuning &gpu : record.gpus) {
    text += fmt::format("  - name: {}\n    arch: {}\n    multiprocessors: {}\n", io::yaml_text(gpu.name),
                        gpu.arch.name(), gpu.multiprocessors);
    text += facts_text(gpu.facts, "    ") + "    kernels:\n";
    for (const KernelTuning &kernel : gpu.kernels) {
      text += fmt::format("      - kernel: {}\n        choices:\n", io::yaml_text(kernel.kernel));
      for (const TileChoice &choice : kernel.choices) {
        text += choice_text(choice);
      }
    }
  }
  parse_record(text, record.source.empty() ? "the record" : record.source);
  return text;
}

} // namespace sale::autotune

namespace sale {

std::shared_ptr<const TuningRecord> load_tuning(const std::filesystem::path &file) {
  return std::make_shared<const TuningRecord>(autotune::parse_record(io::read_text_file(file), file.string()));
}

} // namespace sale
