/* Small fully connected networks, forward and backward: see dense_passes.h for the arithmetic.
 *
 * A sum has the same order whatever the number of rows is, or of threads: on one kind of processor the
 * same numbers give the same result to the last bit. NaN and infinity spread as they do in numpy.
 */

#include "dense.h"
#include "team.h"

/* Take over the weights as they are now. */
void dense_load(const Chain *chain) {
    for (int64_t l = 0; l < chain->num_layers; l++) {
        const Layer *layer = chain->layers + l;
        const int64_t inputs = layer->inputs, outputs = layer->outputs;
        for (int64_t part = 0; part < outputs; part += LINE)
            for (int64_t i = 0; i < inputs; i++)
                for (int64_t o = part; o < min(part + LINE, outputs); o++)
                    layer->by_input[i * whole(outputs) + o] = layer->weight[o * inputs + i];
        memcpy(layer->start, layer->bias, outputs * sizeof(float));
        if (layer->of_weight)
            copy_rows(layer->by_output, whole(inputs), layer->weight, inputs, outputs, inputs);
    }
}

/* What there is for a processor. */
enum { PLAIN, AVX2, AVX512 };

#if defined(__x86_64__)
static int best_level(void) {
    if (__builtin_cpu_supports("avx512f")) return AVX512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? AVX2 : PLAIN;
}

#define CHOOSE(pass) \
    (level() == AVX512 ? pass##_avx512 : level() == AVX2 ? pass##_avx2 : pass##_plain)
#else
static int best_level(void) { return PLAIN; }

#define CHOOSE(pass) pass##_plain
#endif

static int most_level = AVX512;

static int level(void) { return (int)min(best_level(), most_level); }

/* Use no more of the processor than a level has; returns what is used. For tests of all of them. */
int dense_limit(int most) {
    most_level = most;
    return level();
}

/* The results of all layers for some rows of the features. */
static void forward_rows(const Chain *chain, int64_t at, int64_t end) {
    CHOOSE(dense_forward)(chain, at, end);
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
    CHOOSE(dense_backward)(chain, num_rows, num_trained, features_from);
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

#define WORTH_A_CALL 32768 /* weights: fewer are copied sooner than a thread is called */

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
    int64_t weights = 0;
    for (int64_t i = 0; i < num_passes; i++)
        for (int64_t l = 0; l < passes[i].chain->num_layers; l++)
            weights += passes[i].chain->layers[l].inputs * passes[i].chain->layers[l].outputs;
    team_do(load_one, passes, num_passes, weights < WORTH_A_CALL ? 1 : num_threads);
}

void dense_forward_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    int64_t pieces = 0;
    for (int64_t i = 0; i < num_passes; i++) pieces += blocks(passes + i);
    team_do(forward_one, passes, pieces, num_threads);
}

void dense_backward_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    team_do(backward_one, passes, num_passes, num_threads);
}

/* Whether layers of some hundred units are done as fast as by torch, as they are but for processors
 * that nothing was compiled for in particular. */
int dense_is_wide(void) { return level() != PLAIN; }

/* Changes with the fields of any structure, so that an old library is not used with new ones. */
int64_t kernels_version(void) { return 4; }
