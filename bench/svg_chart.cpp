// SPDX-License-Identifier: Apache-2.0
#include "bench/svg_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace sale::bench {

namespace {

// Told apart by people who do not see all colours (Okabe and Ito), and by print: lines also have different marks.
constexpr std::array<const char *, 8> colours = {"#000000", "#0072b2", "#d55e00", "#009e73",
                                                 "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31"};

constexpr double left = 80;
constexpr double top = 56;
constexpr double plot_height = 380;
constexpr double legend_gap = 24;
constexpr double legend_width = 270;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
    case '<': result += "&lt;"; break;
    case '>': result += "&gt;"; break;
    case '&': result += "&amp;"; break;
    case '"': result += "&quot;"; break;
    default: result += letter;
    }
  }
  return result;
}

const char *colour(std::size_t index) { return colours[index % colours.size()]; }

// What both kinds have: a frame, a y axis with its grid, titles and a legend.
class Canvas {
public:
  Canvas(double plot_width, double bottom) : plot_width_(plot_width), bottom_(bottom) {}

  double right() const { return left + plot_width_; }
  static double base() { return top + plot_height; }

  void line(double x1, double y1, double x2, double y2, const char *style) {
    body_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2, y2, style);
  }
  void text(double x, double y, const char *anchor, std::string_view words, const std::string &more = "") {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more,
                         escaped(words));
  }
  void rectangle(double x, double y, double width, double height, const char *fill) {
    body_ += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y,
                         width, height, fill);
  }
  void add(const std::string &element) { body_ += element; }

  void titles(const std::string &title, const std::string &x_label, const std::string &y_label) {
    text(left, 28, "start", title, " font-size=\"16\" font-weight=\"bold\"");
    if (!x_label.empty()) {
      text((left + right()) / 2, base() + bottom_ - 12, "middle", x_label);
    }
    const double middle = top + plot_height / 2;
    text(20, middle, "middle", y_label, fmt::format(" transform=\"rotate(-90 20 {:.1f})\"", middle));
  }
  void y_tick(double y, const std::string &label) {
    line(left, y, right(), y, "stroke=\"#dddddd\"");
    text(left - 8, y + 4, "end", label);
  }
  void level(double y) { line(left, y, right(), y, "stroke=\"#555555\" stroke-dasharray=\"6 4\""); }
  void axes() {
    line(left, top, left, base(), "stroke=\"#000000\"");
    line(left, base(), right(), base(), "stroke=\"#000000\"");
  }
  double legend_x() const { return right() + legend_gap; }
  static double legend_y(std::size_t index) { return top + 10 + 22 * static_cast<double>(index); }

  std::string svg() const {
    const double width = right() + legend_gap + legend_width;
    const double height = base() + bottom_;
    return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
                       "height=\"{1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n"
                       "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{2}</svg>\n",
                       width, height, body_);
  }

private:
  double plot_width_;
  double bottom_;
  std::string body_;
};

// The mark of a line's points, different for lines of one colour and for neighbours.
std::string mark(std::size_t index, double x, double y) {
  const char *fill = colour(index);
  constexpr double r = 4.5;
  switch (index % 3) {
  case 0: return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" fill=\"{}\"/>\n", x, y, r, fill);
  case 1:
    return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x - 4,
                       y - 4, 8.0, 8.0, fill);
  default: break;
  }
  return fmt::format("<path d=\"M {:.1f} {:.1f} l 5 9 h -10 z\" fill=\"{}\"/>\n", x, y - 5, fill);
}

std::string number(double value) { return fmt::format("{:.4g}", value); }

} // namespace

std::vector<double> linear_ticks(double most) {
  most = most > 0 && std::isfinite(most) ? most : 1;
  const double rough = most / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (const double factor : {2.0, 5.0, 10.0}) {
    if (step < rough * (1 - 1e-9)) {
      step = factor * power;
    }
  }
  std::vector<double> ticks;
  for (int i = 0; ticks.empty() || ticks.back() < most * (1 - 1e-9); ++i) {
    ticks.push_back(i * step);
  }
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  const int first = static_cast<int>(std::floor(std::log10(low)));
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  std::vector<double> ticks;
  for (int power = first; power <= last; ++power) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (factor == 1.0 || last - first <= 3) {
        ticks.push_back(factor * std::pow(10, power));
      }
    }
  }
  constexpr double slack = 1e-9;
  while (ticks.size() > 2 && ticks[1] <= low * (1 + slack)) {
    ticks.erase(ticks.begin());
  }
  while (ticks.size() > 2 && ticks[ticks.size() - 2] >= high * (1 - slack)) {
    ticks.pop_back();
  }
  return ticks;
}

