/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What rig-raw.h and rig-h264-bits.c use of the kernel, for user space. The
 * <linux/...> headers they include exist here, too, but with fewer things.
 */
#ifndef RIG_TEST_SHIM_H
#define RIG_TEST_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

#define ALIGN(value, to)	(((value) + (to) - 1) / (to) * (to))
#define DIV_ROUND_UP(a, b)	(((a) + (b) - 1) / (b))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min_t(type, a, b)	min((type)(a), (type)(b))
#define clamp_t(type, value, low, high)	\
	min(max((type)(value), (type)(low)), (type)(high))

static inline u32 fls(u32 value)
{
	return value ? 32 - __builtin_clz(value) : 0;
}

#endif /* RIG_TEST_SHIM_H */
