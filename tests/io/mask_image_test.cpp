// SPDX-License-Identifier: Apache-2.0
#include "io/mask_image.hpp"
#include "tests/io/support.hpp"

#include <array>

namespace sale::io {
namespace {

using Pixel = std::array<int, 3>;
constexpr Pixel orange = {238, 140, 34};
constexpr Pixel blue = {24, 64, 150};
constexpr Pixel white = {255, 255, 255};
constexpr Pixel grey = {226, 226, 226};

Pixel pixel(const Image &image, int x, int y) {
  const auto *rgb = image.rgb.data() + (static_cast<std::size_t>(y) * image.width + x) * 3;
  return {rgb[0], rgb[1], rgb[2]};
}

/// The pixel in the middle of a block.
Pixel block(const Image &image, int q_blocks, int k_blocks, int m, int j) {
  return pixel(image, (2 * j + 1) * image.width / (2 * k_blocks), (2 * m + 1) * image.height / (2 * q_blocks));
}

TEST(MaskImage, every_kind_of_block_has_its_colour) {
  const Policy policy; // 64 x 32, sink 32, window 128
  const Shape shape{1, 1024, 1024};
  reference::Mask mask(shape, 1, 64, 32);
  for (int m = 0; m < 16; ++m) {
    mask.set(0, 0, m, 0);
    mask.set(0, 0, m, 2 * m);
    mask.set(0, 0, m, 2 * m + 1);
  }
  mask.set(0, 0, 15, 5);
  const Image image = draw_mask(mask, policy, Problem(), shape, {0});
  EXPECT_LE(image.width, 1024);
  EXPECT_EQ(image.width, image.height);
  EXPECT_EQ(block(image, 16, 32, 15, 0), orange);  // sink
  EXPECT_EQ(block(image, 16, 32, 15, 30), orange); // diagonal
  EXPECT_EQ(block(image, 16, 32, 15, 5), blue);
  EXPECT_EQ(block(image, 16, 32, 15, 6), white);
  EXPECT_EQ(block(image, 16, 32, 3, 20), grey);
}

TEST(MaskImage, blocks_before_a_sliding_window_are_grey) {
  Problem problem;
  problem.sliding_window = 256;
  const Shape shape{1, 1024, 1024};
  const Image image = draw_mask(reference::Mask(shape, 1, 64, 32), Policy(), problem, shape, {0});
  EXPECT_EQ(block(image, 16, 32, 15, 0), grey);
  EXPECT_EQ(block(image, 16, 32, 15, 31), white);
}

TEST(MaskImage, blocks_smaller_than_a_pixel_become_a_shade) {
  Policy policy;
  policy.sink = 0;
  policy.window = 0;
  const Shape shape{1, 64, 1 << 18}; // 8192 key blocks
  reference::Mask mask(shape, 1, 64, 32);
  for (int j = 0; j < 4096; j += 4) {
    mask.set(0, 0, 0, j);
  }
  const Image image = draw_mask(mask, policy, Problem(), shape, {0});
  EXPECT_LE(image.width, 1024);
  const Pixel shaded = pixel(image, image.width / 4, image.height / 2);
  EXPECT_LT(shaded[0], white[0]);
  EXPECT_GT(shaded[0], blue[0]);
  EXPECT_EQ(pixel(image, image.width * 3 / 4, image.height / 2), white);
}

TEST(MaskImage, many_heads_stand_in_a_grid) {
  const Shape shape{1, 200, 200};
  const reference::Mask mask(shape, 32, 64, 32);
  std::vector<int> heads(32);
  for (int h = 0; h < 32; ++h) {
    heads[h] = h;
  }
  const Image image = draw_mask(mask, Policy(), Problem(), shape, heads);
  EXPECT_LE(image.width, 2100);
  EXPECT_LE(image.height, 2100);
  EXPECT_EQ(image.rgb.size(), static_cast<std::size_t>(image.width) * image.height * 3);
}

TEST(MaskImage, one_query_over_many_keys_is_still_visible) {
  const Shape shape{1, 1, 8192};
  const reference::Mask mask(shape, 1, 64, 32);
  EXPECT_GE(draw_mask(mask, Policy(), Problem(), shape, {0}).height, 32);
}

TEST(MaskImage, the_file_is_a_png_and_an_unwritable_path_is_an_error) {
  const TemporaryFolder folder;
  const Shape shape{1, 64, 64};
  const Image image = draw_mask(reference::Mask(shape, 1, 64, 32), Policy(), Problem(), shape, {0});
  write_png(folder.path() / "m.png", image);
  std::ifstream file(folder.path() / "m.png", std::ios::binary);
  std::string signature(4, ' ');
  file.read(signature.data(), 4);
  EXPECT_EQ(signature, "\x89PNG");
  expect_contains(message_of([&] { write_png(folder.path() / "no" / "m.png", image); }), "cannot be written");
}

} // namespace
} // namespace sale::io
