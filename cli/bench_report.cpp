// SPDX-License-Identifier: Apache-2.0
#include "cli/bench_report.hpp"

#include "cli/text.hpp"

#include "bench/variant.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>

namespace sale::cli {

namespace {

using bench::GpuLog;
using bench::GpuReading;
using bench::Row;
using bench::Samples;
using bench::Section;
using bench::Work;
using Json = nlohmann::ordered_json;

std::string line(const char *label, const std::string &text) { return fmt::format("{:<9}{}\n", label, text); }

std::string number(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : "";
}

// Three or four significant digits, from microseconds to seconds.
std::string milliseconds(double ms) { return fmt::format("{:.{}f}", ms, ms < 1 ? 4 : ms < 100 ? 3 : 1); }

std::string place(const Section &section) {
  const std::string queries =
      section.shape.q_len == section.shape.kv_len ? "" : bench::length_name(section.shape.q_len) + " of ";
  return queries + bench::length_name(section.shape.kv_len);
}

Samples of_readings(const GpuLog &log, double GpuReading::*value) {
  Samples samples;
  for (const GpuReading &reading : log.readings) {
    samples.add(reading.*value);
  }
  return samples;
}

std::string gpu_text(const GpuLog &log) {
  const auto figure = [&](double GpuReading::*value, const char *unit) {
    const Samples all = of_readings(log, value);
    return fmt::format("{:.0f} before, {:.0f} ({:.0f} to {:.0f}) during, {:.0f} after {}", log.readings.front().*value,
                       all.median(), all.min(), all.max(), log.readings.back().*value, unit);
  };
  return fmt::format("SM clock {}; power {}", figure(&GpuReading::sm_mhz, "MHz"), figure(&GpuReading::watts, "W"));
}

std::string rows_text(const std::vector<Section> &sections) {
  Table table({"tokens", "input", "what", "ms", "min", "max", "density", "TFLOP/s", "x dense", "rel-L1"});
  bool any = false;
  for (const Section &section : sections) {
    for (const Row &row : section.rows) {
      if (row.ms.values().empty()) {
        continue;
      }
      any = true;
      const bool dense = row.work == Work::dense;
      table.add({place(section), section.input, row.name(), milliseconds(row.ms.median()), milliseconds(row.ms.min()),
                 milliseconds(row.ms.max()), dense ? "" : number(row.density, 4), number(section.tflops(row), 1),
                 number(section.speedup(row), 2), number(row.rel_l1, 4)});
    }
  }
  return any ? table.text() : "";
}

std::string stages_text(const std::vector<Section> &sections) {
  std::vector<std::string> header = {"tokens", "input", "stages of"};
  for (const auto &[name, member] : bench::stages) {
    header.emplace_back(name);
  }
  header.insert(header.end(), {"sum", "density"});
  Table table(header);
  bool any = false;
  for (const Section &section : sections) {
    for (const Row &row : section.rows) {
      if (row.stage_total_ms.values().empty()) {
        continue;
      }
      any = true;
      std::vector<std::string> cells = {place(section), section.input, row.name()};
      for (const Samples &samples : row.stage_ms) {
        cells.push_back(samples.median() > 0 ? milliseconds(samples.median()) : "");
      }
      cells.push_back(milliseconds(row.stage_total_ms.median()));
      cells.push_back(number(row.density, 4));
      table.add(std::move(cells));
    }
  }
  return any ? "\n" + table.text() : "";
}

std::string serving_text(const std::vector<Section> &sections) {
  Table table({"tokens", "serving", "ms", "beside", "ms", "ratio", "outputs that differ", "mask bits"});
  bool any = false;
  for (const Section &section : sections) {
    for (const bench::ServingRow &row : section.serving) {
      any = true;
      table.add({place(section), row.name, milliseconds(row.ms.median()), row.plain,
                 milliseconds(row.plain_ms.median()), number(row.ms.median() / row.plain_ms.median(), 3),
                 std::to_string(row.different_outputs),
                 row.different_mask_bits ? std::to_string(*row.different_mask_bits) : ""});
    }
  }
  return any ? table.text() : "";
}

std::string serving_stages_text(const std::vector<Section> &sections) {
  std::vector<std::string> header = {"tokens", "stages of"};
  for (const auto &[name, member] : bench::stages) {
    header.emplace_back(name);
  }
  Table table(header);
  bool any = false;
  for (const Section &section : sections) {
    for (const bench::ServingRow &row : section.serving) {
      for (const auto &[name, stage_ms] :
           {std::pair(row.name, &row.stage_ms), std::pair(row.plain, &row.plain_stage_ms)}) {
        if (stage_ms->back().values().empty()) {
          continue;
        }
        any = true;
        std::vector<std::string> cells = {place(section), name};
        for (const Samples &samples : *stage_ms) {
          cells.push_back(samples.median() > 0 ? milliseconds(samples.median()) : "");
        }
        table.add(std::move(cells));
      }
    }
  }
  return any ? "\n" + table.text() : "";
}

std::string calls_text(const Section &section) {
  if (section.calls.empty()) {
    return "";
  }
  Table table({fmt::format("{} calls in a row", section.calls_in_a_row), "host us per call", "device us per call",
               "launches", "own host us per call", "per launch"});
  for (const bench::CallCost &cost : section.calls) {
    const double own = cost.own_us.median();
    table.add({cost.what, number(cost.host_us.median(), 2), number(cost.device_us.median(), 2),
               std::to_string(cost.launches), number(own, 2), number(own / cost.launches, 2)});
  }
  return fmt::format("\nAt {} tokens:\n{}", place(section), table.text());
}

std::string crossover_text(const std::vector<Section> &sections) {
  std::string text = "\n";
  for (const bench::Crossover &crossover : bench::crossovers(sections)) {
    const std::string what = crossover.estimate + (crossover.fp8_attend ? ", fp8 attend" : "");
    if (!crossover.length) {
      text += fmt::format("sale {} is faster than dense at none of these lengths\n", what);
    } else if (*crossover.length == 0) {
      text += fmt::format("sale {} is faster than dense at all of these lengths\n", what);
    } else {
      text += fmt::format("sale {} is faster than dense from about {:.0f} tokens\n", what, *crossover.length);
    }
  }
  return text;
}

std::string policy_text(const Policy &policy) {
  return fmt::format("tau {}, blocks {} x {}, sink {}, window {}",
                     policy.tau_per_head.empty() ? fmt::format("{}", policy.tau) : "per head", policy.block_q,
                     policy.block_k, policy.sink, policy.window);
}

std::string problem_text(const Section &section) {
  const Problem &problem = section.problem;
  return fmt::format("{}, {} query heads over {} KV heads, {}, batch {}", to_string(problem.dtype), problem.num_q_heads,
                     problem.num_kv_heads, head_dims_text(problem), section.shape.batch);
}

Json samples_json(const Samples &samples, bool with_rounds = false) {
  Json json = {{"median", samples.median()}, {"min", samples.min()}, {"max", samples.max()}};
  if (with_rounds) {
    json["rounds"] = samples.values();
  }
  return json;
}

Json gpu_json(const GpuLog &log) {
  const auto reading = [](const GpuReading &r) {
    return Json{{"sm_mhz", r.sm_mhz}, {"memory_mhz", r.memory_mhz}, {"watts", r.watts}, {"celsius", r.celsius}};
  };
  return {{"before", reading(log.readings.front())},
          {"after", reading(log.readings.back())},
          {"readings", log.readings.size()},
          {"sm_mhz", samples_json(of_readings(log, &GpuReading::sm_mhz))},
          {"memory_mhz", samples_json(of_readings(log, &GpuReading::memory_mhz))},
          {"watts", samples_json(of_readings(log, &GpuReading::watts))},
          {"celsius", samples_json(of_readings(log, &GpuReading::celsius))}};
}

Json row_json(const Section &section, const Row &row) {
  Json json = {{"name", row.name()}, {"work", to_string(row.work)}, {"fp8_attend", row.fp8_attend}};
  if (!row.estimate.empty()) {
    json["estimate"] = row.estimate;
  }
  if (!row.mask.empty()) {
    json["mask"] = row.mask;
  }
  const auto add = [&](const char *name, std::optional<double> value) {
    if (value) {
      json[name] = *value;
    }
  };
  add("density", row.density);
  add("rel_l1", row.rel_l1);
  if (!row.ms.values().empty()) {
    json["ms"] = samples_json(row.ms, true);
    add("speedup", section.speedup(row));
    add("tflops", section.tflops(row));
    json["dense_equivalent_tflops"] = section.flops() / row.ms.median() / 1e9;
  }
  if (!row.stage_total_ms.values().empty()) {
    Json stages = Json::object();
    for (std::size_t i = 0; i < bench::stages.size(); ++i) {
      stages[bench::stages[i].first] = samples_json(row.stage_ms[i]);
    }
    stages["total"] = samples_json(row.stage_total_ms);
    json["stages_ms"] = stages;
  }
  return json;
}

Json section_json(const Section &section) {
  const Problem &problem = section.problem;
  Json json = {{"input", section.input},
               {"dtype", to_string(problem.dtype)},
               {"batch", section.shape.batch},
               {"num_q_heads", problem.num_q_heads},
               {"num_kv_heads", problem.num_kv_heads},
               {"head_dim", problem.head_dim},
               {"v_head_dim", effective_v_head_dim(problem)},
               {"q_len", section.shape.q_len},
               {"kv_len", section.shape.kv_len},
               {"dense_flops", section.flops()},
               {"device_bytes", section.device_bytes}};
  if (!section.left_out.empty()) {
    json["left_out"] = section.left_out;
  }
  if (!section.gpu.readings.empty()) {
    json["gpu"] = gpu_json(section.gpu);
  }
  json["rows"] = Json::array();
  for (const Row &row : section.rows) {
    json["rows"].push_back(row_json(section, row));
  }
  for (const bench::ServingRow &row : section.serving) {
    json["serving"].push_back({{"name", row.name},
                               {"ms", samples_json(row.ms, true)},
                               {"plain", row.plain},
                               {"plain_ms", samples_json(row.plain_ms, true)},
                               {"different_outputs", row.different_outputs}});
    if (row.different_mask_bits) {
      json["serving"].back()["different_mask_bits"] = *row.different_mask_bits;
    }
  }
  if (!section.calls.empty()) {
    json["calls_in_a_row"] = section.calls_in_a_row;
    json["calls"] = Json::array();
    for (const bench::CallCost &cost : section.calls) {
      json["calls"].push_back({{"what", cost.what},
                               {"host_us", samples_json(cost.host_us)},
                               {"device_us", samples_json(cost.device_us)},
                               {"launches", cost.launches},
                               {"own_us", samples_json(cost.own_us)}});
    }
  }
  return json;
}

// NVIDIA's version of the driver, where nvidia-smi said it.
std::string driver_version(const BenchReport &report) {
  for (const Section &section : report.sections) {
    if (!section.gpu.driver.empty()) {
      return section.gpu.driver;
    }
  }
  return "";
}

std::string method_text(const BenchReport &report) {
  return fmt::format(
      "medians of {} rounds after {}, everything in turns in every round; L2 cache {}", report.rounds, report.warmups,
      report.flush_bytes == 0 ? "left as it is"
                              : fmt::format("cold ({} written before every call)", bytes_text(report.flush_bytes)));
}

} // namespace

std::string bench_text(const BenchReport &report) {
  const std::string version = driver_version(report);
  std::string text;
  text += line("device", fmt::format("{}, {}, {}CUDA {}, NVRTC {}", report.device, report.arch,
                                     version.empty() ? "" : "driver " + version + ", ", report.cuda_version,
                                     report.nvrtc.empty() ? "none" : report.nvrtc));
  text += line("problem", problem_text(report.sections.front()));
  text += line("policy", policy_text(report.policy));
  text += line("method", method_text(report));
  if (report.emulated) {
    text += line("", "an emulated device: its times say nothing about a GPU");
  }
  for (const Section &section : report.sections) {
    if (!section.gpu.readings.empty()) {
      text += line(place(section).c_str(), gpu_text(section.gpu));
    }
    if (!section.left_out.empty()) {
      text += line(place(section).c_str(), "left out: " + section.left_out);
    }
  }
  text += "\n" + rows_text(report.sections) + stages_text(report.sections) + serving_text(report.sections) +
          serving_stages_text(report.sections);
  for (const Section &section : report.sections) {
    text += calls_text(section);
  }
  return text + (report.crossover ? crossover_text(report.sections) : "");
}

std::string bench_json(const BenchReport &report) {
  const Policy &policy = report.policy;
  Json json = {
      {"schema", 1},
      {"version", SALE_VERSION},
      {"device",
       {{"name", report.device},
        {"arch", report.arch},
        {"emulated", report.emulated},
        {"memory_bytes", report.memory_bytes},
        {"l2_bytes", report.l2_bytes},
        {"driver", driver_version(report)},
        {"cuda_version", report.cuda_version},
        {"nvrtc", report.nvrtc}}},
      {"method",
       {{"rounds", report.rounds},
        {"warmups", report.warmups},
        {"l2", report.flush_bytes > 0 ? "cold" : "warm"},
        {"flush_bytes", report.flush_bytes},
        {"interleaved", true},
        {"tflops", "n^2 * (head_dim + v_head_dim) * heads for n queries and keys (the causal half), times density"}}},
      {"policy",
       {{"block_q", policy.block_q}, {"block_k", policy.block_k}, {"sink", policy.sink}, {"window", policy.window}}}};
  if (policy.tau_per_head.empty()) {
    json["policy"]["tau"] = policy.tau;
  } else {
    json["policy"]["tau"] = policy.tau_per_head;
  }
  json["sections"] = Json::array();
  for (const Section &section : report.sections) {
    json["sections"].push_back(section_json(section));
  }
  if (report.crossover) {
    json["crossovers"] = Json::array();
    for (const bench::Crossover &crossover : bench::crossovers(report.sections)) {
      json["crossovers"].push_back({{"estimate", crossover.estimate},
                                    {"fp8_attend", crossover.fp8_attend},
                                    {"tokens", crossover.length ? Json(*crossover.length) : Json()}});
    }
  }
  return json_text(json);
}

} // namespace sale::cli
