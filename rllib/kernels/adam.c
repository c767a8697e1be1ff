/* Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1) over one vector, and the norm of gradients.
 *
 * Legend: P parameters.
 */

#include <math.h>
#include <stdint.h>

/* What vectors a processor has is asked once, when this is loaded; where the loader cannot, or the
 * compiler calls the result something else, there are those that all of its kind have. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define BY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define BY_PROCESSOR
#endif

#define LANES 16

/* What rllib/kernels/adam.py fills in; it declares the same fields. */
typedef struct {
    int64_t size;                      /* P */
    float *flat, *gradient;            /* [P] */
    float *exp_avg, *exp_avg_sq;       /* [P] both moments */
    double lr, beta1, beta2, epsilon;
    double correction1, correction2;   /* 1 - beta ** step */
    double factor, norm;               /* of the gradient: to be multiplied by, and its norm */
} Adam;

/* In float64 and in the same order whatever the vectors are. */
BY_PROCESSOR void adam_norm(Adam *adam) {
    const float *gradient = adam->gradient;
    const int64_t size = adam->size, whole = size / LANES * LANES;
    double sums[LANES] = {0.0}, sum = 0.0;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int64_t l = 0; l < LANES; l++)
            sums[l] += (double)gradient[i + l] * gradient[i + l];
    for (int64_t i = whole; i < size; i++) sums[i - whole] += (double)gradient[i] * gradient[i];
    for (int64_t l = 0; l < LANES; l++) sum += sums[l];
    adam->norm = sqrt(sum);
}

BY_PROCESSOR void adam_scale(Adam *adam) {
    const float factor = adam->factor;
    for (int64_t i = 0; i < adam->size; i++) adam->gradient[i] *= factor;
}

/* One step against the gradient. */
BY_PROCESSOR void adam_step(Adam *adam) {
    float *restrict flat = adam->flat, *restrict first = adam->exp_avg;
    float *restrict second = adam->exp_avg_sq;
    const float *restrict gradient = adam->gradient;
    const float fresh1 = 1.0 - adam->beta1, fresh2 = 1.0 - adam->beta2, beta2 = adam->beta2;
    const float step = adam->lr / adam->correction1, root = sqrt(adam->correction2);
    const float epsilon = adam->epsilon;
    for (int64_t i = 0; i < adam->size; i++) {
        first[i] += fresh1 * (gradient[i] - first[i]);
        second[i] = beta2 * second[i] + fresh2 * gradient[i] * gradient[i];
        flat[i] -= step * first[i] / (sqrtf(second[i]) / root + epsilon);
    }
}
