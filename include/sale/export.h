/* SPDX-License-Identifier: Apache-2.0 */
/* SALE_API marks what the shared library shows; all else in it is hidden. */
#ifndef SALE_EXPORT_H
#define SALE_EXPORT_H

#define SALE_API __attribute__((visibility("default")))

#endif
