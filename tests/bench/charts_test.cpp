// SPDX-License-Identifier: Apache-2.0
#include "bench/charts.hpp"
#include "bench/svg_chart.hpp"
#include "tests/bench/well_formed.hpp"

#include <gtest/gtest.h>

#include <regex>

namespace sale::bench {
namespace {

using bench_test::xml_problem;

std::size_t count(const std::string &text, const std::string &part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

// Every coordinate lies in the picture.
void expect_inside(const std::string &svg) {
  std::smatch size;
  ASSERT_TRUE(std::regex_search(svg, size, std::regex("viewBox=\"0 0 ([0-9]+) ([0-9]+)\"")));
  const std::regex attribute(" (x|x1|x2|cx|y|y1|y2|cy)=\"([^\"]*)\"");
  for (std::sregex_iterator it(svg.begin(), svg.end(), attribute), end; it != end; ++it) {
    const double value = std::stod((*it)[2]);
    const bool across = (*it)[1].str().find('x') != std::string::npos;
    EXPECT_GE(value, 0) << it->str();
    EXPECT_LE(value, std::stod(size[across ? 1 : 2])) << it->str();
  }
}

TEST(XmlProblem, sees_what_is_wrong) {
  EXPECT_EQ(xml_problem("<a b=\"1\"><c/>x &amp; y</a>\n"), "");
  EXPECT_NE(xml_problem("<a><b></a></b>"), "");
  EXPECT_NE(xml_problem("<a>"), "");
  EXPECT_NE(xml_problem("<a>x & y</a>"), "");
  EXPECT_NE(xml_problem("<a>x < y</a>"), "");
  EXPECT_NE(xml_problem("<a/><b/>"), "");
}

TEST(Ticks, are_round_and_hold_the_numbers) {
  EXPECT_EQ(linear_ticks(4.2), (std::vector<double>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(linear_ticks(100), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(linear_ticks(0), linear_ticks(1));
  EXPECT_EQ(log_ticks(1.5, 30), (std::vector<double>{1, 2, 5, 10, 20, 50}));
  EXPECT_EQ(log_ticks(0.02, 3e4), (std::vector<double>{0.01, 0.1, 1, 10, 100, 1000, 1e4, 1e5}));
  EXPECT_EQ(log_ticks(1, 1), (std::vector<double>{1, 2}));
}

TEST(LineChart, has_a_line_a_mark_per_point_and_a_legend) {
  LineChart chart;
  chart.title = "a < b & \"c\"";
  chart.x_label = "tokens";
  chart.y_label = "ms";
  chart.x_ticks = {{1024, "1K"}, {4096, "4K"}};
  chart.lines = {{"one", {{1024, 0.5}, {4096, 8}}}, {"two", {{1024, 0.25}}}};
  for (const bool log_y : {false, true}) {
    chart.log_y = log_y;
    const std::string svg = chart.svg();
    EXPECT_EQ(xml_problem(svg), "");
    expect_inside(svg);
    EXPECT_EQ(count(svg, "<polyline"), 2U);
    EXPECT_EQ(count(svg, "<circle"), 2U + 1U); // and the legend's
    EXPECT_EQ(count(svg, ">1K<"), 1U);
    EXPECT_NE(svg.find("a &lt; b &amp; &quot;c&quot;"), std::string::npos);
  }
}

TEST(LineChart, of_one_point_or_none_is_still_a_chart) {
  LineChart chart;
  EXPECT_EQ(xml_problem(chart.svg()), "");
  chart.lines = {{"one", {{1024, 3}}}};
  chart.log_y = true;
  EXPECT_EQ(xml_problem(chart.svg()), "");
  expect_inside(chart.svg());
}

TEST(StackedChart, stacks_parts_to_their_sum) {
  StackedChart chart;
  chart.parts = {"a", "b"};
  chart.level = 10;
  chart.bars = {{"1K\nint8", {2, 3}, "5 ms"}};
  const std::string svg = chart.svg();
  EXPECT_EQ(xml_problem(svg), "");
  expect_inside(svg);
  // 380 pixels for 0 to 10: the parts are 76 and 114 high, the second ends where the first begins.
  EXPECT_NE(svg.find("y=\"360.0\" width=\"56.0\" height=\"76.0\""), std::string::npos) << svg;
  EXPECT_NE(svg.find("y=\"246.0\" width=\"56.0\" height=\"114.0\""), std::string::npos) << svg;
  EXPECT_EQ(count(svg, ">int8<"), 1U);
}

Section section_of(int length, double dense_ms, double sale_ms) {
  Section section;
  section.input = "structured:0.12";
  section.shape = {1, length, length};
  Row dense;
  dense.ms.add(dense_ms);
  Row sale;
  sale.work = Work::sale;
  sale.estimate = "fp8/64";
  sale.ms.add(sale_ms);
  for (Samples &samples : sale.stage_ms) {
    samples.add(sale_ms / static_cast<double>(sale.stage_ms.size()));
  }
  sale.stage_total_ms.add(sale_ms);
  section.rows = {dense, sale};
  return section;
}

TEST(Charts, show_time_speedup_and_stages) {
  const auto files = draw_charts({section_of(4096, 2, 1), section_of(1024, 0.5, 1)}, "a GPU");
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].name, "time.svg");
  EXPECT_EQ(files[1].name, "speedup.svg");
  EXPECT_EQ(files[2].name, "stages.svg");
  for (const ChartFile &file : files) {
    EXPECT_EQ(xml_problem(file.svg), "") << file.name;
    expect_inside(file.svg);
    EXPECT_NE(file.svg.find(", a GPU"), std::string::npos);
  }
  EXPECT_EQ(count(files[0].svg, "<polyline"), 2U);
  EXPECT_EQ(count(files[1].svg, "<polyline"), 1U) << "dense beside itself says nothing";
  EXPECT_NE(files[2].svg.find("% of dense"), std::string::npos);
}

TEST(Charts, of_two_inputs_of_one_length_are_told_apart) {
  Section other = section_of(1024, 0.5, 2);
  other.input = "captured";
  const auto files = draw_charts({section_of(1024, 0.5, 1), other}, "a GPU");
  EXPECT_EQ(count(files[0].svg, "<polyline"), 4U);
  EXPECT_NE(files[0].svg.find("dense, captured"), std::string::npos);
}

TEST(Charts, of_nothing_are_none) {
  Section left_out;
  left_out.left_out = "needs more memory";
  EXPECT_TRUE(draw_charts({left_out}, "a GPU").empty());
}

} // namespace
} // namespace sale::bench
