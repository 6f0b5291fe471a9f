// SPDX-License-Identifier: Apache-2.0
#include "runtime/nvrtc_search.hpp"

#include "runtime/build_id.hpp"
#include "runtime/shared_library.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace sale {

namespace fs = std::filesystem;

namespace {

constexpr int supported_majors[] = {13, 12};

// Folders in `parent` whose names start with "python3", newest first as far as names tell.
std::vector<fs::path> python_folders(const fs::path &parent) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().rfind("python3", 0) == 0) {
      found.push_back(it->path());
    }
  }
  std::sort(found.begin(), found.end(), [](const fs::path &a, const fs::path &b) {
    const std::string x = a.string();
    const std::string y = b.string();
    return x.size() != y.size() ? x.size() > y.size() : x > y;
  });
  return found;
}

// Folders that a file of ld.so.conf's kind names, and those of the files that it includes.
void add_configured(std::vector<fs::path> &folders, const fs::path &file, const fs::path &root, int depth) {
  constexpr std::size_t most = 256;
  std::ifstream in(file);
  for (std::string line; folders.size() < most && std::getline(in, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string first;
    std::string included;
    words >> first >> included;
    if (first == "include" && depth > 0) {
      // In practice a folder's *.conf.
      std::vector<fs::path> files;
      std::error_code error;
      const fs::path folder = root / fs::path(included).parent_path().relative_path();
      for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
        if (it->path().extension() == ".conf") {
          files.push_back(it->path());
        }
      }
      std::sort(files.begin(), files.end());
      for (const fs::path &next : files) {
        add_configured(folders, next, root, depth - 1);
      }
    } else if (first.rfind('/', 0) == 0) {
      folders.push_back(root / fs::path(first).relative_path());
    }
  }
}

// What the loader would find, without opening it.
void add_loader_folders(std::vector<NvrtcPlace> &places, const fs::path &root) {
  std::vector<fs::path> folders;
  add_configured(folders, root / "etc/ld.so.conf", root, 3);
  for (const fs::path &folder : folders) {
    std::error_code error;
    const bool has_one = std::any_of(std::begin(supported_majors), std::end(supported_majors), [&](int major) {
      return fs::exists(folder / fmt::format("libnvrtc.so.{}", major), error);
    });
    if (has_one) {
      places.push_back({folder, "ld.so.conf"});
    }
  }
}

void add_wheels(std::vector<NvrtcPlace> &places, const fs::path &prefix, const std::string &why) {
  for (const fs::path &python : python_folders(prefix)) {
    for (const char *packages : {"site-packages", "dist-packages"}) {
      for (const char *wheel : {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"}) {
        const fs::path folder = python / packages / wheel;
        std::error_code error;
        if (fs::is_directory(folder, error)) {
          places.push_back({folder, why});
        }
      }
    }
  }
}

// The highest "<major>.<minor>" that libnvrtc-builtins.so.<major>.<minor> beside `library` carries.
std::optional<std::pair<fs::path, std::string>> builtins_beside(const fs::path &library, int major) {
  const std::string prefix = fmt::format("libnvrtc-builtins.so.{}.", major);
  std::optional<std::pair<fs::path, std::string>> best;
  int best_minor = -1;
  std::error_code error;
  for (fs::directory_iterator it(library.parent_path(), error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.rfind(prefix, 0) != 0) {
      continue;
    }
    const std::string digits = name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size());
    if (digits.empty() || digits.size() > 3 || digits.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    if (const int minor = std::stoi(digits); minor > best_minor) {
      best_minor = minor;
      best = {it->path(), fmt::format("{}.{}", major, minor)};
    }
  }
  return best;
}

std::string build_of(const fs::path &library) {
  std::string build = read_build_id(library);
  if (build.empty()) {
    std::error_code error;
    build = fmt::format("size{}", fs::file_size(library, error));
  }
  return build;
}

// `library` must exist; says in `note` why it is not usable.
std::optional<NvrtcFiles> usable(const fs::path &library, const NvrtcPlace &place, std::string &note) {
  std::error_code error;
  const fs::path real = fs::canonical(library, error);
  if (error || !fs::is_regular_file(real, error)) {
    note = fmt::format("{} is not a file", library.string());
    return std::nullopt;
  }
  for (const int major : supported_majors) {
    // The name says the major version, except for a plain libnvrtc.so, for which its builtins do.
    const std::string name = library.filename().string();
    const bool plain = name.find(".so.") == std::string::npos;
    if (!plain && name.find(fmt::format(".so.{}", major)) == std::string::npos) {
      continue;
    }
    if (auto builtins = builtins_beside(real, major)) {
      return NvrtcFiles{library, builtins->first, builtins->second, build_of(real), place.why};
    }
    note = fmt::format("{} has no libnvrtc-builtins.so beside it", library.string());
  }
  if (note.empty()) {
    note = fmt::format("{} is not NVRTC 12 or 13", library.string());
  }
  return std::nullopt;
}

} // namespace

