// SPDX-License-Identifier: Apache-2.0
#include "io/mask_image.hpp"

#include "reference/region.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace sale::io {

namespace {

using Colour = std::array<double, 3>;
constexpr Colour in_reference_colour = {238, 140, 34};
constexpr Colour kept_colour = {24, 64, 150};
constexpr Colour dropped_colour = {255, 255, 255};
constexpr Colour invisible_colour = {226, 226, 226};
constexpr std::uint8_t gap_shade = 150;
constexpr int gap = 4;

struct PanelSize {
  int width;
  int height;
};

// Whole pixels per block when they fit, so that blocks keep sharp edges; tokens have the same scale on both axes as far
// as a chunk of few queries stays visible.
PanelSize panel_size(const reference::Mask &mask, const Policy &policy, const Shape &shape, int most) {
  constexpr int least_height = 48;
  const int pixels_per_block = std::max(1, most / mask.k_blocks());
  const int width = std::min(most, mask.k_blocks() * pixels_per_block);
  const double tokens_per_pixel = static_cast<double>(mask.k_blocks()) * policy.block_k / width;
  const int rows = mask.q_blocks() * policy.block_q;
  const int height = static_cast<int>(std::lround(std::min(rows, 2 * shape.kv_len) / tokens_per_pixel));
  return {width, std::clamp(height, std::min(least_height, most), most)};
}

// The blocks [first, last] that pixel `at` of `pixels` covers.
std::pair<int, int> covered(int at, int pixels, int blocks) {
  const auto scaled = [&](std::int64_t pixel) { return pixel * blocks; };
  const int first = static_cast<int>(scaled(at) / pixels);
  const int last = static_cast<int>((scaled(at + 1) - 1) / pixels);
  return {first, std::max(first, last)};
}

struct Counts {
  int in_reference = 0;
  int kept = 0;
  int dropped = 0;
  int invisible = 0;
};

Colour shade(const Counts &counts) {
  // The root lifts single kept blocks among many dropped ones out of the paper's white.
  const int estimated = counts.kept + counts.dropped;
  const double strength = estimated > 0 ? std::sqrt(static_cast<double>(counts.kept) / estimated) : 0.0;
  const double total = estimated + counts.in_reference + counts.invisible;
  Colour colour{};
  for (std::size_t channel = 0; channel < colour.size(); ++channel) {
    const double middle = kept_colour[channel] * strength + dropped_colour[channel] * (1.0 - strength);
    colour[channel] = (middle * estimated + in_reference_colour[channel] * counts.in_reference +
                       invisible_colour[channel] * counts.invisible) /
                      total;
  }
  return colour;
}

class Panel {
public:
  Panel(const reference::Mask &mask, const Policy &policy, const Problem &problem, const Shape &shape, PanelSize size)
      : mask_(mask), size_(size) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      regions_.push_back(reference::region_of(policy, problem, shape, m));
    }
  }

  void draw(Image &image, int head, int left, int top) const {
    for (int y = 0; y < size_.height; ++y) {
      for (int x = 0; x < size_.width; ++x) {
        const Colour colour = shade(count(head, x, y));
        auto *pixel = image.rgb.data() + (static_cast<std::size_t>(top + y) * image.width + left + x) * 3;
        std::transform(colour.begin(), colour.end(), pixel,
                       [](double value) { return static_cast<std::uint8_t>(std::lround(value)); });
      }
    }
  }

private:
  Counts count(int head, int x, int y) const {
    const auto [first_m, last_m] = covered(y, size_.height, mask_.q_blocks());
    const auto [first_j, last_j] = covered(x, size_.width, mask_.k_blocks());
    Counts counts;
    for (int m = first_m; m <= last_m; ++m) {
      for (int j = first_j; j <= last_j; ++j) {
        const bool kept = mask_.test(0, head, m, j);
        counts.invisible += regions_[m].visible(j) ? 0 : 1;
        counts.in_reference += regions_[m].in_reference(j) && kept ? 1 : 0;
        counts.kept += regions_[m].estimated(j) && kept ? 1 : 0;
        counts.dropped += regions_[m].visible(j) && !kept ? 1 : 0;
      }
    }
    return counts;
  }

  const reference::Mask &mask_;
  PanelSize size_;
  std::vector<reference::Region> regions_;
};

} // namespace

Image draw_mask(const reference::Mask &mask, const Policy &policy, const Problem &problem, const Shape &shape,
                const std::vector<int> &heads) {
  const int count = static_cast<int>(heads.size());
  if (count == 0 || mask.q_blocks() == 0 || mask.batch() == 0) {
    throw Error(ErrorKind::invalid_argument, "a mask picture needs at least one head and one query");
  }
  const int columns = count <= 3 ? count : static_cast<int>(std::ceil(std::sqrt(count)));
  const int rows = (count + columns - 1) / columns;
  const int most = count == 1 ? 1024 : std::max(64, std::min(768, 2048 / columns));
  const PanelSize size = panel_size(mask, policy, shape, most);

  Image image;
  image.width = columns * size.width + (columns - 1) * gap;
  image.height = rows * size.height + (rows - 1) * gap;
  image.rgb.assign(static_cast<std::size_t>(image.width) * image.height * 3, gap_shade);
  const Panel panel(mask, policy, problem, shape, size);
  for (int i = 0; i < count; ++i) {
    panel.draw(image, heads[i], i % columns * (size.width + gap), i / columns * (size.height + gap));
  }
  return image;
}

void write_png(const std::filesystem::path &path, const Image &image) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(image.width);
  png.height = static_cast<png_uint_32>(image.height);
  png.format = PNG_FORMAT_RGB;
  if (png_image_write_to_file(&png, path.c_str(), 0, image.rgb.data(), 0, nullptr) == 0) {
    throw Error(ErrorKind::io, fmt::format("{}: the picture cannot be written ({})", path.string(), png.message));
  }
}

} // namespace sale::io
