/* Small fully connected networks, forward and backward.
 *
 * Legend: B rows, I inputs and O outputs of a layer; I', O': in whole vectors; B': in whole tiles.
 *
 * Every product here is  c[i, j] = from[i, j] + sum over k of a(i, k) b[k, j]  by tiles of a few rows
 * and one or two vectors of c, which stay in registers while k runs. So that vectors are whole, all
 * that is read as b or written as c is I' or O' wide, in memory that belongs to the chain; what is
 * beyond the real width is never read as a(i, k). Rows go through all layers BLOCK at a time, so that
 * what one product leaves behind is still in the first cache when the next one reads it.
 *
 * A sum has the same order whatever the number of rows is, or of threads: the same numbers
 * give the same result to the last bit. NaN and infinity spread as they do in numpy.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "team.h"

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define TILE_ROWS 8 /* the most of any variant */
#define TILE_COLS 2
#define BLOCK 64

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

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

INLINE int64_t whole(int64_t width) { return (width + LANES - 1) / LANES * LANES; }

INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }

/* Products. */

typedef struct {
    const float *data; /* NULL: all are zero */
    int64_t step;      /* from one row to the next; 0: all are the same */
} Matrix;

INLINE Matrix part(Matrix matrix, int64_t row, int64_t column) {
    const float *data = matrix.data ? matrix.data + row * matrix.step + column : NULL;
    return (Matrix){data, matrix.step};
}

#define EACH_VECTOR                                 \
    _Pragma("GCC unroll 8") for (int i = 0; i < rows; i++) \
    _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++)

/* a(i, k) is at a[i * a_row + k * a_step]. */
INLINE void tile(const int rows, const int cols, const float *a, int64_t a_row, int64_t a_step,
                 Matrix b, int64_t depth, Matrix from, float *c, int64_t c_row) {
    Lanes sums[TILE_ROWS][TILE_COLS];
    EACH_VECTOR sums[i][j] = from.data ? ((const Lanes *)(from.data + i * from.step))[j] : (Lanes){0};
    for (int64_t k = 0; k < depth; k++) {
        const Lanes *row = (const Lanes *)(b.data + k * b.step);
        EACH_VECTOR sums[i][j] += a[i * a_row + k * a_step] * row[j];
    }
    EACH_VECTOR ((Lanes *)(c + i * c_row))[j] = sums[i][j];
}

/* All of c: `height` rows, up to the end of a tile, of `width`, which is in whole vectors. */
INLINE void product(const int rows, const int cols, const float *a, int64_t a_row, int64_t a_step,
                    Matrix b, int64_t depth, Matrix from, float *c, int64_t height, int64_t width) {
    for (int64_t i = 0; i < height; i += rows) {
        int64_t j = 0;
        for (; j + cols * LANES <= width; j += cols * LANES)
            tile(rows, cols, a + i * a_row, a_row, a_step, part(b, 0, j), depth, part(from, i, j),
                 c + i * width + j, width);
        if (j < width)
            tile(rows, 1, a + i * a_row, a_row, a_step, part(b, 0, j), depth, part(from, i, j),
                 c + i * width + j, width);
    }
}

/* Activations. */

INLINE Lanes where(Ints mask, Lanes yes, Lanes no) {
    return (Lanes)((mask & (Ints)yes) | (~mask & (Ints)no));
}

/* e^x - 1 for 0 <= x <= 20, within 1e-7 of it: x = n log 2 + r, and a polynomial in r. */
INLINE Lanes expm1_of(Lanes x) {
    const Lanes rounding = (Lanes){0} + 12582912.0f; /* 1.5 * 2^23: what is added to it is rounded */
    const Lanes shifted = x * 1.44269504f + rounding;
    const Lanes n = shifted - rounding;
    const Lanes r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    Lanes p = 1.38825097e-3f * r + 8.36658012e-3f;
    p = p * r + 4.16672006e-2f;
    p = p * r + 1.66665435e-1f;
    p = p * r + 4.99999970e-1f;
    p = p * (r * r) + r;
    const Lanes power = (Lanes)(((Ints)shifted - (Ints)rounding + 127) << 23);
    return p * power + (power - 1.0f);
}

INLINE Lanes tanh_of(Lanes x) {
    const Ints sign = (Ints)x & INT32_MIN;
    const Lanes twice = (Lanes)((Ints)x ^ sign) * 2.0f;
    const Lanes e = expm1_of(where(twice > 20.0f, (Lanes){0} + 20.0f, twice)); /* NaN stays NaN */
    return (Lanes)((Ints)(e / (e + 2.0f)) | sign);
}

