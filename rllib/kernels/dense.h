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
} Layer;

typedef struct {
    const Layer *layers;
    int64_t num_layers;
    const float *features; /* [B', I'] */
    float *of_results;     /* [B', O'] gradient of the last layer's results */
    float *of_features;    /* [B', I'] gradient of the features */
    float *spare[2];       /* two of [BLOCK, widest of all] */
} Chain;

enum { LINEAR, TANH, RELU };

INLINE int64_t whole(int64_t width) { return (width + LINE - 1) / LINE * LINE; }

INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE void copy_rows(float *to, int64_t to_width, const float *from, int64_t from_width,
                      int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + i * to_width, from + i * from_width, width * sizeof(float));
}

/* By what a processor can do at once: rows from `at` to `end` forward, and rows backward, of which the
 * first `num_trained` are those that the parameters' gradients are of, and those from `features_from`
 * on have the features'. */
#define DECLARE(name)                                                                     \
    void dense_forward_##name(const Chain *chain, int64_t at, int64_t end);               \
    void dense_backward_##name(const Chain *chain, int64_t num_rows, int64_t num_trained, \
                               int64_t features_from);

DECLARE(plain)
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
#endif

#endif
