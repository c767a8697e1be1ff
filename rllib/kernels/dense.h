/* What the passes through layers work on, and helpers of theirs.
 *
 * Legend: B rows, I inputs and O outputs of a layer; I', O': in whole lines; B': in whole tiles.
 */

#ifndef DENSE_H
#define DENSE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define LINE 16 /* floats of a cache line, in which all vectors are whole */
#define BLOCK 64

/* What rllib/kernels/dense.py fills in; it declares the same fields. */
typedef struct {
    int64_t inputs, outputs, activation;
    const float *weight, *bias;          /* [O, I], [O] */
    float *of_weight, *of_bias;          /* [O, I], [O] their gradients; NULL without backward */
    float *by_input, *by_output, *start; /* [I, O'], [O, I'], [O'] copies of weights and biases */
    float *sums, *start_sums;            /* [O', I'], [O'] of gradients */
    float *results;                      /* [B', O'] */
    float *of_argument;                  /* [B', O'] gradient of what the activation is of */
} Layer;

typedef struct {
    const Layer *layers;
    int64_t num_layers;
    float *features;    /* [B', I'] */
    float *of_features; /* [B', I'] gradient of the features */
} Chain;

/* What several chains do at the same time. */
typedef struct {
    const Chain *chain;
    int64_t num_rows, num_trained, features_from;
} Pass;

enum { LINEAR, TANH, RELU };

/* Whether the processor has AVX-512, and may use it. */
int dense_has_avx512(void);

INLINE int64_t whole(int64_t width) { return (width + LINE - 1) / LINE * LINE; }

INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE void copy_rows(float *to, int64_t to_width, const float *from, int64_t from_width,
                      int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + i * to_width, from + i * from_width, width * sizeof(float));
}

/* In dense.c: of all passes by several threads; the numbers do not depend on how many there are. */
void dense_load_all(const Pass *passes, int64_t num_passes, int64_t num_threads);
void dense_forward_all(const Pass *passes, int64_t num_passes, int64_t num_threads);
void dense_backward_all(const Pass *passes, int64_t num_passes, int64_t num_threads);

/* By what a processor can do at once: what dense_passes.h has. */
#define DECLARE(name)                                                              \
    void dense_load_##name(const Layer *layer);                                    \
    void dense_forward_##name(const Chain *chain, int64_t at, int64_t end);        \
    void dense_backward_##name(const Chain *chain, int64_t at, int64_t end,        \
                               int64_t features_from);                             \
    void dense_train_##name(const Layer *layer, const float *x, int64_t num_rows,  \
                            int64_t at, int64_t end);

DECLARE(plain)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#endif

#endif
