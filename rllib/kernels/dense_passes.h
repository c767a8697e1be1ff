/* Layers forward and backward, with the vectors of one kind of processor. A file that includes this
 * says LANES, the floats of a vector; the rows and vectors of a tile; and the NAMED(pass) it makes.
 *
 * Every product here is  c[i, j] = from[i, j] + sum over k of a(i, k) b[k, j]  by tiles of a few rows
 * and one or two vectors of c, which stay in registers while k runs. So that vectors are whole, all
 * that is read as b or written as c is I' or O' wide, in memory that belongs to the chain; what is
 * beyond the real width is never read as a(i, k). Rows go through all layers BLOCK at a time, so that
 * what one product leaves behind is still in the first cache when the next one reads it.
 */

#include "dense.h"

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Products. */

typedef struct {
    const float *data; /* NULL: all are zero */
    int64_t step;      /* from one row to the next; 0: all are the same */
} Matrix;

INLINE Matrix part(Matrix matrix, int64_t row, int64_t column) {
    const float *data = matrix.data ? matrix.data + row * matrix.step + column : NULL;
    return (Matrix){data, matrix.step};
}

#define EACH_VECTOR                                             \
    _Pragma("GCC unroll 8") for (int i = 0; i < TILE_ROWS; i++) \
    _Pragma("GCC unroll 2") for (int j = 0; j < cols; j++)

/* a(i, k) is at a[i * a_row + k * a_step]. */
INLINE void tile(const int cols, const float *a, int64_t a_row, int64_t a_step, Matrix b,
                 int64_t depth, Matrix from, float *c, int64_t c_row) {
    Lanes sums[TILE_ROWS][TILE_COLS];
    EACH_VECTOR sums[i][j] = from.data ? ((const Lanes *)(from.data + i * from.step))[j] : (Lanes){0};
    for (int64_t k = 0; k < depth; k++) {
        const Lanes *row = (const Lanes *)(b.data + k * b.step);
        EACH_VECTOR sums[i][j] += a[i * a_row + k * a_step] * row[j];
    }
    EACH_VECTOR ((Lanes *)(c + i * c_row))[j] = sums[i][j];
}

/* All of c: `height` rows, up to the end of a tile, of `width`, which is in whole vectors. */
INLINE void product(const float *a, int64_t a_row, int64_t a_step, Matrix b, int64_t depth,
                    Matrix from, float *c, int64_t height, int64_t width) {
    for (int64_t i = 0; i < height; i += TILE_ROWS) {
        int64_t j = 0;
        for (; j + TILE_COLS * LANES <= width; j += TILE_COLS * LANES)
            tile(TILE_COLS, a + i * a_row, a_row, a_step, part(b, 0, j), depth, part(from, i, j),
                 c + i * width + j, width);
        for (; j < width; j += LANES)
            tile(1, a + i * a_row, a_row, a_step, part(b, 0, j), depth, part(from, i, j),
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

void NAMED(forward)(const Chain *chain, int64_t at, int64_t end) {
    for (; at < end; at += BLOCK) {
        const int64_t height = min(BLOCK, end - at);
        int64_t width = whole(chain->layers->inputs);
        const float *x = chain->features + at * width;
        for (int64_t l = 0; l < chain->num_layers; l++) {
            const Layer *layer = chain->layers + l;
            const int64_t next = whole(layer->outputs);
            float *results = layer->results + at * next;
            product(x, width, 1, (Matrix){layer->by_input, next}, layer->inputs,
                    (Matrix){layer->start, 0}, results, height, next);
            activate(layer->activation, results, height * next);
            x = results, width = next;
        }
    }
}

/* Of the parameters of one layer, added to its sums: of rows whose inputs are x [height, I']. */
INLINE void add_gradients(const Layer *layer, const float *gradient,
                          const float *x, int64_t height) {
    const int64_t inputs = whole(layer->inputs), outputs = whole(layer->outputs);
    product(gradient, 1, outputs, (Matrix){x, inputs}, height,
            (Matrix){layer->sums, inputs}, layer->sums, layer->outputs, inputs);
    for (int64_t i = 0; i < height; i++)
        for (int64_t o = 0; o < outputs; o++) layer->start_sums[o] += gradient[i * outputs + o];
}

void NAMED(backward)(const Chain *chain, int64_t num_rows, int64_t num_trained,
                     int64_t features_from) {
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
                add_gradients(layer, gradient, x + at * inputs, height);
            if (next)
                product(gradient, outputs, 1, (Matrix){layer->by_output, inputs},
                        layer->outputs, (Matrix){NULL, 0}, next, height, inputs);
            gradient = next;
        }
    }
}
