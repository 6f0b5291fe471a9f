// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/clang.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

extern char **environ;

namespace sale::emulator {

namespace {

// A file in memory: unlike a pipe it never blocks the one who writes.
class MemoryFile {
public:
  explicit MemoryFile(const char *name) : file_(memfd_create(name, MFD_CLOEXEC)) {
    if (file_ < 0) {
      throw Error(ErrorKind::io, fmt::format("memory for clang's input and output is missing: {}", strerror(errno)));
    }
  }
  ~MemoryFile() { close(file_); }
  MemoryFile(const MemoryFile &) = delete;
  MemoryFile &operator=(const MemoryFile &) = delete;

  int file() const { return file_; }

  void write(const std::string &text) {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = pwrite(file_, text.data() + done, text.size() - done, static_cast<off_t>(done));
      if (n < 0 && errno != EINTR) {
        throw Error(ErrorKind::io, fmt::format("the source cannot be handed to clang: {}", strerror(errno)));
      }
      done += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
  }

  std::string read() const {
    struct stat status = {};
    fstat(file_, &status);
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t n = pread(file_, text.data() + done, text.size() - done, static_cast<off_t>(done));
      if (n < 0 && errno == EINTR) {
        continue;
      }
      if (n <= 0) {
        throw Error(ErrorKind::io, "clang's output cannot be read");
      }
      done += static_cast<std::size_t>(n);
    }
    return text;
  }

private:
  int file_;
};

std::string clang_path() {
  const char *chosen = std::getenv("SALE_CLANG");
  if (chosen != nullptr && *chosen != '\0') {
    return chosen;
  }
  return access(SALE_CLANG, X_OK) == 0 ? SALE_CLANG : "clang-19";
}

// Its status as waitpid gives it.
int run(const std::string &program, const MemoryFile &in, const MemoryFile &out, const MemoryFile &messages) {
  // Contraction off: what is fused is then up to the source, not to the machine that emulates.
  static constexpr std::array arguments = {"-x",
                                           "cuda",
                                           "--cuda-device-only",
                                           "--cuda-gpu-arch=sm_90a",
                                           "-nocudainc",
                                           "-nocudalib",
                                           "-nostdinc",
                                           "-std=c++17",
                                           "-Wno-unknown-cuda-version",
                                           "-ffp-contract=off",
                                           "-O1",
                                           "-gline-tables-only",
                                           "-Xclang",
                                           "-disable-llvm-passes",
                                           "-Xclang",
                                           "-disable-lifetime-markers",
                                           "-emit-llvm",
                                           "-c",
                                           "-o",
                                           "-",
                                           "-"};
  std::array<char *, arguments.size() + 2> argv = {const_cast<char *>(program.c_str())};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    argv[i + 1] = const_cast<char *>(arguments[i]);
  }
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in.file(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out.file(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, messages.file(), STDERR_FILENO);
  pid_t child = 0;
  const int error = posix_spawnp(&child, program.c_str(), &files, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    throw Error(ErrorKind::not_found, fmt::format("the emulator cannot run {}: {}", program, strerror(error)),
                {.where = "posix_spawn", .advice = "install the package clang-19 or name another clang in SALE_CLANG"});
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// The first line with an error, for the sentence; the rest is in the log.
std::string first_error(const std::string &log) {
  const std::size_t found = log.find("error: ");
  const std::size_t begin = found == std::string::npos ? 0 : log.rfind('\n', found) + 1;
  return log.substr(begin, log.find('\n', begin) - begin);
}

} // namespace

std::string compile_to_bitcode(const std::string &source) {
  MemoryFile in("sale-source");
  const MemoryFile out("sale-bitcode");
  const MemoryFile messages("sale-messages");
  in.write(source);
  const std::string program = clang_path();
  const int status = run(program, in, out, messages);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::string log = messages.read();
    const std::string what = WIFSIGNALED(status) ? fmt::format("{} was killed by signal {}", program, WTERMSIG(status))
                                                 : fmt::format("{} refused the source: {}", program, first_error(log));
    throw Error(ErrorKind::compile, what, {.where = program, .log = std::move(log)});
  }
  return out.read();
}

} // namespace sale::emulator
