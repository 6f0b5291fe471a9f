// SPDX-License-Identifier: Apache-2.0
// sale_synth_tune [ARCH] LENGTH...: on a GPU, finds the Structure::sink of each tuned density and prints what
// docs/synth.md and synth/structure.cpp record.
#include "tests/synth/device_density.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>

namespace sale::synth {

namespace {

// Density falls as the sink rises. In steps of 1/1024, so that the printed number is the one measured.
double find_sink(DeviceDensity &device, Structure structure, double density) {
  int below = 512;
  int above = 2048;
  while (above - below > 1) {
    const int middle = (below + above) / 2;
    structure.sink = middle / 1024.0;
    (mean(device.measure(structure)) > density ? below : above) = middle;
  }
  return above / 1024.0;
}

void tune(int length, const Options &options) {
  DeviceDensity device(length, options);
  Structure structure = structure_for(length);
  for (const double density : {0.08, 0.1, 0.12, 0.15, 0.2, 0.3}) {
    structure.sink = find_sink(device, structure, density);
    const std::vector<double> densities = device.measure(structure);
    fmt::print("{} density {} sink {:.10g} mean {:.4f} heads {:.3f}\n", length, density, structure.sink,
               mean(densities), fmt::join(densities, " "));
    structure.sink = structure_for(length, density).sink;
    fmt::print("{} density {} as recorded: sink {:.10g} mean {:.4f}\n", length, density, structure.sink,
               mean(device.measure(structure)));
  }
  std::fflush(stdout);
}

} // namespace

} // namespace sale::synth

int main(int argc, char **argv) {
  try {
    sale::Options options;
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word.starts_with("sm_")) {
        options.arch = word;
      } else {
        sale::synth::tune(std::atoi(argv[i]), options);
      }
    }
    return 0;
  } catch (const sale::Error &error) {
    fmt::print(stderr, "sale_synth_tune: {}\n{}\n", error.what(), error.details().log);
    return 1;
  }
}
