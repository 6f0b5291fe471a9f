// SPDX-License-Identifier: Apache-2.0
// sale cache pack|unpack, and the half of verify that looks at a pack.
#include "cli/cache_commands.hpp"

#include "cache/layers.hpp"
#include "cache/signature.hpp"
#include "cli/output.hpp"
#include "cli/text.hpp"
#include "generator/template_source.hpp"
#include "io/manifest.hpp"
#include "runtime/prewarm.hpp"
#include "sale/version.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace sale::cli {

namespace fs = std::filesystem;

namespace {

struct PackArguments {
  std::string file;
  std::vector<std::string> archs;
  std::string manifest;
  std::string sign_with;
  std::string key;
};

std::string facts_text(const PackFacts &facts) {
  return fmt::format("{} kernels for {} by NVRTC {}, {}, of libsale {}", facts.entries,
                     facts.targets.empty() ? "nothing" : fmt::format("{}", fmt::join(facts.targets, ", ")),
                     facts.compiler_versions.empty() ? "none"
                                                     : fmt::format("{}", fmt::join(facts.compiler_versions, ", ")),
                     bytes_text(facts.bytes), facts.library_version);
}

// Which kernels are asked for; where neither architectures nor a manifest are named, all.
class Wanted {
public:
  Wanted(const std::vector<std::string> &archs, const std::optional<io::Manifest> &manifest) {
    for (const std::string &name : archs) {
      const auto [arch, kind] = parse_target(name);
      targets_.insert(target_name(arch, kind));
      targets_.insert(target_name(arch, BinaryKind::ptx));
    }
    if (manifest) {
      keys_.emplace();
      for (const io::ManifestKernel &kernel : manifest->kernels) {
        keys_->insert(kernel.key);
      }
    }
  }
  bool has(const std::string &key, const std::string &target) const {
    return (targets_.empty() || targets_.count(target) > 0) && (!keys_ || keys_->count(key) > 0);
  }

private:
  std::set<std::string> targets_;
  std::optional<std::set<std::string>> keys_;
};

void add_pack_entries(const Pack &pack, const Wanted &wanted, std::vector<Entry> &entries) {
  for (const PackEntryInfo &info : pack.entries()) {
    if (wanted.has(info.key, info.target)) {
      if (auto entry = pack.lookup(info.key, info.compiler)) {
        entries.push_back(std::move(*entry));
      }
    }
  }
}

// Only looked at: packing is no use of a kernel.
void add_folder_entries(const fs::path &root, const Wanted &wanted, std::vector<Entry> &entries) {
  const Store store({.root = root, .writable = false}, warn);
  if (!store.exists()) {
    return;
  }
  for (const StoredFile &file : store.list()) {
    if (!file.entry) {
      warn(fmt::format("{} is left out: {}", file.path.string(), file.problem));
    } else if (wanted.has(file.entry->key, file.entry->target)) {
      const CompilerId compiler{file.entry->compiler_version, file.entry->compiler_build};
      if (auto entry = store.lookup(file.entry->key, compiler)) {
        entries.push_back(std::move(*entry));
      }
    }
  }
}

// Every layer's, in the order in which they are asked.
std::vector<Entry> entries_of(const LayerOptions &layers, const Wanted &wanted) {
  std::vector<Entry> entries;
  for (const fs::path &file : layers.packs) {
    add_pack_entries(Pack::open(file, layers.pack_key, warn), wanted, entries);
  }
  try {
    add_folder_entries(layers.system, wanted, entries);
  } catch (const Error &error) {
    // Nobody named it here, and engines do without it too.
    warn(error.what());
  }
  if (!layers.user.root.empty()) {
    add_folder_entries(layers.user.root, wanted, entries);
  }
  return entries;
}

void require_all(const io::Manifest &manifest, const Wanted &wanted, const std::vector<Entry> &entries) {
  std::set<std::string> found;
  for (const Entry &entry : entries) {
    found.insert(entry.key);
  }
  std::size_t missing = 0;
  for (const io::ManifestKernel &kernel : manifest.kernels) {
    if (wanted.has(kernel.key, kernel.arch) && found.count(kernel.key) == 0) {
      ++missing;
      fmt::print(stderr, "sale: {:?} ({}) is not in the cache\n", kernel.name, kernel.key.substr(0, 12));
    }
  }
  if (missing > 0) {
    throw Error(ErrorKind::not_found,
                fmt::format("{} of the {} kernels of {} are missing, so nothing is packed", missing,
                            manifest.kernels.size(), manifest.file_name),
                {.advice = fmt::format("sale prewarm --manifest {} compiles them", manifest.file_name)});
  }
}

int run_pack(const PackArguments &arguments, const EngineOptions &engine) {
  std::optional<io::Manifest> manifest;
  if (!arguments.manifest.empty()) {
    manifest = io::load_manifest(arguments.manifest);
  }
  const Wanted wanted(arguments.archs, manifest);
  require_writable_path(arguments.file);
  std::optional<SigningKey> key;
  if (!arguments.sign_with.empty()) {
    key = SigningKey::load(arguments.sign_with);
  }
  const std::vector<Entry> entries = entries_of(LayerOptions::of(engine.resolve()), wanted);
  if (manifest) {
    require_all(*manifest, wanted, entries);
  }
  if (entries.empty()) {
    throw Error(ErrorKind::not_found, "there are no kernels to pack",
                {.advice = "sale prewarm compiles those that a model needs"});
  }
  const PackFacts facts = write_pack(arguments.file, entries, {version(), std::string(templates_digest())});
  if (key) {
    key->sign_file(arguments.file);
  }
  fmt::print("{}: {}{}\n", arguments.file, facts_text(facts), key ? ", signed" : "");
  return exit_ok;
}

void warn_of_other_templates(const Pack &pack) {
  if (pack.facts().templates != templates_digest()) {
    warn(fmt::format("{} is of another libsale ({}) than this one ({}): kernels whose source differs will not be found",
                     pack.path().string(), pack.facts().library_version, version()));
  }
}

void say_refused(const Pack &pack, const PackEntryInfo &info, const std::string &problem) {
  fmt::print(stderr, "sale: {}: {} ({}): {}\n", pack.path().string(), info.spec, info.key.substr(0, 12), problem);
}

std::string name_of(const std::string &key, const std::string &version, const std::string &build) {
  return fmt::format("{} {} {}", key, version, build);
}

// Names of the kernels in a folder; those whose files are damaged are not among them.
std::set<std::string> names_in(const Store &store) {
  std::set<std::string> names;
  if (store.exists()) {
    for (const StoredFile &file : store.list()) {
      if (file.entry) {
        names.insert(name_of(file.entry->key, file.entry->compiler_version, file.entry->compiler_build));
      }
    }
  }
  return names;
}

int run_unpack(const PackArguments &arguments, const EngineOptions &engine) {
  const Pack pack = Pack::open(arguments.file, arguments.key, warn);
  warn_of_other_templates(pack);
  const Store store({.root = engine.cache_folder()}, warn);
  if (const auto problem = store.make_folder()) {
    throw Error(ErrorKind::cache, fmt::format("the cache {} cannot be filled: {}", store.root().string(), *problem),
                {.advice = "name a folder that is writable and yours with --cache-dir or SALE_CACHE_DIR"});
  }
  const std::set<std::string> names = names_in(store);
  std::size_t there = 0;
  std::size_t refused = 0;
  for (const PackEntryInfo &info : pack.entries()) {
    const ParsedEntry parsed = pack.read(info);
    if (!parsed.entry) {
      ++refused;
      say_refused(pack, info, parsed.problem);
      continue;
    }
    if (names.count(name_of(info.key, info.compiler.version, info.compiler.build)) > 0) {
      const auto existing = store.lookup(info.key, info.compiler);
      if (existing && serialize(*existing) == serialize(*parsed.entry)) {
        ++there;
        continue;
      }
    }
    store.publish(*parsed.entry);
  }
  const std::size_t published = store.counters().published;
  const std::size_t failed = pack.entries().size() - there - refused - published;
  fmt::print("{} kernels unpacked into {}, {} were there, {} refused{}\n", published, store.root().string(), there,
             refused, failed > 0 ? fmt::format(", {} could not be written", failed) : "");
  if (failed > 0) {
    return exit_failed;
  }
  return refused > 0 ? exit_check_not_met : exit_ok;
}

int check_entries(const Pack &pack) {
  std::size_t damaged = 0;
  for (const PackEntryInfo &info : pack.entries()) {
    const ParsedEntry parsed = pack.read(info);
    if (!parsed.entry) {
      ++damaged;
      say_refused(pack, info, parsed.problem);
    }
  }
  fmt::print("{}: {}\n{} kernels checked, {} damaged\n", pack.path().string(), facts_text(pack.facts()),
             pack.entries().size(), damaged);
  return damaged == 0 ? exit_ok : exit_check_not_met;
}

} // namespace

