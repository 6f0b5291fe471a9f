// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <set>

namespace sale::io {

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t length_bytes = 8;
// The limit of the format's own implementation; a real header is a few kilobytes.
constexpr std::uint64_t max_header_bytes = 100'000'000;
// {"name": {"shape": [...]}} is three deep.
constexpr int max_depth = 3;

struct DataType {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array data_types = {
    DataType{"BOOL", 1}, DataType{"U8", 1},  DataType{"I8", 1},  DataType{"F8_E5M2", 1}, DataType{"F8_E4M3", 1},
    DataType{"I16", 2},  DataType{"U16", 2}, DataType{"F16", 2}, DataType{"BF16", 2},    DataType{"I32", 4},
    DataType{"U32", 4},  DataType{"F32", 4}, DataType{"F64", 8}, DataType{"I64", 8},     DataType{"U64", 8}};

[[noreturn]] void refuse(const std::string &file_name, const std::string &sentence) {
  throw Error(ErrorKind::io, fmt::format("{}: {}", file_name, sentence));
}

// Names come from the file: quoted, escaped and cut, so that a message stays one line.
std::string quote(std::string_view name) {
  constexpr std::size_t longest = 60;
  return fmt::format("{:?}{}", name.substr(0, longest), name.size() > longest ? "..." : "");
}

// nlohmann keeps the last of two equal keys and has no depth limit, so both are refused while it parses.
class HeaderGuard {
public:
  explicit HeaderGuard(const std::string &file_name) : file_name_(file_name) {}

