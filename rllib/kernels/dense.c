/* Small fully connected networks, forward and backward: see dense_passes.h for the arithmetic.
 *
 * A sum has the same order whatever the number of rows is, or of threads: on one kind of processor the
 * same numbers give the same result to the last bit. NaN and infinity spread as they do in numpy.
 */

#include "dense.h"
#include "team.h"

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

/* Pieces of work: a layer's weights, a block of rows through a chain, some outputs of a layer. */

#define OUTPUTS 32          /* of a layer, whose parameters' gradients are one piece of work */
#define WORTH_A_CALL 32768 /* weights: fewer are copied sooner than a thread is called */

typedef int64_t (*Count)(const Pass *pass);

/* The pass to which a piece belongs; leaves the piece's number in that. */
static const Pass *pass_of(const void *passes, int64_t *index, Count count) {
    const Pass *pass = passes;
    for (; *index >= count(pass); pass++) *index -= count(pass);
    return pass;
}

static int64_t count_all(const Pass *passes, int64_t num_passes, Count count) {
    int64_t pieces = 0;
    for (int64_t i = 0; i < num_passes; i++) pieces += count(passes + i);
    return pieces;
}

static int64_t layers(const Pass *pass) { return pass->chain->num_layers; }

static int64_t blocks(const Pass *pass) { return (pass->num_rows + BLOCK - 1) / BLOCK; }

static int64_t parts(const Layer *layer) { return (layer->outputs + OUTPUTS - 1) / OUTPUTS; }

static int64_t all_parts(const Pass *pass) {
    int64_t pieces = 0;
    for (int64_t l = 0; l < pass->chain->num_layers; l++) pieces += parts(pass->chain->layers + l);
    return pieces;
}

static void load_one(const void *passes, int64_t index) {
    const Pass *pass = pass_of(passes, &index, layers);
    CHOOSE(dense_load)(pass->chain->layers + index);
}

static void forward_one(const void *passes, int64_t index) {
    const Pass *pass = pass_of(passes, &index, blocks);
    const int64_t end = min((index + 1) * BLOCK, pass->num_rows);
    CHOOSE(dense_forward)(pass->chain, index * BLOCK, end);
}

static void backward_one(const void *passes, int64_t index) {
    const Pass *pass = pass_of(passes, &index, blocks);
    const int64_t end = min((index + 1) * BLOCK, pass->num_rows);
    CHOOSE(dense_backward)(pass->chain, index * BLOCK, end, pass->features_from);
}

static void train_one(const void *passes, int64_t index) {
    const Pass *pass = pass_of(passes, &index, all_parts);
    const Layer *layer = pass->chain->layers;
    for (; index >= parts(layer); layer++) index -= parts(layer);
    const float *x = layer > pass->chain->layers ? layer[-1].results : pass->chain->features;
    const int64_t end = min((index + 1) * OUTPUTS, layer->outputs);
    CHOOSE(dense_train)(layer, x, pass->num_trained, index * OUTPUTS, end);
}

/* Take over the weights as they are now. */
void dense_load_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    int64_t weights = 0;
    for (int64_t i = 0; i < num_passes; i++)
        for (int64_t l = 0; l < passes[i].chain->num_layers; l++)
            weights += passes[i].chain->layers[l].inputs * passes[i].chain->layers[l].outputs;
    team_do(load_one, passes, count_all(passes, num_passes, layers),
            weights < WORTH_A_CALL ? 1 : num_threads);
}

/* The results of all layers for some rows of the features. */
void dense_forward_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    team_do(forward_one, passes, count_all(passes, num_passes, blocks), num_threads);
}

/* From the gradient of the latest results, which it changes, to those of the parameters, which are
 * overwritten, by the first `num_trained` rows, and to those of the features from a row on. */
void dense_backward_all(const Pass *passes, int64_t num_passes, int64_t num_threads) {
    team_do(backward_one, passes, count_all(passes, num_passes, blocks), num_threads);
    team_do(train_one, passes, count_all(passes, num_passes, all_parts), num_threads);
}

/* The same of one chain. */

void dense_load(const Chain *chain) { dense_load_all(&(Pass){chain, 0, 0, 0}, 1, 1); }

void dense_forward(const Chain *chain, int64_t num_rows) {
    CHOOSE(dense_forward)(chain, 0, num_rows);
}

void dense_backward(const Chain *chain, int64_t num_rows, int64_t num_trained,
                    int64_t features_from) {
    dense_backward_all(&(Pass){chain, num_rows, num_trained, features_from}, 1, 1);
}

int dense_has_avx512(void) { return level() == AVX512; }

/* Whether layers of some hundred units are done as fast as by torch, as they are but for processors
 * that nothing was compiled for in particular. */
int dense_is_wide(void) { return level() != PLAIN; }

/* Changes with the fields of any structure, so that an old library is not used with new ones. */
int64_t kernels_version(void) { return 8; }
