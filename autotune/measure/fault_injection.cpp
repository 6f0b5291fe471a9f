// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/fault_injection.hpp"

#include "runtime/compiler.hpp"
#include "runtime/driver.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace sale::autotune {

namespace {

// The loop reads memory that might change, so that no compiler may leave it out.
constexpr const char *source = R"(
extern "C" __global__ void hang(volatile unsigned *word) { while (*word == 0) {} }
extern "C" __global__ void poison(volatile unsigned *word) { word[threadIdx.x] = 1; }
)";

constexpr std::array<std::pair<const char *, Fault::Kind>, 4> kinds = {{{"hang", Fault::Kind::hang},
                                                                        {"poison", Fault::Kind::poison},
                                                                        {"crash", Fault::Kind::crash},
                                                                        {"wrong", Fault::Kind::wrong}}};

} // namespace

Fault parse_fault(const std::string &text) {
  const std::size_t colon = text.find(':');
  if (colon != std::string::npos) {
    Fault fault;
    Tile &tile = fault.tile;
    int end = 0;
    // NOLINTNEXTLINE(cert-err34-c): numbers too large are no tile's either
    const int found = std::sscanf(text.c_str() + colon, ":%dx%d/%d/%d/%d%n", &tile.rows_per_warp, &tile.warps,
                                  &tile.keys_per_step, &tile.stages, &tile.min_ctas, &end);
    for (const auto &[name, kind] : kinds) {
      if (text.compare(0, colon, name) == 0 && found == 5 && colon + static_cast<std::size_t>(end) == text.size()) {
        fault.kind = kind;
        return fault;
      }
    }
  }
  throw Error(ErrorKind::invalid_argument,
              fmt::format("SALE_TUNE_FAULT is {:?}, which is not like hang:16x8/128/3/1", text),
              {.advice = "before the tile (rows per warp x warps / keys / stages / CTAs) stands hang, poison, crash or "
                         "wrong"});
}

FaultInjection::FaultInjection(Measurer &measurer, const Fault &fault, Options options)
    : measurer_(measurer), fault_(fault), options_(std::move(options)) {}

// As long as one call's tiles are there.
class FaultInjection::Listening {
public:
  Listening(FaultInjection &of, const std::vector<Tile> &tiles) : measurer_(of.measurer_) {
    measurer_.listen([&of, &tiles](const Step &step) {
      of.begin(step);
      if (step.work == Work::run && step.tile >= 0 && tiles[static_cast<std::size_t>(step.tile)] == of.fault_.tile) {
        of.come();
      }
    });
  }
  ~Listening() { measurer_.listen({}); }
  Listening(const Listening &) = delete;
  Listening &operator=(const Listening &) = delete;

private:
  Measurer &measurer_;
};

void FaultInjection::come() {
  switch (fault_.kind) {
  case Fault::Kind::hang: return run_kernel("hang");
  case Fault::Kind::poison: return run_kernel("poison");
  case Fault::Kind::crash: std::abort();
  case Fault::Kind::wrong: return; // it is said of the result
  }
}

void FaultInjection::run_kernel(const char *name) {
  const auto driver = Driver::open(options_.cuda_driver);
  const cu::Api &api = driver->api;
  const Compiler compiler(Nvrtc::open(locate_nvrtc(options_.nvrtc)));
  const CompiledKernel compiled = compiler.compile(source, measurer_.gpu().arch, BinaryKind::cubin, name);
  // The measurer's context is current while it works. What is loaded and allocated here stays: the process is lost.
  cu::Module module = nullptr;
  cu::Function function = nullptr;
  driver->check(api.module_load(&module, compiled.binary.data(), 0, nullptr, nullptr), "cuModuleLoadDataEx");
  driver->check(api.module_function(&function, module, name), "cuModuleGetFunction");
  cu::Address word = 16; // no memory is there
  if (fault_.kind == Fault::Kind::hang) {
    driver->check(api.memory_allocate(&word, sizeof(unsigned)), "cuMemAlloc");
    driver->check(api.fill_words(word, 0, 1, nullptr), "cuMemsetD32Async");
  }
  std::array<void *, 1> arguments = {&word};
  driver->check(api.launch(function, 1, 1, 1, 32, 1, 1, 0, nullptr, arguments.data(), nullptr), "cuLaunchKernel");
  driver->check(api.stream_synchronize(nullptr), "cuStreamSynchronize");
}

void FaultInjection::note_wrong(const Tile &tile, Measurement &measurement) const {
  if (fault_.kind == Fault::Kind::wrong && tile == fault_.tile && measurement.outcome == Outcome::good) {
    measurement = {Outcome::wrong, "SALE_TUNE_FAULT says so", {}};
  }
}

Rounds FaultInjection::measure(const Task &task, const std::vector<Tile> &tiles, int rounds) {
  const Listening listening(*this, tiles);
  Rounds measured = measurer_.measure(task, tiles, rounds);
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    note_wrong(tiles[i], measured.of.at(i));
  }
  return measured;
}

Measurement FaultInjection::check(const Task &task, const Tile &tile) {
  const std::vector<Tile> tiles = {tile};
  const Listening listening(*this, tiles);
  Measurement checked = measurer_.check(task, tile);
  note_wrong(tile, checked);
  return checked;
}

} // namespace sale::autotune