  bool operator()(int depth, Json::parse_event_t event, const Json &value) {
    const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= max_depth) {
      refuse(file_name_,
             fmt::format("the header nests more than {} levels deep, which no safetensors header does", max_depth));
    }
    if (event == Json::parse_event_t::object_start) {
      keys_.at(static_cast<std::size_t>(depth)).clear();
    }
    // A key is reported at the depth of its object's contents.
    if (event == Json::parse_event_t::key &&
        !keys_.at(static_cast<std::size_t>(depth - 1)).insert(value.get<std::string>()).second) {
      refuse(file_name_, fmt::format("the header names {} twice", quote(value.get<std::string>())));
    }
    return true;
  }

private:
  const std::string &file_name_;
  std::array<std::set<std::string>, max_depth> keys_;
};

Json parse_json(std::span<const std::byte> text, const std::string &file_name) {
  HeaderGuard guard(file_name);
  const auto *begin = reinterpret_cast<const char *>(text.data());
  try {
    return Json::parse(begin, begin + text.size(), std::ref(guard));
  } catch (const Json::parse_error &error) {
    refuse(file_name, fmt::format("the header is not valid JSON at its byte {}", error.byte));
  } catch (const Json::exception &) {
    refuse(file_name, "the header holds a number that no safetensors header can hold");
  }
}

std::uint64_t require_unsigned(const Json &value, const std::string &file_name, const std::string &what) {
  if (!value.is_number_unsigned()) {
    refuse(file_name, what + " must be whole numbers >= 0");
  }
  return value.get<std::uint64_t>();
}

const Json &require_field(const Json &tensor, const char *field, const std::string &file_name,
                          const std::string &label) {
  const auto found = tensor.find(field);
  if (found == tensor.end()) {
    refuse(file_name,
           fmt::format("tensor {} has no \"{}\"; safetensors wants dtype, shape and data_offsets", label, field));
  }
  return *found;
}

std::optional<std::uint64_t> multiply(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::nullopt : std::optional(product);
}

std::uint64_t size_of_type(const std::string &dtype, const std::string &file_name, const std::string &label) {
  const auto *found =
      std::find_if(data_types.begin(), data_types.end(), [&](const DataType &type) { return type.name == dtype; });
  if (found == data_types.end()) {
    refuse(file_name, fmt::format("tensor {} has the unknown dtype {}", label, quote(dtype)));
  }
  return found->bytes;
}

TensorEntry parse_tensor(const std::string &name, const Json &tensor, std::uint64_t data_start, std::uint64_t file_size,
                         const std::string &file_name) {
  const std::string label = quote(name);
  if (!tensor.is_object()) {
    refuse(file_name, fmt::format("tensor {} is not described by a JSON object", label));
  }
  TensorEntry entry;
  entry.name = name;

  const Json &dtype = require_field(tensor, "dtype", file_name, label);
  if (!dtype.is_string()) {
    refuse(file_name, fmt::format("the dtype of tensor {} must be a string such as \"BF16\"", label));
  }
  entry.dtype = dtype.get<std::string>();
  std::optional<std::uint64_t> expected = size_of_type(entry.dtype, file_name, label);

  const Json &shape = require_field(tensor, "shape", file_name, label);
  if (!shape.is_array()) {
    refuse(file_name, fmt::format("the shape of tensor {} must be an array", label));
  }
  for (const Json &extent : shape) {
    entry.shape.push_back(require_unsigned(extent, file_name, fmt::format("the extents of tensor {}", label)));
    expected = expected ? multiply(*expected, entry.shape.back()) : std::nullopt;
  }
  if (!expected) {
    refuse(file_name, fmt::format("the shape of tensor {} multiplies to more bytes than any file holds", label));
  }

  const Json &offsets = require_field(tensor, "data_offsets", file_name, label);
  if (!offsets.is_array() || offsets.size() != 2) {
    refuse(file_name, fmt::format("the data_offsets of tensor {} must be an array of two numbers", label));
  }
  const std::string offsets_label = fmt::format("the data_offsets of tensor {}", label);
  const std::uint64_t begin = require_unsigned(offsets[0], file_name, offsets_label);
  const std::uint64_t end = require_unsigned(offsets[1], file_name, offsets_label);
  if (begin > end) {
    refuse(file_name, fmt::format("tensor {} ends at byte {}, before it begins at {}", label, end, begin));
  }
  const std::uint64_t data_bytes = file_size - data_start;
  if (end > data_bytes) {
    refuse(file_name,
           fmt::format("tensor {} ends at byte {} of the data, but the file holds only {}; it is truncated or its "
                       "header is wrong",
                       label, end, data_bytes));
  }
  if (end - begin != *expected) {
    refuse(file_name, fmt::format("tensor {} spans {} bytes, but {} of {} takes {}", label, end - begin,
                                  shape_text(entry.shape), entry.dtype, *expected));
  }
  entry.offset = data_start + begin;
  entry.bytes = end - begin;
  return entry;
}

std::map<std::string, std::string> parse_metadata(const Json &value, const std::string &file_name) {
  std::map<std::string, std::string> metadata;
  const bool strings =
      value.is_object() && std::all_of(value.begin(), value.end(), [](const Json &item) { return item.is_string(); });
  if (!strings) {
    refuse(file_name, "\"__metadata__\" must map strings to strings");
  }
  for (const auto &[key, text] : value.items()) {
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

void refuse_overlaps(const std::vector<TensorEntry> &sorted, const std::string &file_name) {
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i - 1].offset + sorted[i - 1].bytes > sorted[i].offset) {
      refuse(file_name, fmt::format("tensors {} and {} overlap", quote(sorted[i - 1].name), quote(sorted[i].name)));
    }
  }
}

} // namespace

