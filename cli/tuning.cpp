// SPDX-License-Identifier: Apache-2.0
// sale tuning list|show|merge|diff|export|import: the records that `sale tune` writes (docs/tuning.md).
#include "autotune/record/edit.hpp"
#include "autotune/record/layers.hpp"
#include "autotune/record/record.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/text.hpp"
#include "cli/tuning_options.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>

namespace sale::cli {

namespace {

namespace fs = std::filesystem;
using autotune::TuningDifference;

struct TuningCommand {
  std::string file;
  std::vector<std::string> files;
  std::string output;
  std::string gpu;
  std::string arch;
  std::string kernel;
  bool drop_others = false;
};

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

std::size_t kernels_of(const TuningRecord &record) {
  std::size_t kernels = 0;
  for (const GpuTuning &gpu : record.gpus) {
    kernels += gpu.kernels.size();
  }
  return kernels;
}

std::string gpus_text(const TuningRecord &record) {
  std::vector<std::string> gpus;
  std::transform(record.gpus.begin(), record.gpus.end(), std::back_inserter(gpus),
                 [](const GpuTuning &gpu) { return fmt::format("{} ({})", gpu.name, gpu.arch.name()); });
  return fmt::format("{}", fmt::join(gpus, ", "));
}

int list_layers() {
  const std::vector<autotune::LayerRecord> found = autotune::read_layers({});
  Table table({"layer", "file", "library", "GPUs", "kernels", "used"});
  for (const autotune::LayerRecord &each : found) {
    const bool read = each.record.has_value();
    table.add({each.layer, each.file, read ? each.record->library : "", read ? gpus_text(*each.record) : "",
               read ? std::to_string(kernels_of(*each.record)) : "",
               each.problem.empty() ? "yes" : fmt::format("no: {}", each.problem)});
  }
  fmt::print("{}{} records; system: {}; user: {}\n", found.empty() ? "" : table.text(), found.size(),
             autotune::system_tuning_folder({}).string(), autotune::user_tuning_folder({}).string());
  return exit_ok;
}

int show(const std::string &file) {
  TuningOptions from;
  from.tuning = file.empty() ? TuningOptions::layers : file;
  const std::shared_ptr<const TuningRecord> record = from.load();
  fmt::print("{}",
             record == nullptr ? "# no record is used: tiles are the defaults\n" : autotune::record_text(*record));
  return exit_ok;
}

int merge(const TuningCommand &asked) {
  TuningRecord all = *load_tuning(asked.files.front());
  for (std::size_t i = 1; i < asked.files.size(); ++i) {
    const std::shared_ptr<const TuningRecord> next = load_tuning(asked.files[i]);
    if (asked.drop_others && !autotune::same_kernels(all, *next)) {
      warn(fmt::format("{} is left out: it was measured with other kernels than {}", next->source, all.source));
    } else {
      all = autotune::merged(std::move(all), *next);
    }
  }
  autotune::sort_record(all);
  const std::string text = autotune::record_text(all);
  write_text(asked.output, text);
  return exit_ok;
}

std::string or_none(const std::string &tile) { return tile.empty() ? "none" : tile; }

int diff(const std::string &before_file, const std::string &after_file) {
  const std::shared_ptr<const TuningRecord> before = load_tuning(before_file);
  const std::shared_ptr<const TuningRecord> after = load_tuning(after_file);
  if (!autotune::same_kernels(*before, *after)) {
    warn(fmt::format("{} and {} were measured with different kernels", before_file, after_file));
  }
  const std::vector<TuningDifference> found = autotune::differences(*before, *after);
  if (found.empty()) {
    fmt::print("they choose the same tiles\n");
    return exit_ok;
  }
  Table table({"GPU", "kernel", "calls", "before", "after", "times"});
  for (const TuningDifference &each : found) {
    table.add({each.gpu, each.kernel, each.calls, or_none(each.before), or_none(each.after), each.times});
  }
  fmt::print("{}{} choices differ (tiles: rows per warp x warps / keys per step / stages / CTAs per SM)\n",
             table.text(), found.size());
  return exit_check_not_met;
}

int export_layers(const TuningCommand &asked) {
  const std::shared_ptr<const TuningRecord> all = TuningOptions{}.load();
  const TuningRecord chosen =
      all == nullptr ? empty_record() : autotune::only(*all, asked.gpu, asked.arch, asked.kernel);
  if (chosen.gpus.empty()) {
    refuse("the tuning layers have nothing of what is asked for; sale tuning list says what they have");
  }
  write_text(asked.output, autotune::record_text(chosen));
  return exit_ok;
}

// Of kernels that are in both: those whose tiles change.
std::size_t count_replaced(const TuningRecord &there, const TuningRecord &record) {
  std::set<std::string> kernels;
  for (const TuningDifference &each : autotune::differences(there, record)) {
    if (!each.before.empty() && !each.after.empty()) {
      kernels.insert(each.gpu + each.kernel);
    }
  }
  return kernels.size();
}

int import_file(const std::string &from) {
  const std::shared_ptr<const TuningRecord> record = load_tuning(from);
  if (!is_for_this_library(*record)) {
    refuse(fmt::format("{} was measured with other kernels (libsale {}, templates {}) than this libsale has; measure "
                       "anew with sale tune --start-from {}",
                       from, record->library, record->templates, from));
  }
  const fs::path file = autotune::user_tuning_file();
  std::error_code none;
  std::size_t replaced = 0;
  if (fs::exists(file, none)) {
    replaced = count_replaced(*load_tuning(file), *record);
  }
  const std::optional<fs::path> kept = autotune::add_to_record(file, *record);
  fmt::print("{} kernels of {} are in {}; {} of them had other tiles there\n", kernels_of(*record), gpus_text(*record),
             file.string(), replaced);
  if (kept) {
    fmt::print("what it had before, of another libsale, is in {}\n", kept->string());
  }
  return exit_ok;
}

void add_output(CLI::App &app, TuningCommand &asked) {
  app.add_option("-o,--output", asked.output, "File to write, or - for standard output")->required();
}

} // namespace

void add_tuning(CLI::App &app, Command &command) {
  auto asked = std::make_shared<TuningCommand>();
  CLI::App *tuning = app.add_subcommand("tuning", "Look at, compare and move tuning records");
  tuning->require_subcommand(1);
  const auto add = [&](const char *name, const char *help, const std::function<int(const TuningCommand &)> &action) {
    CLI::App *sub = tuning->add_subcommand(name, help);
    sub->callback([&command, asked, action] { command = [asked, action] { return action(*asked); }; });
    return sub;
  };
  add("list", "Every record of the layers, and whether it is used",
      [](const TuningCommand &) { return list_layers(); });
  add("show", "Print a record; without a file, what all layers come to",
      [](const TuningCommand &of) { return show(of.file); })
      ->add_option("FILE", asked->file, "A record")
      ->check(CLI::ExistingFile);
  CLI::App *merging = add("merge", "One record of several: later ones override earlier ones, kernel by kernel", merge);
  merging->add_option("FILES", asked->files, "Records")->required()->check(CLI::ExistingFile);
  merging->add_flag("--drop-others", asked->drop_others,
                    "Leave out records that were measured with other kernels than the first, instead of refusing them");
  add_output(*merging, *asked);
  add("diff", "Which calls two records choose other tiles for; exit code 3 if any",
      [](const TuningCommand &of) { return diff(of.files[0], of.files[1]); })
      ->add_option("FILES", asked->files, "Two records")
      ->required()
      ->expected(2)
      ->check(CLI::ExistingFile);
  CLI::App *exporting = add("export", "Write what all layers come to, or a part of it, as one record", export_layers);
  exporting->add_option("--gpu", asked->gpu, "Only of this GPU, by the name sale info gives it");
  exporting->add_option("--arch", asked->arch, "Only of this architecture, e.g. sm_90a");
  exporting->add_option("--kernel", asked->kernel, "Only of this kernel, as sale tuning show names it");
  add_output(*exporting, *asked);
  add("import", "Put a record into the user's layer", [](const TuningCommand &of) { return import_file(of.file); })
      ->add_option("FILE", asked->file, "A record")
      ->required()
      ->check(CLI::ExistingFile);
}

} // namespace sale::cli
