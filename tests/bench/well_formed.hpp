// SPDX-License-Identifier: Apache-2.0
// A check of XML that needs no library.
#pragma once

#include <string>

namespace sale::bench_test {

/// What is wrong with the text as one XML element; empty when nothing is. Knows tags, attributes and entities, all that
/// charts use.
std::string xml_problem(const std::string &text);

} // namespace sale::bench_test
