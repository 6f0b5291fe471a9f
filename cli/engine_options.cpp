// SPDX-License-Identifier: Apache-2.0
#include "cli/engine_options.hpp"

#include "cache/directory.hpp"
#include "cli/command.hpp"

namespace sale::cli {

void EngineOptions::add_cache_dir_to(CLI::App &app) {
  app.add_option("--cache-dir", cache_dir,
                 "Kernel cache (default SALE_CACHE_DIR, else XDG_CACHE_HOME/sale, else ~/.cache/sale)");
}

void EngineOptions::add_nvrtc_to(CLI::App &app) {
  app.add_option("--nvrtc", nvrtc,
                 "libnvrtc.so or its folder (default: SALE_NVRTC, CUDA_HOME, loader's path, pip wheels)");
}

void EngineOptions::add_driver_to(CLI::App &app) {
  app.add_option("--cuda-driver", cuda_driver, "libcuda.so.1 (default: the loader's path)");
}

void EngineOptions::add_jobs_to(CLI::App &app) {
  app.add_option("--jobs", jobs, "Kernels compiled at once; 0 = one per core")->check(CLI::Range(0, 1024));
}

Options EngineOptions::resolve() const {
  Options options;
  options.nvrtc = nvrtc;
  options.cuda_driver = cuda_driver;
  options.cache_dir = cache_dir;
  options.jobs = jobs;
  return options;
}

std::filesystem::path EngineOptions::cache_folder() const {
  std::filesystem::path folder = cache_dir.empty() ? default_cache_dir() : std::filesystem::path(cache_dir);
  if (folder.empty()) {
    throw Error(ErrorKind::invalid_argument,
                "no cache folder is known: set SALE_CACHE_DIR or HOME, or give --cache-dir");
  }
  return folder;
}

} // namespace sale::cli
