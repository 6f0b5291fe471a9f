// SPDX-License-Identifier: Apache-2.0
#include "cache/pack.hpp"

#include "cache/signature.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace sale {

namespace fs = std::filesystem;

namespace {

Digest digest_of(std::span<const unsigned char> bytes) {
  Sha256 hash;
  hash.update(bytes.data(), bytes.size());
  return hash.finish();
}

PackIndex parse_index(const SharedFile &file, std::span<const unsigned char> start) {
  ParsedPackIndex parsed = parse_pack_index(start, file.bytes());
  if (!parsed.index) {
    throw Error(ErrorKind::cache, fmt::format("{} cannot be used as a pack: {}", file.path().string(), parsed.problem),
                {.advice = "sale cache pack makes it anew"});
  }
  return std::move(*parsed.index);
}

// The bytes of preamble and index, as far as the file has them.
std::size_t start_bytes(const SharedFile &file, std::span<const unsigned char> preamble) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(file.bytes(), std::max(read_pack_preamble(preamble).bytes, preamble.size())));
}

PackIndex read_index(const SharedFile &file) {
  const auto preamble_bytes = static_cast<std::size_t>(std::min<std::uint64_t>(file.bytes(), pack_preamble_bytes));
  const std::vector<unsigned char> preamble = file.read_start(preamble_bytes);
  return parse_index(file, file.read_start(start_bytes(file, preamble)));
}

// The index comes from the very bytes that the signature is of: the file may change between two reads. Entries are safe
// by their digests.
PackIndex read_signed_index(const SharedFile &file, const fs::path &public_key) {
  const PublicKey key = PublicKey::load(public_key);
  const fs::path signature_file = signature_path(file.path());
  const std::vector<unsigned char> signature = SharedFile::open(signature_file, Keeper::anybody).read_all(4096);
  const std::vector<unsigned char> bytes = file.read_all(max_signed_bytes);
  if (!key.verifies(bytes, signature)) {
    throw Error(ErrorKind::cache, fmt::format("{} cannot be used: {} is not its signature by the key {}",
                                              file.path().string(), signature_file.string(), public_key.string()));
  }
  const auto preamble = std::span(bytes).first(std::min(bytes.size(), pack_preamble_bytes));
  return parse_index(file, std::span(bytes).first(start_bytes(file, preamble)));
}

PackEntryInfo info_of(const Entry &entry) {
  const std::vector<unsigned char> bytes = serialize(entry);
  PackEntryInfo info;
  info.key = entry.key;
  info.kind = entry.kind;
  info.target = entry.target;
  info.compiler = {entry.compiler_version, entry.compiler_build};
  info.spec = entry.spec;
  info.bytes = bytes.size();
  info.digest = digest_of(bytes);
  return info;
}

bool is_entry_of(const Entry &entry, const PackEntryInfo &info) {
  return entry.key == info.key && entry.kind == info.kind && entry.target == info.target && entry.spec == info.spec &&
         CompilerId{entry.compiler_version, entry.compiler_build} == info.compiler;
}

} // namespace

Pack::Pack(SharedFile file, PackIndex index, Warning warning)
    : file_(std::move(file)), index_(std::move(index)), warning_(std::move(warning)) {}

Pack Pack::open(const fs::path &file, const fs::path &public_key, Warning warning) {
  SharedFile opened = SharedFile::open(file, Keeper::me_or_root);
  PackIndex index = public_key.empty() ? read_index(opened) : read_signed_index(opened, public_key);
  return {std::move(opened), std::move(index), std::move(warning)};
}

ParsedEntry Pack::read(const PackEntryInfo &info) const {
  std::vector<unsigned char> bytes(static_cast<std::size_t>(info.bytes));
  if (auto problem = file_.read_at(info.offset, bytes)) {
    return {std::nullopt, std::move(*problem)};
  }
  if (digest_of(bytes) != info.digest) {
    return {std::nullopt, "it does not have the digest that the pack's index states"};
  }
  ParsedEntry parsed = parse_entry(bytes, true);
  if (parsed.entry && !is_entry_of(*parsed.entry, info)) {
    return {std::nullopt, "it is another kernel than the pack's index says"};
  }
  return parsed;
}

std::optional<Entry> Pack::lookup(const std::string &key, const std::optional<CompilerId> &compiler) const {
  auto info =
      std::lower_bound(index_.entries.begin(), index_.entries.end(), key,
                       [](const PackEntryInfo &entry, const std::string &wanted) { return entry.key < wanted; });
  for (; info != index_.entries.end() && info->key == key; ++info) {
    if (compiler && info->compiler != *compiler) {
      continue;
    }
    ParsedEntry parsed = read(*info);
    if (parsed.entry) {
      return std::move(parsed.entry);
    }
    ++*errors_;
    if (warning_) {
      warning_(
          fmt::format("the kernel \"{}\" in the pack {} is not used: {}", info->spec, path().string(), parsed.problem));
    }
  }
  return std::nullopt;
}

PackFacts write_pack(const fs::path &file, std::span<const Entry> entries, const PackMaker &maker) {
  struct Item {
    PackEntryInfo info;
    const Entry *entry;
  };
  std::vector<Item> items;
  items.reserve(entries.size());
  for (const Entry &entry : entries) {
    items.push_back({info_of(entry), &entry});
  }
  // In the order given where neither comes before the other.
  std::sort(items.begin(), items.end(), [](const Item &a, const Item &b) {
    return comes_before(a.info, b.info) || (!comes_before(b.info, a.info) && a.entry < b.entry);
  });
  items.erase(std::unique(items.begin(), items.end(),
                          [](const Item &a, const Item &b) { return !comes_before(a.info, b.info); }),
              items.end());

  PackIndex index;
  index.facts.library_version = maker.library_version;
  index.facts.templates = maker.templates;
  index.entries.reserve(items.size());
  for (const Item &item : items) {
    index.entries.push_back(item.info);
  }
  const std::vector<unsigned char> start = serialize(index);
  NewSharedFile out(file);
  out.write(start);
  for (const Item &item : items) {
    out.write(serialize(*item.entry));
  }
  out.commit();
  return index.facts;
}

} // namespace sale
