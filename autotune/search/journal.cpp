// SPDX-License-Identifier: Apache-2.0
#include "autotune/search/journal.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale::autotune {

namespace {

using nlohmann::json;

constexpr off_t most_bytes = 16 << 20;

json to_json(const Tile &tile) {
  return {tile.rows_per_warp, tile.warps, tile.keys_per_step, tile.stages, tile.min_ctas};
}

Tile tile_from(const json &from) {
  return {from.at(0).get<int>(), from.at(1).get<int>(), from.at(2).get<int>(), from.at(3).get<int>(),
          from.at(4).get<int>()};
}

json to_json(const CandidateResult &result) {
  return {{"tile", to_json(result.tile)},
          {"model_ms", result.model_ms},
          {"first_ms", result.first_ms},
          {"ratio", result.ratio},
          {"rounds", result.rounds},
          {"outcome", static_cast<int>(result.outcome)},
          {"why", result.why}};
}

CandidateResult candidate_from(const json &from) {
  CandidateResult result;
  result.tile = tile_from(from.at("tile"));
  result.model_ms = from.at("model_ms").get<double>();
  result.first_ms = from.at("first_ms").get<double>();
  result.ratio = from.at("ratio").get<double>();
  result.rounds = from.at("rounds").get<int>();
  const int outcome = from.at("outcome").get<int>();
  if (outcome < 0 || outcome > static_cast<int>(Outcome::hung)) {
    throw std::out_of_range("outcome");
  }
  result.outcome = static_cast<Outcome>(outcome);
  result.why = from.at("why").get<std::string>();
  return result;
}

std::string line_of(const std::string &name, const Decision &decision) {
  json line = {{"name", name},
               {"tile", to_json(decision.tile)},
               {"is_default", decision.is_default},
               {"default_ms", decision.default_ms},
               {"best_ms", decision.best_ms},
               {"ratio", decision.ratio},
               {"band", decision.band},
               {"rounds", decision.rounds},
               {"disturbed", decision.disturbed},
               {"seconds", decision.seconds},
               {"left_out", decision.left_out},
               {"candidates", json::array()}};
  for (const CandidateResult &result : decision.candidates) {
    line["candidates"].push_back(to_json(result));
  }
  // What a driver says need not be UTF-8.
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Nothing where the line is damaged.
std::optional<JournalLine> parse_line(std::string_view text) {
  const json line = json::parse(text, nullptr, false);
  if (line.is_discarded()) {
    return std::nullopt;
  }
  try {
    JournalLine read;
    read.name = line.at("name").get<std::string>();
    Decision &decision = read.decision;
    decision.tile = tile_from(line.at("tile"));
    decision.is_default = line.at("is_default").get<bool>();
    decision.default_ms = line.at("default_ms").get<double>();
    decision.best_ms = line.at("best_ms").get<double>();
    decision.ratio = line.at("ratio").get<double>();
    decision.band = line.at("band").get<double>();
    decision.rounds = line.at("rounds").get<int>();
    decision.disturbed = line.at("disturbed").get<int>();
    decision.seconds = line.at("seconds").get<double>();
    decision.left_out = line.at("left_out").get<std::string>();
    for (const json &candidate : line.at("candidates")) {
      decision.candidates.push_back(candidate_from(candidate));
    }
    return read;
  } catch (const std::exception &) { // json's and ours alike: the line is none of ours
    return std::nullopt;
  }
}

[[noreturn]] void fail(const std::filesystem::path &file, const char *what) {
  throw Error(ErrorKind::io, fmt::format("{} cannot be {}: {}", file.string(), what, std::strerror(errno)));
}

std::string read_all(int descriptor, const std::filesystem::path &file) {
  struct stat facts{};
  if (::fstat(descriptor, &facts) != 0) {
    fail(file, "read");
  }
  if (!S_ISREG(facts.st_mode) || facts.st_size > most_bytes) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{} is no journal of sale tune", file.string()));
  }
  std::string text(static_cast<std::size_t>(facts.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = ::pread(descriptor, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno != EINTR) {
      fail(file, "read");
    }
    if (got == 0) {
      break;
    }
    done += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  text.resize(done);
  return text;
}

} // namespace

Journal::Journal(std::filesystem::path file, const std::string &asked, bool resume) : file_(std::move(file)) {
  const std::string header = json{{"asked", asked}}.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  if (resume && !std::filesystem::exists(file_)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} is not there, so there is nothing to resume", file_.string()),
                {.advice = "leave out --resume"});
  }
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0644);
  if (descriptor_ < 0) {
    fail(file_, "opened");
  }
  try {
    std::size_t keep = 0;
    if (resume) {
      const std::string text = read_all(descriptor_, file_);
      if (text.compare(0, header.size(), header) != 0) {
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("{} is of a run that was asked something else, or elsewhere, or of another version",
                                file_.string()),
                    {.advice = "leave out --resume to begin anew"});
      }
      keep = header.size();
      for (std::size_t end = 0; (end = text.find('\n', keep)) != std::string::npos; keep = end + 1) {
        std::optional<JournalLine> line = parse_line(std::string_view(text).substr(keep, end - keep));
        if (!line) {
          break;
        }
        lines_.push_back(std::move(*line));
      }
    }
    if (::ftruncate(descriptor_, static_cast<off_t>(keep)) != 0) {
      fail(file_, "cut");
    }
    if (!resume) {
      append(header);
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

Journal::~Journal() { ::close(descriptor_); }

void Journal::add(const std::string &name, const Decision &decision) { append(line_of(name, decision)); }

void Journal::append(const std::string &line) const {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t wrote = ::write(descriptor_, line.data() + done, line.size() - done);
    if (wrote < 0 && errno != EINTR) {
      fail(file_, "written");
    }
    done += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
  }
  if (::fdatasync(descriptor_) != 0) {
    fail(file_, "written");
  }
}

} // namespace sale::autotune
