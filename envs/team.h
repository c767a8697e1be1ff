/* Independent pieces of work by several threads. */

#include <stdint.h>

typedef void (*Piece)(const void *work, int64_t index);

/* Do all pieces, and return when they are done. Whoever has nothing to do takes the next piece, so
 * that it does not matter how long each takes, nor whether a thread wakes late. If another thread is
 * at this, the caller does all by itself. */
void team_do(Piece piece, const void *work, int64_t num_pieces, int64_t num_threads);
