/* SPDX-License-Identifier: Apache-2.0 */
#include "sale/sale.h"

int c_api_version(void) { return SALE_C_API_VERSION; }