INLINE void activate(int64_t activation, float *y, int64_t size) {
    Lanes *end = (Lanes *)(y + size);
    if (activation == TANH)
        for (Lanes *each = (Lanes *)y; each < end; each++) *each = tanh_of(*each);
    if (activation == RELU)
        for (Lanes *each = (Lanes *)y; each < end; each++)
            *each = where(*each < 0.0f, (Lanes){0}, *each);
}

/* From the gradient of an activation's result y to that of its argument, in place. */
INLINE void slope(int64_t activation, const float *y, float *gradient, int64_t size) {
    const Lanes *of = (const Lanes *)y;
    Lanes *end = (Lanes *)(gradient + size);
    if (activation == TANH)
        for (Lanes *each = (Lanes *)gradient; each < end; each++, of++) *each *= 1.0f - *of * *of;
    if (activation == RELU)
        for (Lanes *each = (Lanes *)gradient; each < end; each++, of++)
            *each = where(*of <= 0.0f, (Lanes){0}, *each);
}

/* Passes through all layers. */

INLINE void copy_rows(float *to, int64_t to_width, const float *from, int64_t from_width,
                      int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i++)
        memcpy(to + i * to_width, from + i * from_width, width * sizeof(float));
}

/* Take over the weights as they are now. */
void dense_load(const Chain *chain) {
    for (int64_t l = 0; l < chain->num_layers; l++) {
        const Layer *layer = chain->layers + l;
        const int64_t inputs = layer->inputs, outputs = layer->outputs;
        for (int64_t part = 0; part < outputs; part += LANES)
            for (int64_t i = 0; i < inputs; i++)
                for (int64_t o = part; o < min(part + LANES, outputs); o++)
                    layer->by_input[i * whole(outputs) + o] = layer->weight[o * inputs + i];
        memcpy(layer->start, layer->bias, outputs * sizeof(float));
        if (layer->of_weight)
            copy_rows(layer->by_output, whole(inputs), layer->weight, inputs, outputs, inputs);
    }
}

/* The rows from `at` to `end`. */
INLINE void forward(const int rows, const int cols, const Chain *chain, int64_t at, int64_t end) {
    for (; at < end; at += BLOCK) {
        const int64_t height = min(BLOCK, end - at);
        int64_t width = whole(chain->layers->inputs);
        const float *x = chain->features + at * width;
        for (int64_t l = 0; l < chain->num_layers; l++) {
            const Layer *layer = chain->layers + l;
            const int64_t next = whole(layer->outputs);
            float *results = layer->results + at * next;
            product(rows, cols, x, width, 1, (Matrix){layer->by_input, next}, layer->inputs,
                    (Matrix){layer->start, 0}, results, height, next);
            activate(layer->activation, results, height * next);
            x = results, width = next;
        }
    }
}

/* Of the parameters of one layer, added to its sums: of rows whose inputs are x [height, I']. */
INLINE void add_gradients(const int rows, const int cols, const Layer *layer, const float *gradient,
                          const float *x, int64_t height) {
    const int64_t inputs = whole(layer->inputs), outputs = whole(layer->outputs);
    product(rows, cols, gradient, 1, outputs, (Matrix){x, inputs}, height,
            (Matrix){layer->sums, inputs}, layer->sums, layer->outputs, inputs);
    for (int64_t i = 0; i < height; i++)
        for (int64_t o = 0; o < outputs; o++) layer->start_sums[o] += gradient[i * outputs + o];
}

/* Those of the parameters by the first `num_trained` rows, those of the features from the row
 * `features_from` on. */
INLINE void backward(const int rows, const int cols, const Chain *chain, int64_t num_rows,
                     int64_t num_trained, int64_t features_from) {
    const Layer *first = chain->layers, *last = first + chain->num_layers - 1;
    for (int64_t at = 0, height; at < num_rows; at += height) {
        height = min(BLOCK, num_rows - at);
        if (at < num_trained) height = min(height, num_trained - at);
        if (at < features_from) height = min(height, features_from - at);
        float *gradient = chain->of_results + at * whole(last->outputs);
        for (const Layer *layer = last; layer >= first; layer--) {
            const int64_t inputs = whole(layer->inputs), outputs = whole(layer->outputs);
            const float *x = layer > first ? layer[-1].results : chain->features;
            float *next = chain->spare[(last - layer) % 2];
            if (layer == first) next = at >= features_from ? chain->of_features + at * inputs : NULL;
            slope(layer->activation, layer->results + at * outputs, gradient, height * outputs);
            if (at < num_trained)
                add_gradients(rows, cols, layer, gradient, x + at * inputs, height);
            if (next)
                product(rows, cols, gradient, outputs, 1, (Matrix){layer->by_output, inputs},
                        layer->outputs, (Matrix){NULL, 0}, next, height, inputs);
            gradient = next;
        }
    }
}