std::string shape_text(std::span<const std::uint64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::uint64_t safetensors_header_length(std::span<const std::byte> start, std::uint64_t file_size,
                                        const std::string &file_name) {
  if (start.size() < length_bytes) {
    refuse(file_name, fmt::format("the file is {} bytes long, too short for a safetensors file", file_size));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    length |= std::to_integer<std::uint64_t>(start[i]) << (8 * i);
  }
  if (length > file_size - length_bytes || length > max_header_bytes) {
    refuse(
        file_name,
        fmt::format("the file claims a header of {} bytes and is {} bytes long; it is truncated or no safetensors file",
                    length, file_size));
  }
  return length;
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> start, std::uint64_t file_size,
                                    const std::string &file_name) {
  const std::uint64_t length = safetensors_header_length(start, file_size, file_name);
  const Json json = parse_json(start.subspan(length_bytes, length), file_name);
  if (!json.is_object()) {
    refuse(file_name, "the header is not a JSON object");
  }
  SafetensorsHeader header;
  for (const auto &[name, value] : json.items()) {
    if (name == "__metadata__") {
      header.metadata = parse_metadata(value, file_name);
    } else {
      header.tensors.push_back(parse_tensor(name, value, length_bytes + length, file_size, file_name));
    }
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry &a, const TensorEntry &b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  refuse_overlaps(header.tensors, file_name);
  return header;
}

SafetensorsReader::SafetensorsReader(const std::filesystem::path &path) : file_name_(path.string()) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) {
    refuse(file_name_, "there is no such file");
  }
  if (!std::filesystem::is_regular_file(status)) {
    refuse(file_name_, "this is not a regular file");
  }
  const std::uint64_t size = std::filesystem::file_size(path, code);
  file_.open(path, std::ios::binary);
  if (code || !file_) {
    refuse(file_name_, "the file cannot be opened for reading; check its permissions");
  }
  std::vector<std::byte> start(std::min(size, length_bytes));
  file_.read(reinterpret_cast<char *>(start.data()), static_cast<std::streamsize>(start.size()));
  const std::uint64_t length = safetensors_header_length(start, size, file_name_);
  start.resize(length_bytes + length);
  file_.read(reinterpret_cast<char *>(start.data() + length_bytes), static_cast<std::streamsize>(length));
  if (!file_) {
    refuse(file_name_, "the header could not be read to its end");
  }
  header_ = parse_safetensors(start, size, file_name_);
}

const TensorEntry &SafetensorsReader::find(std::string_view name) const {
  const auto found = std::find_if(header_.tensors.begin(), header_.tensors.end(),
                                  [&](const TensorEntry &tensor) { return tensor.name == name; });
  if (found == header_.tensors.end()) {
    constexpr std::size_t most = 8;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < std::min(most, header_.tensors.size()); ++i) {
      names.push_back(quote(header_.tensors[i].name));
    }
    refuse(file_name_, fmt::format("there is no tensor \"{}\"; the file has {}{}", name,
                                   names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")),
                                   header_.tensors.size() > most ? ", ..." : ""));
  }
  return *found;
}

void SafetensorsReader::read(const TensorEntry &tensor, std::span<std::byte> to) {
  if (to.size() != tensor.bytes) {
    throw Error(ErrorKind::invalid_argument, fmt::format("tensor {} has {} bytes, but the buffer for it has {}",
                                                         quote(tensor.name), tensor.bytes, to.size()));
  }
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(tensor.offset));
  file_.read(reinterpret_cast<char *>(to.data()), static_cast<std::streamsize>(to.size()));
  if (!file_) {
    refuse(file_name_, fmt::format("tensor {} could not be read to its end", quote(tensor.name)));
  }
}

void write_safetensors(const std::filesystem::path &path, const std::vector<TensorToWrite> &tensors,
                       const std::map<std::string, std::string> &metadata) {
  Json json = Json::object();
  if (!metadata.empty()) {
    json["__metadata__"] = metadata;
  }
  std::uint64_t offset = 0;
  for (const TensorToWrite &tensor : tensors) {
    json[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
  }
  std::string header = json.dump();
  // Spaces keep the tensors 8-byte aligned, as the format asks.
  header.resize((header.size() + 7) / 8 * 8, ' ');

  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!file) {
    refuse(path.string(), "the file cannot be opened for writing; check that the folder exists and is writable");
  }
  std::array<char, length_bytes> length{};
  for (std::size_t i = 0; i < length_bytes; ++i) {
    length[i] = static_cast<char>((header.size() >> (8 * i)) & 0xFF);
  }
  file.write(length.data(), length.size());
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  for (const TensorToWrite &tensor : tensors) {
    file.write(reinterpret_cast<const char *>(tensor.data.data()), static_cast<std::streamsize>(tensor.data.size()));
  }
  file.close();
  if (!file) {
    refuse(path.string(), "the file could not be written to its end; is the disk full");
  }
}

} // namespace sale::io
