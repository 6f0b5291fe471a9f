// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors.hpp"
#include "tests/io/support.hpp"

#include <array>

namespace sale::io {
namespace {

std::string with_length(std::uint64_t length, const std::string &rest) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file += static_cast<char>((length >> (8 * i)) & 0xFF);
  }
  return file + rest;
}

std::string file_of(const std::string &json, std::size_t data_bytes) {
  return with_length(json.size(), json + std::string(data_bytes, '\0'));
}

SafetensorsHeader parse(const std::string &file) {
  return parse_safetensors(std::as_bytes(std::span(file)), file.size(), "t.safetensors");
}

TEST(Safetensors, a_written_file_reads_back_the_same) {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> q = {1, 2, 3, 4, 5, 6};
  const std::vector<float> lse = {0.5F, -1.0F};
  const auto path = folder.path() / "a.safetensors";
  write_safetensors(
      path, {{"q", "BF16", {1, 2, 3}, std::as_bytes(std::span(q))}, {"lse", "F32", {2}, std::as_bytes(std::span(lse))}},
      {{"source", "test"}});

  SafetensorsReader file(path);
  EXPECT_EQ(file.header().metadata.at("source"), "test");
  const TensorEntry &entry = file.find("lse");
  EXPECT_EQ(entry.dtype, "F32");
  EXPECT_EQ(entry.shape, std::vector<std::uint64_t>{2});
  std::vector<float> lse_read(2);
  file.read(entry, std::as_writable_bytes(std::span(lse_read)));
  EXPECT_EQ(lse_read, lse);
  std::vector<std::uint16_t> q_read(6);
  file.read(file.find("q"), std::as_writable_bytes(std::span(q_read)));
  EXPECT_EQ(q_read, q);
}

TEST(Safetensors, an_empty_tensor_and_padding_spaces_are_fine) {
  const auto header = parse(file_of(R"({"e":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}    )", 0));
  ASSERT_EQ(header.tensors.size(), 1U);
  EXPECT_EQ(header.tensors[0].bytes, 0U);
}

