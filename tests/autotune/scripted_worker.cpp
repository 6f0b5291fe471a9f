// SPDX-License-Identifier: Apache-2.0
// A worker that measures nothing: scripted_worker FAULT:WARPS... A tile of so many warps meets the fault; each round
// gives as many milliseconds as the tile has warps. Faults of warps 0 come without a tile.
#include "autotune/measure/worker_loop.hpp"
#include "sale/error.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

using namespace sale;
using namespace sale::autotune;

class Scripted : public Measurer {
public:
  Scripted(std::vector<std::string> script, int output) : script_(std::move(script)), output_(output) {}

  GpuId gpu() override {
    meet(0, "at-start");
    return {"Scripted GPU", parse_arch("sm_90a"), 132};
  }
  TuningFacts facts() override {
    std::printf("what a library prints\n"); // must not come between answers
    std::fflush(stdout);
    return {{"process", std::to_string(::getpid())}};
  }
  GpuParameters parameters() override { return {.multiprocessors = 132, .clock_ghz = 1.5, .measured = true}; }

  Rounds measure(const Task &task, const std::vector<Tile> &tiles, int rounds) override {
    begin({Work::data});
    meet(0, "in-data");
    if (task.tokens > 1 << 20) {
      throw Error(ErrorKind::load, "calls are too long");
    }
    Rounds result;
    result.disturbed = 1;
    result.of.resize(tiles.size());
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      begin({Work::load, static_cast<int>(i)});
    }
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < tiles.size() && !spent; ++i) {
        begin({Work::run, static_cast<int>(i)});
        result.of[i] = run(tiles[i], std::move(result.of[i]));
      }
    }
    return result;
  }
  Measurement check(const Task & /*task*/, const Tile &tile) override {
    begin({Work::oracle, 0});
    return run(tile, {});
  }

  // A policy meets the fault of as many warps as its window has keys.
  PolicyRounds time_policies(const PolicyCalls &calls, int rounds) override {
    begin({Work::data});
    meet(0, "in-data");
    PolicyRounds result;
    result.rounds.disturbed = 2;
    for (std::size_t i = 0; i < calls.policies.size() && !has("short-answer", 0); ++i) {
      begin({Work::run, static_cast<int>(i)});
      Measurement &of = result.rounds.of.emplace_back();
      for (int round = 0; round < rounds && !spent; ++round) {
        of = run({.warps = calls.policies[i].window}, std::move(of));
      }
      result.density.push_back(of.ms.empty() ? 0 : 0.25);
    }
    return result;
  }

  bool spent = false;

private:
  bool has(const std::string &fault, int warps) const {
    for (const std::string &word : script_) {
      if (word == fault + ":" + std::to_string(warps)) {
        return true;
      }
    }
    return false;
  }
  void say(const std::string &text) const {
    if (::write(output_, text.data(), text.size()) < 0) {
      std::abort();
    }
  }
  void meet(int warps, const std::string &place) const {
    if (has("die-" + place, warps)) {
      std::fprintf(stderr, "no device is left\n");
      std::exit(1);
    }
  }
  Measurement run(const Tile &tile, Measurement measurement) {
    const int warps = tile.warps;
    if (has("hang", warps)) {
      ::pause();
    }
    if (has("crash", warps)) {
      std::fprintf(stderr, "assertion failed\n");
      std::abort();
    }
    if (has("garbage", warps)) {
      say("{\"begins\": 3\n");
    }
    if (has("unknown-tile", warps)) {
      begin({Work::run, 77});
    }
    if (has("endless", warps)) {
      for (;;) {
        say(std::string(1 << 16, 'x'));
      }
    }
    if (has("poison", warps)) {
      spent = true;
      return {Outcome::failed, "an illegal address", {}};
    }
    if (has("wrong", warps)) {
      return {Outcome::wrong, "it differs", {}};
    }
    measurement.ms.push_back(warps);
    return measurement;
  }

  std::vector<std::string> script_;
  int output_;
};

} // namespace

int main(int argc, char **argv) {
  end_with_parent();
  const int output = take_standard_output();
  Scripted measurer(std::vector<std::string>(argv + 1, argv + argc), output);
  serve(STDIN_FILENO, output, measurer, [&] { return measurer.spent; });
}
