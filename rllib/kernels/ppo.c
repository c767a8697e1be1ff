/* PPO's loss of B rows with its gradient by what two networks gave, in one pass.
 *
 * The arithmetic is that of rllib/learning/ppo_by_hand.py and rllib/distributions/by_hand.py, row by
 * row, and says there why it is right. NaN and infinity reach the sums, by which they are refused.
 *
 * Legend: B rows, A actions or action dimensions.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "losses.h"

/* What rllib/kernels/ppo.py fills in; it declares the same fields. A `step` leads to the next row. */
typedef struct {
    int64_t num_rows, size, is_gaussian; /* B, A; otherwise one of A actions is chosen */
    int64_t input_step, log_std_step, value_step; /* log_std_step is 0 where all rows have the same */
    const float *inputs, *log_std, *values;       /* logits or means [B, A], [B, A], [B] */
    float *of_inputs, *of_log_std, *of_values;    /* gradients of the same, overwritten */
    const void *actions;                          /* int64 [B], or float [B, A] */
    const float *old_inputs;                      /* [B, A] or [B, 2A] */
    const float *old_logp, *advantages, *targets; /* [B] */
    double log_std_limit, clip, vf_clip, vf_coeff, kl_coeff, entropy_coeff;
    double policy_loss, vf_loss, vf_loss_unclipped, entropy, kl; /* means of B */
} Batch;

/* Of one row. */
typedef struct {
    float logp, entropy, kl;
} Terms;

static inline float clamp(float x, float limit) {
    return x > limit ? limit : x < -limit ? -limit : x; /* NaN stays NaN */
}

/* The clipped objective of a row; writes its gradient by the log probability. */
static inline float surrogate(const Batch *batch, int64_t i, float logp, float *of_logp) {
    const float clip = batch->clip, ratio = expf(logp - batch->old_logp[i]);
    const float low = 1.0f - clip, high = 1.0f + clip;
    const float near = ratio < low ? low : ratio > high ? high : ratio;
    const float gain = ratio * batch->advantages[i], clipped = near * batch->advantages[i];
    *of_logp = gain <= clipped ? -gain / batch->num_rows : 0.0f;
    return least(gain, clipped);
}

/* The value's part of a row, added to the sums. */
static inline void add_value(Batch *batch, int64_t i) {
    const float difference = batch->values[i * batch->value_step] - batch->targets[i];
    const float error = difference * difference;
    const float weight = 2.0 * batch->vf_coeff / batch->num_rows;
    batch->of_values[i * batch->value_step] = error > batch->vf_clip ? 0.0f : difference * weight;
    batch->vf_loss += least(error, batch->vf_clip);
    batch->vf_loss_unclipped += error;
}

/* Choices. */

static void log_softmax(const float *logits, int64_t size, float *log_p) {
    float most = logits[0], sum = 0.0f;
    for (int64_t a = 1; a < size; a++) most = logits[a] > most ? logits[a] : most;
    for (int64_t a = 0; a < size; a++) sum += expf(logits[a] - most);
    const float log_sum = logf(sum);
    for (int64_t a = 0; a < size; a++) log_p[a] = logits[a] - most - log_sum;
}

static void categorical(Batch *batch, int64_t i) {
    const int64_t size = batch->size, action = ((const int64_t *)batch->actions)[i];
    float *gradient = batch->of_inputs + i * batch->input_step;
    float log_p[size], log_old[size], of_logp, entropy = 0.0f, kl = 0.0f;
    log_softmax(batch->inputs + i * batch->input_step, size, log_p);
    log_softmax(batch->old_inputs + i * size, size, log_old);
    for (int64_t a = 0; a < size; a++) entropy -= expf(log_p[a]) * log_p[a];
    batch->policy_loss -= surrogate(batch, i, log_p[action], &of_logp);
    const float of_entropy = -batch->entropy_coeff / batch->num_rows;
    const float of_kl = batch->kl_coeff / batch->num_rows;
    for (int64_t a = 0; a < size; a++) {
        const float p = expf(log_p[a]), p_old = expf(log_old[a]);
        kl += p_old * (log_old[a] - log_p[a]);
        gradient[a] = of_logp * ((a == action) - p);
        if (of_entropy) gradient[a] -= of_entropy * p * (log_p[a] + entropy);
        if (of_kl) gradient[a] += of_kl * (p - p_old);
    }
    batch->entropy += entropy, batch->kl += kl;
}

/* Independent normals. */

static void gaussian(Batch *batch, int64_t i) {
    const int64_t size = batch->size;
    const float limit = batch->log_std_limit;
    const float *mean = batch->inputs + i * batch->input_step;
    const float *raw = batch->log_std + i * batch->log_std_step;
    const float *action = (const float *)batch->actions + i * size;
    const float *old_mean = batch->old_inputs + i * 2 * size, *old_log_std = old_mean + size;
    float *of_mean = batch->of_inputs + i * batch->input_step;
    float *of_log_std = batch->of_log_std + i * batch->log_std_step;
    float precision[size], z[size], of_logp, logp = 0.0f, entropy = 0.0f, kl = 0.0f;
    for (int64_t a = 0; a < size; a++) {
        const float log_std = clamp(raw[a], limit);
        precision[a] = expf(-log_std);
        z[a] = (action[a] - mean[a]) * precision[a];
        logp -= 0.5f * z[a] * z[a] + log_std + HALF_LOG_2PI;
        entropy += log_std + HALF_LOG_2PI + 0.5f;
    }
    batch->policy_loss -= surrogate(batch, i, logp, &of_logp);
    const float of_entropy = -batch->entropy_coeff / batch->num_rows;
    const float of_kl = batch->kl_coeff / batch->num_rows;
    for (int64_t a = 0; a < size; a++) {
        const float log_std = clamp(raw[a], limit);
        const float shift = (mean[a] - old_mean[a]) * precision[a];
        const float spread = expf(2.0f * (old_log_std[a] - log_std)) + shift * shift;
        kl += log_std - old_log_std[a] + 0.5f * (spread - 1.0f);
        of_mean[a] = of_logp * z[a] * precision[a] + (of_kl ? of_kl * shift * precision[a] : 0.0f);
        const float slope = of_logp * (z[a] * z[a] - 1.0f) + of_entropy +
                            (of_kl ? of_kl * (1.0f - spread) : 0.0f);
        const float within = fabsf(raw[a]) <= limit ? slope : 0.0f;
        of_log_std[a] = batch->log_std_step ? within : of_log_std[a] + within;
    }
    batch->entropy += entropy, batch->kl += kl;
}

/* All means and gradients. */
void ppo_loss(Batch *batch) {
    batch->policy_loss = batch->vf_loss = batch->vf_loss_unclipped = 0.0;
    batch->entropy = batch->kl = 0.0;
    if (batch->is_gaussian && !batch->log_std_step)
        memset(batch->of_log_std, 0, batch->size * sizeof(float));
    for (int64_t i = 0; i < batch->num_rows; i++) {
        batch->is_gaussian ? gaussian(batch, i) : categorical(batch, i);
        add_value(batch, i);
    }
    double *means[] = {&batch->policy_loss, &batch->vf_loss, &batch->vf_loss_unclipped,
                       &batch->entropy, &batch->kl};
    for (int i = 0; i < 5; i++) *means[i] /= batch->num_rows;
}
