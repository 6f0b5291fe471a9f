// SPDX-License-Identifier: Apache-2.0
// A libnvrtc.so that "compiles" at once: the binary is the options in text. A source that contains FAKE_ERROR is
// refused. Built as libnvrtc.so.13 of version 13.0; of version 13.1, with no flow callback; and of version 13.9 whose
// builtins do not match. In the environment, FAKE_NVRTC_MS is how long a compile takes, FAKE_NVRTC_DIGITS how many
// digits of the source's own the binary has, and FAKE_NVRTC_LOG a file to which each compile adds a line.
#include "tests/runtime/fake_binary.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

struct _nvrtcProgram {
  std::string source;
  std::string log;
  std::string binary;
  int (*flow)(void *, void *) = nullptr;
  void *payload = nullptr;
};

namespace {

std::atomic<int> compiles{0};
std::atomic<int> ended_early{0};
std::atomic<long> milliseconds{0}; // on top of FAKE_NVRTC_MS
std::atomic<int> running{0};
std::atomic<int> most_running{0};

constexpr const char *resources = "ptxas info    : Used 40 registers, used 1 barriers, 16 bytes smem\n"
                                  "    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n";

long number(const char *variable) {
  const char *value = std::getenv(variable);
  return value != nullptr ? std::strtol(value, nullptr, 10) : 0;
}

// False when the flow callback ended it.
bool take_time(const _nvrtcProgram &program) {
  const auto takes = std::chrono::milliseconds(number("FAKE_NVRTC_MS") + milliseconds);
  const auto end = std::chrono::steady_clock::now() + takes;
  do {
    if (program.flow != nullptr && program.flow(program.payload, nullptr) != 0) {
      ++ended_early;
      return false;
    }
    std::this_thread::sleep_for(takes / 50);
  } while (std::chrono::steady_clock::now() < end);
  return true;
}

// In one write, so that lines of several processes do not mix.
void log_compile(const std::string &source, const std::string &options) {
  const char *path = std::getenv("FAKE_NVRTC_LOG");
  const int file = path != nullptr ? ::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  if (file < 0) {
    return;
  }
  char line[64];
  const int size = std::snprintf(line, sizeof line, "%016llx %d\n",
                                 static_cast<unsigned long long>(fake_hash(source + options)), ::getpid());
  if (::write(file, line, static_cast<std::size_t>(size)) != size) {
    std::perror(path);
  }
  ::close(file);
}

} // namespace

extern "C" {

int fake_nvrtc_compiles() { return compiles; }
int fake_nvrtc_ended_early() { return ended_early; }
int fake_nvrtc_most_running() { return most_running; }
void fake_nvrtc_take(int of_each_compile) {
  milliseconds = of_each_compile;
  most_running = 0;
}

int nvrtcVersion(int *major, int *minor) {
  *major = 13;
  *minor = FAKE_NVRTC_MINOR;
  return 0;
}
int nvrtcGetNumSupportedArchs(int *count) {
  *count = 3;
  return 0;
}
int nvrtcGetSupportedArchs(int *archs) {
  archs[0] = 80;
  archs[1] = 89;
  archs[2] = 90;
  return 0;
}
int nvrtcCreateProgram(_nvrtcProgram **program, const char *source, const char *, int, const char *const *,
                       const char *const *) {
  *program = new _nvrtcProgram{source, {}, {}, nullptr, nullptr};
  return 0;
}
int nvrtcDestroyProgram(_nvrtcProgram **program) {
  delete *program;
  *program = nullptr;
  return 0;
}
#if FAKE_NVRTC_MINOR != 1
int nvrtcSetFlowCallback(_nvrtcProgram *program, int (*callback)(void *, void *), void *payload) {
  program->flow = callback;
  program->payload = payload;
  return 0;
}
#endif
int nvrtcCompileProgram(_nvrtcProgram *program, int count, const char *const *options) {
  ++compiles;
  if (program->source.find("FAKE_ERROR") != std::string::npos) {
    program->log = "sale_kernel.cu(1): error: FAKE_ERROR\n";
    return 6;
  }
  program->log = resources;
  std::string spaced;
  for (int i = 0; i < count; ++i) {
    spaced += std::string(" ") + options[i];
  }
  log_compile(program->source, spaced);
  const int now = ++running;
  most_running = std::max<int>(most_running, now);
  const bool finished = take_time(*program);
  --running;
  if (!finished) {
    return 16;
  }
  program->binary = fake_binary(program->source, spaced, static_cast<std::size_t>(number("FAKE_NVRTC_DIGITS")));
  return 0;
}
int nvrtcGetProgramLogSize(_nvrtcProgram *program, std::size_t *bytes) {
  *bytes = program->log.size() + 1;
  return 0;
}
int nvrtcGetProgramLog(_nvrtcProgram *program, char *text) {
  std::strcpy(text, program->log.c_str());
  return 0;
}
int nvrtcGetCUBINSize(_nvrtcProgram *program, std::size_t *bytes) {
  *bytes = program->binary.size() + 1;
  return 0;
}
int nvrtcGetCUBIN(_nvrtcProgram *program, char *bytes) {
  std::strcpy(bytes, program->binary.c_str());
  return 0;
}
int nvrtcGetPTXSize(_nvrtcProgram *program, std::size_t *bytes) { return nvrtcGetCUBINSize(program, bytes); }
int nvrtcGetPTX(_nvrtcProgram *program, char *bytes) { return nvrtcGetCUBIN(program, bytes); }
const char *nvrtcGetErrorString(int result) { return result == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_FAKE"; }

} // extern "C"
