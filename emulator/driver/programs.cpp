// SPDX-License-Identifier: Apache-2.0
#include "emulator/driver/programs.hpp"

#include <deque>
#include <future>
#include <mutex>
#include <unordered_map>

namespace sale::emulator {

namespace {

constexpr std::size_t most_kept = 256; ///< A few megabytes each.

using Compiled = std::shared_future<std::shared_ptr<const Program>>;

std::mutex mutex;
std::unordered_map<std::string, Compiled> compiled;
std::deque<std::string> order; ///< Oldest first.

// A kernel's first line is a comment that names it; the same code is generated for several architectures.
std::string code_of(const std::string &source) {
  const bool named = source.rfind("//", 0) == 0 && source.find('\n') != std::string::npos;
  return named ? source.substr(source.find('\n')) : source;
}

void make_room() {
  while (order.size() >= most_kept) {
    compiled.erase(order.front());
    order.pop_front();
  }
}

// The next load may find what was missing: clang, or memory.
void forget(const std::string &code) {
  const std::scoped_lock lock(mutex);
  compiled.erase(code);
  std::erase(order, code);
}

} // namespace

std::shared_ptr<const Program> program_of(const std::string &source) {
  const std::string code = code_of(source);
  std::promise<std::shared_ptr<const Program>> promise;
  Compiled known;
  {
    const std::scoped_lock lock(mutex);
    if (const auto found = compiled.find(code); found != compiled.end()) {
      known = found->second;
    } else {
      make_room();
      compiled.emplace(code, promise.get_future().share());
      order.push_back(code);
    }
  }
  if (known.valid()) {
    return known.get();
  }
  try {
    std::shared_ptr<const Program> program = Program::compile(source);
    promise.set_value(program);
    return program;
  } catch (...) {
    forget(code);
    promise.set_exception(std::current_exception());
    throw;
  }
}

} // namespace sale::emulator
