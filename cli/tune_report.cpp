// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_report.hpp"

#include "autotune/record/edit.hpp"
#include "autotune/search/noise.hpp"
#include "bench/variant.hpp"
#include "cli/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace sale::cli {

namespace {

using autotune::Candidate;
using autotune::CandidateResult;
using autotune::Decision;
using autotune::Outcome;
using autotune::Task;
using autotune::tile_text;

constexpr std::size_t ranked_tiles = 3; // of a bucket, in a dry run's table

std::string density_text(const Task &task) {
  if (task.kernel.stage != Stage::attend || task.kernel.dense) {
    return "";
  }
  return task.density > 0 ? fmt::format("{:g}", task.density) : "policy's";
}

// Tiles of the class that were timed for any task.
std::size_t measured_tiles(const std::vector<Decision> &decisions, const std::string &kernel) {
  std::set<std::string> tiles;
  for (const Decision &decision : decisions) {
    for (const CandidateResult &candidate : decision.candidates) {
      if (decision.task.kernel.class_name() == kernel && candidate.rounds > 0) {
        tiles.insert(tile_text(candidate.tile));
      }
    }
  }
  return tiles.size();
}

std::string classes_text(const TuneReport &report) {
  std::string text;
  for (const TuneShortlists::Class &each : report.shortlists->classes()) {
    const std::string name = each.kernel.class_name();
    text += fmt::format("{}\n", name);
    for (const autotune::PruneStep &step : each.shortlist.steps) {
      text += fmt::format("{:>8} {}\n", step.left, step.name);
    }
    if (!report.dry_run) {
      text += fmt::format("{:>8} measured\n", measured_tiles(report.decisions, name));
    }
  }
  return text + (report.not_compiled.empty() ? "" : fmt::format("nothing was compiled: {}\n", report.not_compiled));
}

std::string decisions_text(const TuneReport &report) {
  Table table({"kernel", "tokens", "density", "default", "ms", "best", "ms", "default/best", "band"});
  for (const Decision &decision : report.decisions) {
    const Task &task = decision.task;
    if (decision.left_out.empty()) {
      table.add({task.kernel.class_name(), bench::length_name(task.tokens), density_text(task),
                 tile_text(task.kernel.tile), fmt::format("{:.4f}", decision.default_ms), tile_text(decision.tile),
                 fmt::format("{:.4f}", decision.best_ms), fmt::format("{:.3f}", 1 / decision.ratio),
                 fmt::format("{:.4f}", decision.band)});
    }
  }
  std::string text = table.text();
  for (const Decision &decision : report.decisions) {
    if (!decision.left_out.empty()) {
      text += fmt::format("left out: {}: {}\n", decision.task.describe(), decision.left_out);
    }
  }
  return text;
}

std::string failures_text(const TuneReport &report) {
  Table table({"failed", "tokens", "tile", "", "why"});
  bool any = false;
  for (const Decision &decision : report.decisions) {
    for (const CandidateResult &candidate : decision.candidates) {
      if (candidate.outcome != Outcome::good) {
        table.add({decision.task.kernel.class_name(), bench::length_name(decision.task.tokens),
                   tile_text(candidate.tile), to_string(candidate.outcome), candidate.why});
        any = true;
      }
    }
  }
  return any ? "\n" + table.text() : "";
}

std::string quality_text(const TuneReport &report) {
  const ModelQuality quality = model_quality(report.decisions);
  std::string text;
  if (!quality.correlations.empty()) {
    text +=
        fmt::format("the cost model: rank correlation with the times, median {:.2f}, worst {:.2f} of {} buckets",
                    autotune::median(quality.correlations), quality.correlations.front(), quality.correlations.size());
  }
  if (!quality.losses.empty()) {
    text +=
        fmt::format("{}its own choice / the choice, median {:.3f}, worst {:.3f}\n",
                    text.empty() ? "the cost model: " : "; ", autotune::median(quality.losses), quality.losses.back());
  }
  return text;
}

// Those that the model likes best, the first of equals first; and the default, where it is none of them.
std::vector<Candidate> first_by_model(const std::vector<Candidate> &candidates) {
  std::vector<std::pair<double, std::size_t>> order;
  order.reserve(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    order.emplace_back(candidates[i].model_ms, i);
  }
  std::sort(order.begin(), order.end());
  std::vector<Candidate> first;
  for (std::size_t place = 0; place < order.size(); ++place) {
    if (place < ranked_tiles || order[place].second == 0) {
      first.push_back(candidates[order[place].second]);
    }
  }
  return first;
}

std::string rankings_text(const TuneReport &report) {
  Table table({"kernel", "tokens", "density", "tile", "CTAs/SM", "registers", "smem", "model ms", "default/model"});
  for (const ModelRanking &ranking : report.rankings) {
    const std::vector<Candidate> best = first_by_model(ranking.candidates);
    const Candidate &by_default = ranking.candidates.front();
    const Task &task = ranking.task;
    for (const Candidate &each : best) {
      table.add({task.kernel.class_name(), bench::length_name(task.tokens), density_text(task),
                 tile_text(each.tile) + (each.tile == by_default.tile ? " default" : ""),
                 std::to_string(each.use.ctas_per_sm),
                 each.use.registers == 0 ? "" : std::to_string(each.use.registers),
                 std::to_string(each.use.shared_memory), fmt::format("{:.4f}", each.model_ms),
                 fmt::format("{:.3f}", by_default.model_ms / each.model_ms)});
    }
  }
  return table.text();
}

int disturbed_rounds(const TuneReport &report) {
  int sum = 0;
  for (const Decision &decision : report.decisions) {
    sum += decision.disturbed;
  }
  return sum;
}

nlohmann::ordered_json to_json(const Tile &tile) {
  return {{"rows_per_warp", tile.rows_per_warp},
          {"warps", tile.warps},
          {"keys_per_step", tile.keys_per_step},
          {"stages", tile.stages},
          {"min_ctas", tile.min_ctas}};
}

nlohmann::ordered_json to_json(const Task &task) {
  nlohmann::ordered_json json = {{"kernel", task.kernel.class_name()}, {"tokens", task.tokens}};
  if (task.kernel.stage == Stage::attend && !task.kernel.dense) {
    json["density"] = task.density;
  }
  return json;
}

nlohmann::ordered_json to_json(const Candidate &candidate) {
  return {{"tile", to_json(candidate.tile)},
          {"registers", candidate.use.registers},
          {"spill_bytes", candidate.use.spill_bytes},
          {"shared_memory", candidate.use.shared_memory},
          {"ctas_per_sm", candidate.use.ctas_per_sm}};
}

nlohmann::ordered_json to_json(const TuneShortlists::Class &each, const TuneReport &report) {
  const std::string name = each.kernel.class_name();
  nlohmann::ordered_json json = {{"kernel", name}, {"space", each.space}};
  json["steps"] = nlohmann::ordered_json::array();
  for (const autotune::PruneStep &step : each.shortlist.steps) {
    json["steps"].push_back({{"name", step.name}, {"left", step.left}});
  }
  json["measured"] = measured_tiles(report.decisions, name);
  json["seconds"] = each.seconds;
  json["candidates"] = nlohmann::ordered_json::array();
  for (const Candidate &candidate : each.shortlist.candidates) {
    json["candidates"].push_back(to_json(candidate));
  }
  json["left_out"] = nlohmann::ordered_json::array();
  for (const autotune::LeftOut &left_out : each.shortlist.left_out) {
    json["left_out"].push_back({{"tile", to_json(left_out.tile)}, {"why", left_out.why}});
  }
  return json;
}

nlohmann::ordered_json to_json(const Decision &decision) {
  nlohmann::ordered_json json = to_json(decision.task);
  if (!decision.left_out.empty()) {
    json["left_out"] = decision.left_out;
    return json;
  }
  json["default"] = to_json(decision.task.kernel.tile);
  json["default_ms"] = decision.default_ms;
  json["best"] = to_json(decision.tile);
  json["best_ms"] = decision.best_ms;
  json["is_default"] = decision.is_default;
  json["ratio"] = decision.ratio;
  json["band"] = decision.band;
  json["rounds"] = decision.rounds;
  json["disturbed"] = decision.disturbed;
  json["seconds"] = decision.seconds;
  json["candidates"] = nlohmann::ordered_json::array();
  for (const CandidateResult &candidate : decision.candidates) {
    nlohmann::ordered_json of = {{"tile", to_json(candidate.tile)}, {"model_ms", candidate.model_ms},
                                 {"first_ms", candidate.first_ms},  {"ratio", candidate.ratio},
                                 {"rounds", candidate.rounds},      {"outcome", to_string(candidate.outcome)}};
    if (!candidate.why.empty()) {
      of["why"] = candidate.why;
    }
    json["candidates"].push_back(std::move(of));
  }
  return json;
}

nlohmann::ordered_json to_json(const ModelRanking &ranking) {
  nlohmann::ordered_json json = to_json(ranking.task);
  json["candidates"] = nlohmann::ordered_json::array();
  for (const Candidate &candidate : ranking.candidates) {
    json["candidates"].push_back({{"tile", to_json(candidate.tile)}, {"model_ms", candidate.model_ms}});
  }
  return json;
}

} // namespace

