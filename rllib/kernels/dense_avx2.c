/* For processors that have AVX2. */

#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define NAMED(pass) dense_##pass##_avx2
#define LANES 8
#define TILE_ROWS 4
#define TILE_COLS 2
#include "dense_passes.h"
#endif
