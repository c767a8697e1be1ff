/* For processors that have AVX-512. */

#if defined(__x86_64__)
#pragma GCC target("avx512f,fma")
#define NAMED(pass) dense_##pass##_avx512
#define LANES 16
#define TILE_ROWS 8
#define TILE_COLS 2
#include "dense_passes.h"
#endif