std::string LineChart::svg() const {
  constexpr double plot_width = 620;
  Canvas canvas(plot_width, 64);
  double low = std::numeric_limits<double>::max();
  double high = level.value_or(0);
  double x_low = std::numeric_limits<double>::max();
  double x_high = 0;
  for (const Line &series : lines) {
    for (const auto &[x, y] : series.points) {
      low = std::min(low, y);
      high = std::max(high, y);
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
    }
  }
  const bool logarithmic = log_y && high > 0 && low > 0;
  const std::vector<double> ticks = logarithmic ? log_ticks(std::min(low, high), high) : linear_ticks(high);
  const auto y_of = [&](double y) {
    const double share =
        logarithmic ? std::log(y / ticks.front()) / std::log(ticks.back() / ticks.front()) : y / ticks.back();
    return Canvas::base() - plot_height * share;
  };
  // A single length stands in the middle.
  const auto x_of = [&](double x) {
    constexpr double margin = 30;
    const double share = x_high > x_low ? std::log(x / x_low) / std::log(x_high / x_low) : 0.5;
    return left + margin + (plot_width - 2 * margin) * share;
  };

  canvas.titles(title, x_label, y_label);
  for (const double tick : ticks) {
    canvas.y_tick(y_of(tick), number(tick));
  }
  for (const auto &[x, label] : x_ticks) {
    canvas.line(x_of(x), Canvas::base(), x_of(x), Canvas::base() + 5, "stroke=\"#000000\"");
    canvas.text(x_of(x), Canvas::base() + 20, "middle", label);
  }
  if (level) {
    canvas.level(y_of(*level));
  }
  canvas.axes();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    std::string path;
    std::string marks;
    for (const auto &[x, y] : lines[i].points) {
      path += fmt::format("{:.1f},{:.1f} ", x_of(x), y_of(y));
      marks += mark(i, x_of(x), y_of(y));
    }
    canvas.add(fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n{}", path,
                           colour(i), marks));
    const double y = Canvas::legend_y(i);
    canvas.line(canvas.legend_x(), y, canvas.legend_x() + 26, y,
                fmt::format("stroke=\"{}\" stroke-width=\"2\"", colour(i)).c_str());
    canvas.add(mark(i, canvas.legend_x() + 13, y));
    canvas.text(canvas.legend_x() + 34, y + 4, "start", lines[i].name);
  }
  return canvas.svg();
}

std::string StackedChart::svg() const {
  constexpr double bar_width = 56;
  constexpr double slot = 110;
  const double plot_width = std::max(320.0, slot * static_cast<double>(bars.size()));
  Canvas canvas(plot_width, 76);
  double high = level.value_or(0);
  for (const Bar &bar : bars) {
    double total = 0;
    for (const double part : bar.parts) {
      total += part;
    }
    high = std::max(high, total);
  }
  const std::vector<double> ticks = linear_ticks(high);
  const auto height_of = [&](double value) { return plot_height * value / ticks.back(); };

  canvas.titles(title, "", y_label);
  for (const double tick : ticks) {
    canvas.y_tick(Canvas::base() - height_of(tick), number(tick));
  }
  if (level) {
    canvas.level(Canvas::base() - height_of(*level));
  }
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double middle = left + plot_width * (static_cast<double>(i) + 0.5) / static_cast<double>(bars.size());
    double y = Canvas::base();
    for (std::size_t part = 0; part < bars[i].parts.size(); ++part) {
      const double height = height_of(bars[i].parts[part]);
      y -= height;
      if (height > 0) {
        canvas.rectangle(middle - bar_width / 2, y, bar_width, height, colour(part + 1));
      }
    }
    canvas.text(middle, y - 6, "middle", bars[i].top);
    double line = Canvas::base() + 20;
    std::string_view label = bars[i].label;
    while (!label.empty()) {
      const std::size_t end = std::min(label.find('\n'), label.size());
      canvas.text(middle, line, "middle", label.substr(0, end));
      label.remove_prefix(std::min(end + 1, label.size()));
      line += 17;
    }
  }
  canvas.axes();
  // In the order in which they are stacked, from the top down.
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double y = Canvas::legend_y(i);
    const std::size_t part = parts.size() - 1 - i;
    canvas.rectangle(canvas.legend_x(), y - 8, 16, 16, colour(part + 1));
    canvas.text(canvas.legend_x() + 24, y + 4, "start", parts[part]);
  }
  return canvas.svg();
}

} // namespace sale::bench