ModelQuality model_quality(const std::vector<Decision> &decisions) {
  ModelQuality quality;
  for (const Decision &decision : decisions) {
    std::vector<double> by_model;
    std::vector<double> measured;
    const CandidateResult *likes_best = nullptr;
    for (const CandidateResult &candidate : decision.candidates) {
      if (candidate.first_ms > 0 && candidate.model_ms > 0 && candidate.outcome == Outcome::good) {
        by_model.push_back(candidate.model_ms);
        measured.push_back(candidate.first_ms);
        likes_best = likes_best == nullptr || candidate.model_ms < likes_best->model_ms ? &candidate : likes_best;
      }
    }
    if (by_model.size() >= 3) {
      quality.correlations.push_back(autotune::rank_correlation(by_model, measured));
    }
    if (likes_best != nullptr) {
      quality.losses.push_back(likes_best->tile == decision.tile ? 1 : likes_best->ratio / decision.ratio);
    }
  }
  std::sort(quality.correlations.begin(), quality.correlations.end());
  std::sort(quality.losses.begin(), quality.losses.end());
  return quality;
}

const Candidate &ModelRanking::best() const {
  return *std::min_element(candidates.begin(), candidates.end(),
                           [](const Candidate &a, const Candidate &b) { return a.model_ms < b.model_ms; });
}

