/* SPDX-License-Identifier: Apache-2.0 */
/* Marks what libsale.so exports; all else in it is hidden. For C and C++. */
#ifndef SALE_EXPORT_H
#define SALE_EXPORT_H

#if defined(__GNUC__)
#define SALE_API __attribute__((visibility("default")))
#else
#define SALE_API
#endif

#endif