int verify_pack(const fs::path &file, const fs::path &key) {
  try {
    const Pack pack = Pack::open(file, key, warn);
    warn_of_other_templates(pack);
    return check_entries(pack);
  } catch (const Error &error) {
    if (error.kind() != ErrorKind::cache) {
      throw;
    }
    fmt::print(stderr, "sale: {}\n", error.what());
    return exit_check_not_met;
  }
}

void add_pack_key_to(CLI::App &app, std::string &key) {
  app.add_option("--key", key, "Public ed25519 key (PEM); FILE.sig must be FILE's signature by it")
      ->envname("SALE_PACK_KEY");
}

void add_cache_pack(CLI::App &cache, Command &command, const std::shared_ptr<EngineOptions> &engine) {
  const auto arguments = std::make_shared<PackArguments>();
  const auto add = [&](const char *name, const char *help,
                       int (*action)(const PackArguments &, const EngineOptions &)) {
    CLI::App *sub = cache.add_subcommand(name, help);
    sub->add_option("FILE", arguments->file, "The pack")->required();
    sub->callback([&command, arguments, engine, action] {
      command = [arguments, engine, action] { return action(*arguments, *engine); };
    });
    return sub;
  };
  CLI::App *pack = add("pack", "Put the kernels of all layers into one portable file", run_pack);
  pack->add_option(
          "--arch", arguments->archs,
          "Only kernels for these, e.g. sm_80,sm_90a; sm_80 also means PTX of compute_80, which may be named alone")
      ->delimiter(',');
  pack->add_option("--manifest", arguments->manifest,
                   "Exactly the kernels that it names (sale prewarm --write-manifest)");
  pack->add_option("--sign-with", arguments->sign_with, "Private ed25519 key (PEM); writes FILE.sig");
  CLI::App *unpack =
      add("unpack", "Put a pack's kernels into the cache folder; exit code 3 if some are refused", run_unpack);
  add_pack_key_to(*unpack, arguments->key);
}

} // namespace sale::cli
