// SPDX-License-Identifier: Apache-2.0
// The version of libsale, as files that it writes name it.
#pragma once

namespace sale {

/// "0.1.0".
const char *library_version();

} // namespace sale