std::string tune_report_text(const TuneReport &report) {
  const autotune::GpuParameters &parameters = report.parameters;
  std::string text = fmt::format(
      "{} ({}, {} multiprocessors); {}: {:.2f} GHz, {:.0f} MMA flops and {:.0f} bytes from L2 per clock "
      "of an SM\n\n{}\n",
      report.gpu.name, report.gpu.arch.name(), report.gpu.multiprocessors, parameters.measured ? "measured" : "assumed",
      parameters.clock_ghz, parameters.mma_flops_per_clock, parameters.l2_bytes_per_clock, classes_text(report));
  text += report.dry_run ? rankings_text(report) : decisions_text(report) + failures_text(report);
  text += "\n" + quality_text(report);
  if (report.dry_run) {
    text += fmt::format("{:.1f} s; nothing was measured\n", report.wall_seconds);
  } else {
    text += fmt::format("{:.1f} s: compiling {:.1f}, inputs and measurements {:.1f}, checks {:.1f}; {} rounds were "
                        "disturbed and measured again; the worker was started anew {} times\n",
                        report.wall_seconds, report.shortlists->seconds(), report.measure_seconds, report.check_seconds,
                        disturbed_rounds(report), report.restarts);
  }
  if (!report.stopped.empty()) {
    text += fmt::format("not all buckets were measured: {}; the others have their default tile\n", report.stopped);
  }
  return text + (report.record.empty() ? "" : fmt::format("the record is in {}\n", report.record));
}

std::string tune_report_json(const TuneReport &report) {
  const autotune::GpuParameters &parameters = report.parameters;
  nlohmann::ordered_json json = {
      {"gpu",
       {{"name", report.gpu.name}, {"arch", report.gpu.arch.name()}, {"multiprocessors", report.gpu.multiprocessors}}},
      {"facts", report.facts},
      {"parameters",
       {{"clock_ghz", parameters.clock_ghz},
        {"mma_flops_per_clock", parameters.mma_flops_per_clock},
        {"l2_bytes_per_clock", parameters.l2_bytes_per_clock},
        {"measured", parameters.measured}}}};
  json["kernels"] = nlohmann::ordered_json::array();
  for (const TuneShortlists::Class &each : report.shortlists->classes()) {
    json["kernels"].push_back(to_json(each, report));
  }
  if (report.dry_run) {
    json["ranking"] = nlohmann::ordered_json::array();
    for (const ModelRanking &ranking : report.rankings) {
      json["ranking"].push_back(to_json(ranking));
    }
  } else {
    json["buckets"] = nlohmann::ordered_json::array();
    for (const Decision &decision : report.decisions) {
      json["buckets"].push_back(to_json(decision));
    }
    const ModelQuality quality = model_quality(report.decisions);
    json["model"] = {{"rank_correlations", quality.correlations}, {"losses", quality.losses}};
    json["disturbed_rounds"] = disturbed_rounds(report);
    json["worker_restarts"] = report.restarts;
  }
  json["seconds"] = {{"wall", report.wall_seconds},
                     {"compile", report.shortlists->seconds()},
                     {"measure", report.measure_seconds},
                     {"check", report.check_seconds}};
  json["stopped"] = report.stopped;
  json["record"] = report.record;
  return json_text(json);
}

} // namespace sale::cli