TEST(Safetensors, a_missing_tensor_is_an_error_that_lists_those_there) {
  const TemporaryFolder folder;
  const auto path =
      write_file(folder, "a.safetensors", file_of(R"({"q":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2));
  const SafetensorsReader file(path);
  expect_contains(message_of([&] { file.find("k"); }), R"(there is no tensor "k"; the file has "q")");
}

TEST(Safetensors, a_missing_file_a_folder_and_an_unwritable_path_are_errors) {
  const TemporaryFolder folder;
  expect_contains(message_of([&] { SafetensorsReader(folder.path() / "none"); }), "there is no such file");
  expect_contains(message_of([&] { SafetensorsReader(folder.path()); }), "not a regular file");
  expect_contains(message_of([&] { write_safetensors(folder.path() / "no" / "file", {}); }),
                  "cannot be opened for writing");
}

struct Hostile {
  const char *name;
  std::string file;
  const char *message;

  friend std::ostream &operator<<(std::ostream &out, const Hostile &hostile) { return out << hostile.name; }
};

std::string tensor(const std::string &fields) { return file_of(R"({"q":{)" + fields + "}}", 16); }

const std::vector<Hostile> &hostile_files() {
  static const std::vector<Hostile> files = {
      {"empty", "", "is 0 bytes long, too short"},
      {"seven_bytes", "1234567", "is 7 bytes long, too short"},
      {"length_past_the_end", with_length(100, "{}"), "claims a header of 100 bytes"},
      {"length_of_2_to_the_64", with_length(UINT64_MAX, "{}"), "claims a header of 18446744073709551615 bytes"},
      {"no_json", file_of("hello", 0), "not valid JSON at its byte 1"},
      {"invalid_utf8", file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {"json_array", file_of("[]", 0), "not a JSON object"},
      {"deep_nesting", file_of(std::string(100000, '['), 0), "nests more than 3 levels"},
      {"deep_objects", file_of(R"({"q":{"a":{"b":{"c":1}}}})", 0), "nests more than 3 levels"},
      {"number_out_of_range", tensor(R"("dtype":"U8","shape":[1e999],"data_offsets":[0,1])"), "holds a number"},
      {"same_name_twice",
       file_of(
           R"({"q":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"q":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           2),
       R"(names "q" twice)"},
      {"same_field_twice", tensor(R"("dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1])"),
       R"(names "dtype" twice)"},
      {"tensor_is_a_number", file_of(R"({"q":1})", 0), "not described by a JSON object"},
      {"no_dtype", tensor(R"("shape":[16],"data_offsets":[0,16])"), R"(has no "dtype")"},
      {"no_shape", tensor(R"("dtype":"U8","data_offsets":[0,16])"), R"(has no "shape")"},
      {"no_offsets", tensor(R"("dtype":"U8","shape":[16])"), R"(has no "data_offsets")"},
      {"dtype_is_a_number", tensor(R"("dtype":8,"shape":[16],"data_offsets":[0,16])"), "must be a string"},
      {"unknown_dtype", tensor(R"("dtype":"F128","shape":[1],"data_offsets":[0,16])"), R"(unknown dtype "F128")"},
      {"shape_is_a_number", tensor(R"("dtype":"U8","shape":16,"data_offsets":[0,16])"), "must be an array"},
      {"negative_extent", tensor(R"("dtype":"U8","shape":[-16],"data_offsets":[0,16])"), "whole numbers >= 0"},
      {"fractional_extent", tensor(R"("dtype":"U8","shape":[16.0],"data_offsets":[0,16])"), "whole numbers >= 0"},
      {"overflowing_shape", tensor(R"("dtype":"U8","shape":[4294967296,4294967296,16],"data_offsets":[0,16])"),
       "more bytes than any file"},
      {"overflowing_by_dtype", tensor(R"("dtype":"F64","shape":[2305843009213693954],"data_offsets":[0,16])"),
       "more bytes than any file"},
      {"one_offset", tensor(R"("dtype":"U8","shape":[16],"data_offsets":[16])"), "array of two numbers"},
      {"negative_offset", tensor(R"("dtype":"U8","shape":[16],"data_offsets":[-1,15])"), "whole numbers >= 0"},
      {"reversed_offsets", tensor(R"("dtype":"U8","shape":[8],"data_offsets":[16,8])"), "before it begins"},
      {"offset_past_the_end", tensor(R"("dtype":"U8","shape":[17],"data_offsets":[0,17])"), "the file holds only 16"},
      {"huge_offsets", tensor(R"("dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615])"),
       "the file holds only 16"},
      {"wrong_size", tensor(R"("dtype":"BF16","shape":[4],"data_offsets":[0,16])"), "[4] of BF16 takes 8"},
      {"overlap",
       file_of(
           R"({"k":{"dtype":"U8","shape":[8],"data_offsets":[4,12]},"q":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
           16),
       R"(tensors "q" and "k" overlap)"},
      {"metadata_with_a_number", file_of(R"({"__metadata__":{"a":1}})", 0), "must map strings to strings"},
      {"metadata_is_a_list", file_of(R"({"__metadata__":[]})", 0), "must map strings to strings"},
      {"newline_in_a_name", file_of("{\"a\\nb\":1}", 0), R"("a\nb" is not described)"},
  };
  return files;
}

class HostileSafetensors : public testing::TestWithParam<Hostile> {};

TEST_P(HostileSafetensors, is_refused_with_one_line_that_names_the_file) {
  const std::string message = message_of([] { parse(GetParam().file); });
  expect_contains(message, GetParam().message);
  EXPECT_EQ(message.rfind("t.safetensors: ", 0), 0U) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(All, HostileSafetensors, testing::ValuesIn(hostile_files()),
                         [](const auto &hostile) { return std::string(hostile.param.name); });

TEST(Safetensors, no_truncation_of_a_good_file_reads_as_whole) {
  const std::string whole = file_of(R"({"q":{"dtype":"U8","shape":[16],"data_offsets":[0,16]}})", 16);
  EXPECT_EQ(parse(whole).tensors.size(), 1U);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse(whole.substr(0, size)), Error) << size;
  }
}

} // namespace
} // namespace sale::io
