/* For processors that have AVX2. */

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define NAMED(pass) dense_##pass##_avx2
#define LANES 8
#define TILE_ROWS 4
#define TILE_COLS 2
#include "dense_passes.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
