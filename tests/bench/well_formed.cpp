// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/well_formed.hpp"

#include <regex>
#include <vector>

namespace sale::bench_test {

std::string xml_problem(const std::string &text) {
  static const std::regex tag(R"rx(^<(/?)([a-z]+)((?: [A-Za-z0-9:-]+="[^"<]*")*) ?(/?)>)rx");
  static const std::regex entity("^&(lt|gt|amp|quot);");
  std::vector<std::string> open;
  bool begun = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::string rest = text.substr(at, 4096);
    std::smatch match;
    if (text[at] == '<') {
      if (!std::regex_search(rest, match, tag)) {
        return "bad tag: " + rest.substr(0, 80);
      }
      if (begun && open.empty()) {
        return "a second element: " + rest.substr(0, 80);
      }
      begun = true;
      if (match[1].length() > 0) {
        if (open.back() != match[2]) {
          return "</" + match[2].str() + "> closes <" + open.back() + ">";
        }
        open.pop_back();
      } else if (match[4].length() == 0) {
        open.push_back(match[2]);
      }
      at += static_cast<std::size_t>(match.length());
    } else if (text[at] == '&') {
      if (!std::regex_search(rest, match, entity)) {
        return "bad entity: " + rest.substr(0, 20);
      }
      at += static_cast<std::size_t>(match.length());
    } else {
      ++at;
    }
  }
  return open.empty() && begun ? "" : "an element is not closed";
}

} // namespace sale::bench_test
