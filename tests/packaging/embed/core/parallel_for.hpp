// SPDX-License-Identifier: Apache-2.0
// The application's own header, of a name that libsale has as well.
#pragma once

inline constexpr bool application_header = true;