SearchEnvironment SearchEnvironment::of_process() {
  SearchEnvironment environment;
  environment.variable = [](const char *name) {
    const char *value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  environment.loader = [](const char *name) {
    const SharedLibrary library = SharedLibrary::open(name);
    return library ? library.file() : fs::path();
  };
  return environment;
}

std::vector<NvrtcPlace> nvrtc_places(const fs::path &requested, const SearchEnvironment &environment) {
  std::vector<NvrtcPlace> places;
  if (!requested.empty()) {
    places.push_back({requested, "as requested"});
    return places;
  }
  if (const std::string named = environment.variable("SALE_NVRTC"); !named.empty()) {
    places.push_back({named, "SALE_NVRTC"});
    return places;
  }
  for (const char *name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string home = environment.variable(name); !home.empty()) {
      places.push_back({fs::path(home) / "lib64", name});
      places.push_back({fs::path(home) / "lib", name});
    }
  }
  const std::string path = environment.variable("LD_LIBRARY_PATH");
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    if (end > begin) {
      places.push_back({path.substr(begin, end - begin), "LD_LIBRARY_PATH"});
    }
    begin = end + 1;
  }
  const fs::path &root = environment.root;
  places.push_back({root / "usr/local/cuda/lib64", "CUDA toolkit"});
  places.push_back({root / "usr/lib/x86_64-linux-gnu", "system library"});
  places.push_back({root / "usr/lib64", "system library"});
  if (const std::string venv = environment.variable("VIRTUAL_ENV"); !venv.empty()) {
    add_wheels(places, fs::path(venv) / "lib", "pip wheel in VIRTUAL_ENV");
  }
  if (const std::string home = environment.variable("HOME"); !home.empty()) {
    add_wheels(places, fs::path(home) / ".local/lib", "pip wheel of this user");
  }
  add_wheels(places, root / "usr/local/lib", "pip wheel");
  add_wheels(places, root / "usr/lib", "pip wheel");
  add_loader_folders(places, root);
  return places;
}

std::vector<NvrtcPlace> loader_places(const SearchEnvironment &environment) {
  std::vector<NvrtcPlace> places;
  for (const int major : supported_majors) {
    if (fs::path file = environment.loader(fmt::format("libnvrtc.so.{}", major).c_str()); !file.empty()) {
      places.push_back({std::move(file), "the loader's path"});
    }
  }
  return places;
}

NvrtcSearchResult find_nvrtc(const std::vector<NvrtcPlace> &places) {
  NvrtcSearchResult result;
  for (const NvrtcPlace &place : places) {
    std::error_code error;
    std::vector<fs::path> candidates;
    if (fs::is_directory(place.path, error)) {
      for (const int major : supported_majors) {
        candidates.push_back(place.path / fmt::format("libnvrtc.so.{}", major));
      }
      candidates.push_back(place.path / "libnvrtc.so");
    } else {
      candidates.push_back(place.path);
    }
    std::string note = fmt::format("{} has no libnvrtc.so", place.path.string());
    for (const fs::path &candidate : candidates) {
      if (!fs::exists(candidate, error)) {
        continue;
      }
      note.clear();
      result.files = usable(candidate, place, note);
      if (result.files) {
        return result;
      }
    }
    result.searched.push_back(fmt::format("{} ({})", note, place.why));
  }
  return result;
}

} // namespace sale
