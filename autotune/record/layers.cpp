// SPDX-License-Identifier: Apache-2.0
#include "autotune/record/layers.hpp"

#include "autotune/record/edit.hpp"
#include "autotune/record/record.hpp"
#include "sale/error.hpp"
#include "sale/version.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace sale::autotune {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_files = 256; // of a folder

std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// By name. Throws std::filesystem::filesystem_error.
std::vector<fs::path> yaml_files(const fs::path &folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".yaml" && entry.is_regular_file()) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  files.resize(std::min(files.size(), most_files));
  return files;
}

void judge(LayerRecord &found) {
  if (!is_for_this_library(*found.record)) {
    found.problem = fmt::format("measured with other kernels (libsale {}, templates {}) than those of this libsale {}",
                                found.record->library, found.record->templates, version());
  }
}

template <class Read>
LayerRecord read_one(const char *layer, std::string file, const Read &read) {
  LayerRecord found;
  found.layer = layer;
  found.file = std::move(file);
  try {
    found.record = read();
    judge(found);
  } catch (const Error &error) {
    found.problem = error.what();
  }
  return found;
}

void read_folder(std::vector<LayerRecord> &to, const char *layer, const fs::path &folder) {
  std::error_code none;
  if (folder.empty() || !fs::is_directory(folder, none)) {
    return;
  }
  try {
    for (const fs::path &file : yaml_files(folder)) {
      to.push_back(read_one(layer, file.string(), [&] { return *load_tuning(file); }));
    }
  } catch (const fs::filesystem_error &error) {
    to.push_back({layer, folder.string(), std::nullopt, error.code().message()});
  }
}

[[noreturn]] void cannot_write(const fs::path &file, const std::string &reason) {
  throw Error(ErrorKind::io, fmt::format("{} cannot be written: {}", file.string(), reason));
}

// A descriptor that closes, and a file that goes away unless it was kept.
class TemporaryFile {
public:
  explicit TemporaryFile(const fs::path &target)
      : path_(fmt::format("{}.{}.tmp", target.string(), ::getpid())),
        descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644)) {}
  ~TemporaryFile() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
      ::unlink(path_.c_str());
    }
  }
  TemporaryFile(const TemporaryFile &) = delete;
  TemporaryFile &operator=(const TemporaryFile &) = delete;

  bool write(const std::string &text) const {
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t wrote = ::write(descriptor_, text.data() + done, text.size() - done);
      if (wrote < 0 && errno != EINTR) {
        return false;
      }
      done += wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
    }
    return ::fsync(descriptor_) == 0;
  }
  bool keep_as(const fs::path &target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) {
      return false;
    }
    ::close(descriptor_);
    descriptor_ = -1;
    return true;
  }
  bool opened() const { return descriptor_ >= 0; }

private:
  fs::path path_;
  int descriptor_;
};

} // namespace

std::filesystem::path system_tuning_folder(const TuningLayers &layers) {
  if (!layers.system_dir.empty()) {
    return layers.system_dir;
  }
  const std::string named = environment("SALE_SYSTEM_TUNING_DIR");
  return named.empty() ? "/var/lib/sale/tuning" : named;
}

std::filesystem::path user_tuning_folder(const TuningLayers &layers) {
  if (!layers.user_dir.empty()) {
    return layers.user_dir;
  }
  if (const std::string named = environment("SALE_TUNING_DIR"); !named.empty()) {
    return named;
  }
  if (const std::string data = environment("XDG_DATA_HOME"); !data.empty() && data.front() == '/') {
    return fs::path(data) / "sale" / "tuning"; // XDG base directory specification: relative ones are ignored
  }
  const std::string home = environment("HOME");
  return home.empty() ? fs::path() : fs::path(home) / ".local" / "share" / "sale" / "tuning";
}

std::vector<LayerRecord> read_layers(const TuningLayers &layers) {
  std::vector<LayerRecord> found;
  if (layers.shipped) {
    for (const EmbeddedRecord &record : embedded_records()) {
      const std::string name = fmt::format("shipped {}", record.name);
      found.push_back(read_one("shipped", name, [&] { return parse_record(record.text, name); }));
    }
  }
  read_folder(found, "system", system_tuning_folder(layers));
  read_folder(found, "user", user_tuning_folder(layers));
  return found;
}

std::filesystem::path user_tuning_file(const TuningLayers &layers) {
  const fs::path folder = user_tuning_folder(layers);
  if (folder.empty()) {
    throw Error(ErrorKind::invalid_argument,
                "there is no folder for tuning records: neither SALE_TUNING_DIR nor XDG_DATA_HOME nor HOME is set",
                {.advice = "set SALE_TUNING_DIR, or name a file"});
  }
  return folder / "tuned.yaml";
}

void write_record(const std::filesystem::path &file, const TuningRecord &record) {
  const std::string text = record_text(record);
  std::error_code code;
  if (file.has_parent_path()) {
    fs::create_directories(file.parent_path(), code);
    if (code) {
      cannot_write(file, code.message());
    }
  }
  // A link keeps pointing to its file; the file is what is replaced.
  const fs::path target = fs::exists(file, code) ? fs::canonical(file, code) : file;
  TemporaryFile temporary(target);
  if (!temporary.opened() || !temporary.write(text) || !temporary.keep_as(target)) {
    cannot_write(file, std::strerror(errno));
  }
}

std::optional<std::filesystem::path> add_to_record(const std::filesystem::path &file, const TuningRecord &record) {
  std::error_code none;
  if (!fs::exists(file, none)) {
    write_record(file, record);
    return std::nullopt;
  }
  const std::shared_ptr<const TuningRecord> there = load_tuning(file);
  if (there->library == record.library && there->templates == record.templates) {
    write_record(file, merged(*there, record));
    return std::nullopt;
  }
  fs::path kept = file;
  kept.replace_filename(fmt::format("{}-{}-{}{}", file.stem().string(), there->library, there->templates.substr(0, 8),
                                    file.extension().string()));
  fs::rename(file, kept, none);
  if (none) {
    throw Error(ErrorKind::io,
                fmt::format("{} cannot be renamed to {}: {}", file.string(), kept.string(), none.message()));
  }
  write_record(file, record);
  return kept;
}

} // namespace sale::autotune

namespace sale {

std::shared_ptr<const TuningRecord> load_tuning_layers(const TuningLayers &layers) {
  std::optional<TuningRecord> all;
  for (autotune::LayerRecord &found : autotune::read_layers(layers)) {
    if (found.problem.empty()) {
      all = all ? autotune::merged(std::move(*all), *found.record) : std::move(found.record);
    } else if (found.layer != "shipped") { // a library's own is stale whenever its templates have changed since
      const std::string sentence = fmt::format("the tuning record {} is not used: {}{}", found.file, found.problem,
                                               found.record ? "; run sale tune again" : "");
      if (layers.warning) {
        layers.warning(sentence);
      } else {
        fmt::print(stderr, "sale: warning: {}\n", sentence);
      }
    }
  }
  if (!all) {
    return nullptr;
  }
  all->source = "the tuning layers";
  all->optional = true;
  return std::make_shared<const TuningRecord>(std::move(*all));
}

} // namespace sale
