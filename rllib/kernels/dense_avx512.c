/* For processors that have AVX-512. */

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,fma")
#endif
#define NAMED(pass) dense_##pass##_avx512
#define LANES 16
#define TILE_ROWS 8
#define TILE_COLS 2
#include "dense_passes.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
