// SPDX-License-Identifier: Apache-2.0
#include "runtime/compiler.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace sale {

namespace {

// The same on every machine, so that no path gets into a binary.
constexpr const char *program_name = "sale_kernel.cu";

// The sources are libsale's own, so that no caller can put them right.
constexpr const char *bug_advice = "this is a bug of libsale; please report it with the output of `sale generate`";
constexpr const char *out_of_memory_advice = "free host memory or compile fewer kernels at once (Options.jobs, --jobs)";

class Program {
public:
  explicit Program(const nvrtc::Api &api) : api_(api) {}
  ~Program() {
    if (handle != nullptr) {
      api_.destroy(&handle);
    }
  }
  Program(const Program &) = delete;
  Program &operator=(const Program &) = delete;

  nvrtc::Program handle = nullptr;

private:
  const nvrtc::Api &api_;
};

std::string first_error_line(const std::string &log) {
  std::size_t at = log.find("error");
  if (at == std::string::npos) {
    return log.substr(0, log.find('\n'));
  }
  at = log.rfind('\n', at) + 1;
  return log.substr(at, log.find('\n', at) - at);
}

void check_arch(const Nvrtc &nvrtc, const Arch &arch, const ErrorDetails &details) {
  const std::vector<int> &known = nvrtc.archs();
  if (std::find(known.begin(), known.end(), 10 * arch.major + arch.minor) != known.end()) {
    return;
  }
  ErrorDetails explained = details;
  explained.where = "nvrtcGetSupportedArchs";
  explained.advice = "a newer NVRTC (`pip install nvidia-cuda-nvrtc`) may have it";
  throw Error(ErrorKind::compile,
              fmt::format("NVRTC {} ({}) does not compile for {}; it has sm_{}", nvrtc.version(),
                          nvrtc.files().library.string(), arch.name(), fmt::join(known, ", sm_")),
              std::move(explained));
}

} // namespace

std::string target_name(const Arch &arch, BinaryKind kind) {
  return kind == BinaryKind::ptx ? arch.virtual_name() : arch.name();
}

std::vector<std::string> compile_options(const Arch &arch, BinaryKind kind) {
  if (kind == BinaryKind::source) {
    return {};
  }
  // The stack limit belongs to the whole process, which is the host application's.
  std::vector<std::string> options = {"--gpu-architecture=" + target_name(arch, kind), "--std=c++17",
                                      "--modify-stack-limit=false"};
  if (kind == BinaryKind::cubin) {
    options.emplace_back("--ptxas-options=-v");
  }
  return options;
}

std::string compile_options_text(const Arch &arch, BinaryKind kind) {
  return fmt::format("{}", fmt::join(compile_options(arch, kind), " "));
}

CompiledKernel Compiler::compile(const std::string &source, const Arch &arch, BinaryKind kind, const std::string &spec,
                                 CompileGuard *guard) const {
  const auto start = std::chrono::steady_clock::now();
  const nvrtc::Api &api = nvrtc_->api;
  const std::vector<std::string> options = compile_options(arch, kind);
  ErrorDetails details{.options = compile_options_text(arch, kind), .spec = spec};
  check_arch(*nvrtc_, arch, details);

  const auto check = [&](nvrtc::Result result, const char *call) {
    if (result != nvrtc::success) {
      details.where = call;
      details.advice = result == nvrtc::error_out_of_memory ? out_of_memory_advice : bug_advice;
      throw Error(ErrorKind::compile,
                  fmt::format("{} failed with {} for {}{}{}", call, api.error_string(result), spec,
                              details.log.empty() ? "" : ": ", first_error_line(details.log)),
                  details);
    }
  };
  Program program(api);
  check(api.create(&program.handle, source.c_str(), program_name, 0, nullptr, nullptr), "nvrtcCreateProgram");
  std::vector<const char *> arguments;
  arguments.reserve(options.size() + 1);
  for (const std::string &option : options) {
    arguments.push_back(option.c_str());
  }
  if (nvrtc_->caches()) {
    arguments.push_back("--no-cache"); // what it has cached comes without the log that tells registers and spills
  }
  if (guard != nullptr && api.set_flow_callback != nullptr) {
    check(api.set_flow_callback(program.handle, &CompileGuard::callback, guard), "nvrtcSetFlowCallback");
  }
  const nvrtc::Result compiled = api.compile(program.handle, static_cast<int>(arguments.size()), arguments.data());
  if (compiled != nvrtc::success && guard != nullptr && guard->stopped()) {
    guard->fail(spec);
  }

  CompiledKernel kernel;
  std::size_t bytes = 0;
  if (api.log_size(program.handle, &bytes) == nvrtc::success && bytes > 1) {
    kernel.log.resize(bytes);
    check(api.log(program.handle, kernel.log.data()), "nvrtcGetProgramLog");
    kernel.log.resize(bytes - 1); // NVRTC counts the terminating zero.
  }
  details.log = kernel.log;
  check(compiled, "nvrtcCompileProgram");
  if (kind == BinaryKind::cubin) {
    check(api.cubin_size(program.handle, &bytes), "nvrtcGetCUBINSize");
    kernel.binary.resize(bytes);
    check(api.cubin(program.handle, reinterpret_cast<char *>(kernel.binary.data())), "nvrtcGetCUBIN");
    kernel.resources = parse_ptxas_log(kernel.log);
  } else {
    check(api.ptx_size(program.handle, &bytes), "nvrtcGetPTXSize");
    kernel.binary.resize(bytes);
    check(api.ptx(program.handle, reinterpret_cast<char *>(kernel.binary.data())), "nvrtcGetPTX");
  }
  if (kernel.binary.empty()) {
    details.where = "nvrtcCompileProgram";
    details.advice = bug_advice;
    throw Error(ErrorKind::compile, fmt::format("NVRTC gave no {} for {}", to_string(kind), spec), details);
  }
  kernel.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return kernel;
}

} // namespace sale
