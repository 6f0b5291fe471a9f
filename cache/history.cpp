// SPDX-License-Identifier: Apache-2.0
#include "cache/history.hpp"

#include "cache/descriptor.hpp"
#include "cache/file.hpp"
#include "cache/file_names.hpp"
#include "cache/limits.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale {

namespace {

constexpr std::size_t compact_above = std::size_t{64} << 10;
constexpr std::size_t max_bytes = std::size_t{1} << 20;
// Together with max_bytes keeps every sum far below 2^64.
constexpr std::size_t max_digits = 12;
constexpr std::string_view line_start = "sale";

constexpr std::array<CounterField, 12> fields = {{
    {"memory_hits", &CacheCounters::memory_hits},
    {"pack_hits", &CacheCounters::pack_hits},
    {"system_hits", &CacheCounters::system_hits},
    {"user_hits", &CacheCounters::user_hits},
    {"misses", &CacheCounters::misses},
    {"compiles", &CacheCounters::compiles},
    {"published", &CacheCounters::published},
    {"repairs", &CacheCounters::repairs},
    {"evictions", &CacheCounters::evictions},
    {"lock_waits", &CacheCounters::lock_waits},
    {"lock_timeouts", &CacheCounters::lock_timeouts},
    {"disk_errors", &CacheCounters::disk_errors},
}};
static_assert(sizeof(CacheCounters) == fields.size() * sizeof(std::uint64_t), "every counter is in the history");

// "sale user_hits=3 misses=1\n": what is 0 is left out.
std::string line_of(const CacheCounters &counters) {
  std::string line(line_start);
  for (const CounterField &field : fields) {
    if (counters.*field.value != 0) {
      line += fmt::format(" {}={}", field.name, counters.*field.value);
    }
  }
  return line + "\n";
}

std::string_view take(std::string_view &text, char until) {
  const std::size_t end = text.find(until);
  const std::string_view front = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return front;
}

// Adds "misses=1"; names of other versions of this library count for nothing here.
bool add_word(std::string_view word, CacheCounters &counters) {
  const std::string_view name = take(word, '=');
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (word.size() > max_digits || error != std::errc() || end != word.data() + word.size()) {
    return false;
  }
  for (const CounterField &field : fields) {
    if (field.name == name) {
      counters.*field.value += value;
    }
  }
  return true;
}

// Two lines of which the first lost its end are one that has a line's start in its middle.
std::optional<CacheCounters> parse_line(std::string_view line) {
  if (take(line, ' ') != line_start) {
    return std::nullopt;
  }
  CacheCounters counters;
  while (!line.empty()) {
    if (!add_word(take(line, ' '), counters)) {
      return std::nullopt;
    }
  }
  return counters;
}

void add(const CacheCounters &from, CacheCounters &to) {
  for (const CounterField &field : fields) {
    to.*field.value += from.*field.value;
  }
}

CacheCounters sum(std::span<const unsigned char> bytes) {
  CacheCounters total;
  std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  // What has no end of line is not whole.
  text = text.substr(0, text.rfind('\n') + 1);
  while (!text.empty()) {
    if (const auto counters = parse_line(take(text, '\n'))) {
      add(*counters, total);
    }
  }
  return total;
}

// One line instead of many. Lines added between the read and the rename are lost, as the contract allows.
void compact(int root) {
  const GarbageLock lock(root);
  if (lock.busy() || lock.failure()) {
    return;
  }
  const FileContents file = read_file_at(root, history_file, max_bytes, Keeper::me);
  const bool too_large = file.status == FileStatus::failed && file.facts.bytes > max_bytes;
  if ((file.status == FileStatus::ok && file.bytes.size() > compact_above) || too_large) {
    const std::string line = line_of(sum(file.bytes));
    write_file_at(root, history_file, {reinterpret_cast<const unsigned char *>(line.data()), line.size()});
  }
}

} // namespace

std::span<const CounterField> counter_fields() { return fields; }

void append_history(int root, const CacheCounters &counters) {
  struct stat info{};
  {
    const Descriptor file(without_interruption([&] {
      return ::openat(root, history_file, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    }));
    if (!file || without_interruption([&] { return ::fstat(file.get(), &info); }) != 0 || !S_ISREG(info.st_mode) ||
        !distrust(info, Keeper::me).empty()) {
      return;
    }
    // One write, so that lines of several processes do not mix.
    const std::string line = line_of(counters);
    without_interruption([&] { return ::write(file.get(), line.data(), line.size()); });
  }
  if (static_cast<std::size_t>(info.st_size) > compact_above) {
    compact(root);
  }
}

CacheCounters read_history(int root, Keeper keeper) {
  return sum(read_file_at(root, history_file, max_bytes, keeper).bytes);
}

} // namespace sale
