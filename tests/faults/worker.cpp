// SPDX-License-Identifier: Apache-2.0
// One process of the fault table: builds kernels through the cache with the fake compiler, compares each with what that
// compiler makes of its source, and says how it went. The driver starts many of them and does things to them.
#include "cache/store.hpp"
#include "generator/generate.hpp"
#include "runtime/kernel_factory.hpp"
#include "sale/error.hpp"
#include "tests/faults/system_calls.hpp"
#include "tests/runtime/fake_binary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <unistd.h>

namespace sale::faults {
namespace {

/// The arguments: name=value each.
class Arguments {
public:
  Arguments(int count, char **values) {
    for (int i = 1; i < count; ++i) {
      const std::string_view argument = values[i];
      const std::size_t sign = argument.find('=');
      values_[std::string(argument.substr(0, sign))] = argument.substr(sign + 1);
    }
  }
  std::string text(const std::string &name) const { return values_.at(name); }
  long number(const std::string &name) const { return std::stol(values_.at(name)); }

private:
  std::map<std::string, std::string> values_;
};

struct Wanted {
  KernelRequest request;
  std::string binary;
};

std::string expected_binary(const KernelRequest &request) {
  const char *digits = std::getenv("FAKE_NVRTC_DIGITS");
  const std::string options = compile_options_text(request.spec.arch, request.kind);
  const std::string spaced =
      fmt::format(" {} --no-cache", options); // The compiler adds that to what decides the binary.
  std::string binary =
      fake_binary(generate(request.spec), spaced, digits != nullptr ? std::strtoul(digits, nullptr, 10) : 0);
  binary += '\0'; // As the compiler's texts end.
  return binary;
}

std::vector<Wanted> wanted_kernels(std::size_t count) {
  std::vector<Wanted> all;
  for (const BinaryKind kind : {BinaryKind::cubin, BinaryKind::ptx}) {
    for (const Arch arch : {Arch{9, 0}, Arch{8, 9}, Arch{8, 0}}) {
      for (const KernelSpec &spec : plan_kernels({}, {}, arch)) {
        if (all.size() < count) {
          const KernelRequest request{spec, kind};
          all.push_back({request, expected_binary(request)});
        }
      }
    }
  }
  return all;
}

/// What came of all calls, from any thread.
class Outcome {
public:
  void call(const std::vector<BuiltKernel> &built, const std::string &expected) {
    ++calls;
    const std::vector<unsigned char> &binary = built.at(0).entry->binary;
    if (!std::equal(binary.begin(), binary.end(), expected.begin(), expected.end(),
                    [](unsigned char a, char b) { return a == static_cast<unsigned char>(b); })) {
      ++wrong;
    }
  }
  void lose(const char *why) {
    ++calls;
    ++lost;
    const std::scoped_lock lock(mutex_);
    problem_ = why;
  }
  void took(double milliseconds) {
    const std::scoped_lock lock(mutex_);
    longest_ = std::max(longest_, milliseconds);
  }
  double longest() const { return longest_; }
  const std::string &problem() const { return problem_; }

  std::atomic<long> calls{0};
  std::atomic<long> lost{0};
  std::atomic<long> wrong{0};
  std::atomic<long> warnings{0};

private:
  std::mutex mutex_;
  double longest_ = 0;
  std::string problem_;
};

class Worker {
public:
  explicit Worker(const Arguments &arguments)
      : arguments_(arguments), kernels_(wanted_kernels(static_cast<std::size_t>(arguments.number("keys")))) {}

  Outcome &run() {
    for (long i = 0; i < arguments_.number("repeat"); ++i) {
      // Several in one process, as Engines of several devices are.
      const KernelFactory one(options());
      const KernelFactory two(options());
      const bool both = arguments_.number("factories") == 2;
      std::vector<std::thread> threads;
      for (long t = 0; t < arguments_.number("threads"); ++t) {
        threads.emplace_back([this, t, &factory = both && t % 2 == 1 ? two : one] { build_all(factory, t); });
      }
      for (std::thread &thread : threads) {
        thread.join();
      }
    }
    return outcome_;
  }

  /// Puts another kernel in the place of each, as an attacker would.
  void plant() {
    const Store store({.root = arguments_.text("cache")}, [](const std::string &) {});
    for (const Wanted &kernel : kernels_) {
      Entry entry = *KernelFactory(options()).build({kernel.request}).at(0).entry;
      entry.binary = {'E', 'V', 'I', 'L'};
      store.publish(entry);
    }
  }

private:
  Options options() {
    Options options;
    options.nvrtc = arguments_.text("nvrtc");
    options.cache_dir = arguments_.text("cache");
    options.system_cache_dir = "/nonexistent";
    options.cache_max_files = static_cast<std::uint64_t>(arguments_.number("max_files"));
    options.log = [this](LogLevel, const std::string &sentence) {
      ++outcome_.warnings;
      if (std::getenv("FAULTS_WARNINGS") != nullptr) {
        fmt::print(stderr, "{}: {}\n", ::getpid(), sentence);
      }
    };
    return options;
  }

  void build_all(const KernelFactory &factory, long first) {
    for (std::size_t i = 0; i < kernels_.size(); ++i) {
      const Wanted &kernel = kernels_[(i + static_cast<std::size_t>(first)) % kernels_.size()];
      const auto start = std::chrono::steady_clock::now();
      try {
        outcome_.call(factory.build({kernel.request}), kernel.binary);
      } catch (const std::exception &error) {
        outcome_.lose(error.what());
      }
      outcome_.took(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
  }

  const Arguments &arguments_;
  std::vector<Wanted> kernels_;
  Outcome outcome_;
};

/// Tells the driver on standard output, then waits until it closes standard input.
void wait_for_the_start() {
  fmt::print("ready\n");
  std::fflush(stdout);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

int run(const Arguments &arguments) {
  Worker worker(arguments);
  wait_for_the_start();
  if (arguments.number("plant") != 0) {
    worker.plant();
    return 0;
  }
  arm({.at = arguments.number("fault_at"),
       .error = static_cast<int>(arguments.number("fault_error")),
       .from_then = arguments.number("fault_from_then") != 0});
  const Outcome &outcome = worker.run();
  fmt::print("{} {} {} {} {:.1f} {} {}\n", outcome.calls.load(), outcome.lost.load(), outcome.wrong.load(),
             outcome.warnings.load(), outcome.longest(), counted_calls(), outcome.problem());
  return 0;
}

} // namespace
} // namespace sale::faults

int main(int argc, char **argv) {
  try {
    ::alarm(120); // A worker that hangs is one that was lost.
    return sale::faults::run(sale::faults::Arguments(argc, argv));
  } catch (const std::exception &error) {
    fmt::print(stderr, "worker: {}\n", error.what());
    return 1;
  }
}
