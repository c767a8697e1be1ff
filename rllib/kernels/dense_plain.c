/* For any processor: vectors are those that each of them has. */

#define NAMED(pass) dense_##pass##_plain
#define LANES 4
#define TILE_ROWS 4
#define TILE_COLS 2
#include "dense_passes.h"
