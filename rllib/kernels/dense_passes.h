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

#if LANES == 16
#define LANE_NUMBERS ((Ints){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#elif LANES == 8
#define LANE_NUMBERS ((Ints){0, 1, 2, 3, 4, 5, 6, 7})
#else
#define LANE_NUMBERS ((Ints){0, 1, 2, 3})
#endif

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

/* One tile's rows of c, all of its width, which is in whole vectors. */
INLINE void row_of_tiles(const float *a, int64_t a_row, int64_t a_step, Matrix b, int64_t depth,
                         Matrix from, float *c, int64_t width) {
    int64_t j = 0;
    for (; j + TILE_COLS * LANES <= width; j += TILE_COLS * LANES)
        tile(TILE_COLS, a, a_row, a_step, part(b, 0, j), depth, part(from, 0, j), c + j, width);
    for (; j < width; j += LANES)
        tile(1, a, a_row, a_step, part(b, 0, j), depth, part(from, 0, j), c + j, width);
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

/* Weights in the order in which they are read. */

/* LANES x LANES of them. */
#if defined(__clang__) /* which has no shuffles by vectors of numbers */
INLINE void transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++) to[i * to_row + j] = from[j * from_row + i];
}
#else
/* Lanes of a and b in turns of `step`: those of the first turns, and those of the second. */
INLINE void swap(Lanes *a, Lanes *b, const int step) {
    const Ints lane = LANE_NUMBERS;
    const Ints from_other = ((lane & step) != 0) & (LANES - step);
    const Lanes first = __builtin_shuffle(*a, *b, lane + from_other);
    *b = __builtin_shuffle(*a, *b, lane + from_other + step), *a = first;
}

INLINE void transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
    Lanes rows[LANES];
    for (int i = 0; i < LANES; i++) rows[i] = *(const Lanes *)(from + i * from_row);
    _Pragma("GCC unroll 4") for (int step = 1; step < LANES; step *= 2)
        _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++)
            if (!(i & step)) swap(rows + i, rows + i + step, step);
    for (int i = 0; i < LANES; i++) *(Lanes *)(to + i * to_row) = rows[i];
}
#endif

/* Take over a layer's weights as they are now. */
void NAMED(load)(const Layer *layer) {
    const int64_t inputs = layer->inputs, outputs = layer->outputs, width = whole(outputs);
    const int64_t rows = outputs / LANES * LANES, columns = inputs / LANES * LANES;
    for (int64_t o = 0; o < rows; o += LANES)
        for (int64_t i = 0; i < columns; i += LANES)
            transpose(layer->weight + o * inputs + i, inputs, layer->by_input + i * width + o, width);
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t i = o < rows ? columns : 0; i < inputs; i++)
            layer->by_input[i * width + o] = layer->weight[o * inputs + i];
    memcpy(layer->start, layer->bias, outputs * sizeof(float));
    if (layer->of_weight && layer->by_output != layer->weight)
        copy_rows(layer->by_output, whole(inputs), layer->weight, inputs, outputs, inputs);
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
            for (int64_t i = 0; i < height; i += TILE_ROWS) {
                row_of_tiles(x + i * width, width, 1, (Matrix){layer->by_input, next},
                             layer->inputs, (Matrix){layer->start, 0}, results + i * next, next);
                activate(layer->activation, results + i * next, TILE_ROWS * next);
            }
            x = results, width = next;
        }
    }
}

/* The gradient of a layer's inputs, from that of its activation's argument; [height, ...] both. */
INLINE void of_inputs(const Layer *layer, const float *of_argument, float *gradient,
                      int64_t height) {
    const int64_t inputs = whole(layer->inputs), outputs = whole(layer->outputs);
    for (int64_t i = 0; i < height; i += TILE_ROWS)
        row_of_tiles(of_argument + i * outputs, outputs, 1, (Matrix){layer->by_output, inputs},
                     layer->outputs, (Matrix){NULL, 0}, gradient + i * inputs, inputs);
}

/* From the gradient of the latest results, which the last layer has as that of its argument, to those
 * of all arguments; and to that of the features, of a block with rows from `features_from` on. */
void NAMED(backward)(const Chain *chain, int64_t at, int64_t end, int64_t features_from) {
    const Layer *first = chain->layers, *last = first + chain->num_layers - 1;
    for (; at < end; at += BLOCK) {
        const int64_t height = min(BLOCK, end - at);
        for (const Layer *layer = last; layer >= first; layer--) {
            const int64_t inputs = whole(layer->inputs), outputs = whole(layer->outputs);
            float *of_argument = layer->of_argument + at * outputs;
            slope(layer->activation, layer->results + at * outputs, of_argument, height * outputs);
            if (layer > first)
                of_inputs(layer, of_argument, layer[-1].of_argument + at * inputs, height);
            else if (at + height > features_from)
                of_inputs(layer, of_argument, chain->of_features + at * inputs, height);
        }
    }
}

/* The sum of all rows of some columns, in whole vectors. */
INLINE void add_rows(const float *rows, int64_t step, int64_t num_rows, float *sums, int64_t width) {
    for (int64_t o = 0; o < width; o += LANES) {
        Lanes sum = {0};
        for (int64_t i = 0; i < num_rows; i++) sum += *(const Lanes *)(rows + i * step + o);
        *(Lanes *)(sums + o) = sum;
    }
}

/* Gradients of the outputs from `at` to `end` of a layer's parameters, by all rows of its inputs x. */
void NAMED(train)(const Layer *layer, const float *x, int64_t num_rows, int64_t at, int64_t end) {
    const int64_t inputs = whole(layer->inputs), outputs = whole(layer->outputs);
    const float *of_argument = layer->of_argument + at;
    float *sums = layer->sums + at * inputs;
    for (int64_t o = 0; o < end - at; o += TILE_ROWS)
        row_of_tiles(of_argument + o, 1, outputs, (Matrix){x, inputs}, num_rows,
                     (Matrix){NULL, 0}, sums + o * inputs, inputs);
    if (layer->sums != layer->of_weight)
        copy_rows(layer->of_weight + at * layer->inputs, layer->inputs, sums, inputs, end - at,
                  layer->inputs);
    add_rows(of_argument, outputs, num_rows, layer->start_sums + at, end - at);
    memcpy(layer->of_bias + at, layer->start_sums + at, (end - at) * sizeof(float));
}