/* The same for what a processor has; tiles leave registers for a vector of b and a factor. */

#define VARIANT(name, target, rows, cols)                                                         \
    target static void forward_##name(const Chain *chain, int64_t at, int64_t end) {              \
        forward(rows, cols, chain, at, end);                                                      \
    }                                                                                             \
    target static void backward_##name(const Chain *chain, int64_t num_rows, int64_t num_trained, \
                                       int64_t features_from) {                                   \
        backward(rows, cols, chain, num_rows, num_trained, features_from);                        \
    }

VARIANT(plain, , 4, 1)
#if defined(__x86_64__)
VARIANT(avx2, __attribute__((target("avx2,fma"))), 4, 1)
VARIANT(avx512, __attribute__((target("avx512f,fma"))), 8, 2)
#define CHOOSE(pass)                                                             \
    (__builtin_cpu_supports("avx512f")                                           \
         ? pass##_avx512                                                         \
     : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? pass##_avx2 \
                                                                       : pass##_plain)
#else
#define CHOOSE(pass) pass##_plain
#endif

/* The results of all layers for some rows of the features. */
static void forward_rows(const Chain *chain, int64_t at, int64_t end) {
    CHOOSE(forward)(chain, at, end);
}

void dense_forward(const Chain *chain, int64_t num_rows) { forward_rows(chain, 0, num_rows); }

/* From the gradient of the latest results, which it changes, to those of the parameters, which are
 * overwritten, by the first `num_trained` rows, and to those of the features from a row on. */
void dense_backward(const Chain *chain, int64_t num_rows, int64_t num_trained,
                    int64_t features_from) {
    for (int64_t l = 0; l < chain->num_layers; l++) {
        const Layer *layer = chain->layers + l;
        const int64_t outputs = whole(layer->outputs);
        memset(layer->sums, 0, outputs * whole(layer->inputs) * sizeof(float));
        memset(layer->start_sums, 0, outputs * sizeof(float));
    }
    CHOOSE(backward)(chain, num_rows, num_trained, features_from);
    for (int64_t l = 0; l < chain->num_layers; l++) {
        const Layer *layer = chain->layers + l;
        copy_rows(layer->of_weight, layer->inputs, layer->sums, whole(layer->inputs),
                  layer->outputs, layer->inputs);
        memcpy(layer->of_bias, layer->start_sums, layer->outputs * sizeof(float));
    }
}

/* Several chains at the same time: a thread takes a block of rows forward, or a chain backward. The
 * numbers do not depend on how many threads there are. */

typedef struct {
    const Chain *chain;
    int64_t num_rows, num_trained, features_from;
} Pass;

static void load_one(const void *passes, int64_t index) {
    dense_load(((const Pass *)passes)[index].chain);
}

static int64_t blocks(const Pass *pass) { return (pass->num_rows + BLOCK - 1) / BLOCK; }

static void forward_one(const void *passes, int64_t index) {
    const Pass *pass = passes;
    for (; index >= blocks(pass); pass++) index -= blocks(pass);
    forward_rows(pass->chain, index * BLOCK, min((index + 1) * BLOCK, pass->num_rows));
}

static void backward_one(const void *passes, int64_t index) {
    const Pass *pass = (const Pass *)passes + index;
    dense_backward(pass->chain, pass->num_rows, pass->num_trained, pass->features_from);
}

void dense_load_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    team_do(load_one, passes, num_passes, num_threads);
}

void dense_forward_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    int64_t pieces = 0;
    for (int64_t i = 0; i < num_passes; i++) pieces += blocks(passes + i);
    team_do(forward_one, passes, pieces, num_threads);
}

void dense_backward_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    team_do(backward_one, passes, num_passes, num_threads);
}

/* Whether layers of some hundred units are done as fast as by torch, which has been seen of vectors
 * that this processor may have. */
int dense_is_wide(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") != 0;
#else
    return 0;
#endif
}

/* Changes with the fields of any structure, so that an old library is not used with new ones. */
int64_t kernels_version(void) { return 4; }
