/* SAC's losses and gradients, of continuous actions: an actor, K critics and their K targets.
 *
 * The arithmetic is that of rllib/learning/sac_by_hand.py, row by row, and says there why it is right.
 * NaN and infinity reach the sums, by which they are refused.
 *
 * Legend: B rows, D features, A action dimensions, K critics.
 */

#include <math.h>

#include "dense.h"
#include "losses.h"
#include "team.h"

#define LOG_2 0.693147181f

/* What rllib/kernels/sac.py fills in; it declares the same fields. */
typedef struct {
    int64_t num_rows, num_features, size, num_critics, num_threads; /* B, D, A, K */
    Pass *passes;                    /* the actor, K critics, K targets */
    const float *obs, *next_obs;     /* [B, D] */
    const float *actions;            /* [B, A] that were taken, in [-1, 1] */
    const float *rewards, *discounts, *weights; /* [B] */
    const float *noise;              /* [2B, A] normal, of what is observed now and later */
    float *spread, *inside, *logp;   /* [2B, A], [2B, A], [2B] of the actor's actions */
    float *errors, *values;          /* [B] mean size of the TD errors, and the first critic's values */
    double alpha, log_std_low, log_std_high;
    double critic_loss, actor_loss, mean_logp; /* means of B */
} Batch;

static float *features(const Pass *pass, int64_t row) {
    return pass->chain->features + row * whole(pass->chain->layers->inputs);
}

static const Layer *last(const Pass *pass) {
    return pass->chain->layers + pass->chain->num_layers - 1;
}

static float *result(const Pass *pass, int64_t row) {
    return last(pass)->results + row * whole(last(pass)->outputs);
}

static float *of_result(const Pass *pass, int64_t row) {
    return last(pass)->of_argument + row * whole(last(pass)->outputs);
}

static const Pass *actor(const Batch *batch) { return batch->passes; }

static const Pass *critic(const Batch *batch, int64_t k) { return batch->passes + 1 + k; }

static const Pass *target(const Batch *batch, int64_t k) {
    return batch->passes + 1 + batch->num_critics + k;
}

static void expect(Pass *pass, int64_t num_rows, int64_t num_trained) {
    pass->num_rows = num_rows;
    pass->num_trained = pass->features_from = num_trained;
}

/* All that networks read but for the actions that the actor chooses. */
static void set_features(const Batch *batch) {
    const int64_t B = batch->num_rows, D = batch->num_features, A = batch->size;
    const int64_t narrow = whole(D), wide = whole(D + A);
    copy_rows(features(actor(batch), 0), narrow, batch->obs, D, B, D);
    copy_rows(features(actor(batch), B), narrow, batch->next_obs, D, B, D);
    for (int64_t k = 0; k < batch->num_critics; k++) {
        float *taken = features(critic(batch, k), 0);
        copy_rows(taken, wide, batch->obs, D, B, D);
        copy_rows(taken + D, wide, batch->actions, A, B, A);
        copy_rows(features(critic(batch, k), B), wide, batch->obs, D, B, D);
        copy_rows(features(target(batch, k), 0), wide, batch->next_obs, D, B, D);
    }
}

/* Let all critics, or all targets, read the actions of a row. */
static void judge(const Pass *passes, int64_t num_passes, int64_t row, int64_t num_features,
                  const float *actions, int64_t size) {
    for (int64_t k = 0; k < num_passes; k++)
        memcpy(features(passes + k, row) + num_features, actions, size * sizeof(float));
}

/* The actor's action of row i out of 2B. */
static void choose(const Batch *batch, int64_t i) {
    const int64_t B = batch->num_rows, A = batch->size;
    const float low = batch->log_std_low, high = batch->log_std_high;
    const float *mean = result(actor(batch), i), *unclipped = mean + A;
    float actions[A], logp = 0.0f;
    for (int64_t a = 0; a < A; a++) {
        const float log_std = unclipped[a] < low ? low : unclipped[a] > high ? high : unclipped[a];
        const float noise = batch->noise[i * A + a], spread = expf(log_std) * noise;
        const float raw = mean[a] + spread;
        const float shrunk = -expm1f(-2.0f * fabsf(raw)); /* 1 - e^-2|raw| */
        const float log_slope = 2.0f * (LOG_2 - fabsf(raw) - log1pf(1.0f - shrunk));
        actions[a] = copysignf(shrunk / (2.0f - shrunk), raw);
        logp -= 0.5f * noise * noise + log_std + HALF_LOG_2PI + log_slope;
        batch->spread[i * A + a] = spread;
        batch->inside[i * A + a] = log_std == unclipped[a];
    }
    batch->logp[i] = logp;
    const int64_t K = batch->num_critics, D = batch->num_features;
    if (i < B)
        judge(critic(batch, 0), K, B + i, D, actions, A);
    else
        judge(target(batch, 0), K, i - B, D, actions, A);
}

static void choose_block(const void *work, int64_t index) {
    const Batch *batch = work;
    const int64_t end = min((index + 1) * BLOCK, 2 * batch->num_rows);
    for (int64_t i = index * BLOCK; i < end; i++) choose(batch, i);
}

static float least_result(const Pass *passes, int64_t num_passes, int64_t row) {
    float found = *result(passes, row);
    for (int64_t k = 1; k < num_passes; k++) found = least(*result(passes + k, row), found);
    return found;
}

/* The critics' part of a row. */
static void regress(Batch *batch, int64_t i) {
    const int64_t B = batch->num_rows, K = batch->num_critics;
    const float later = least_result(target(batch, 0), K, i);
    const float worth = later - (float)batch->alpha * batch->logp[B + i];
    const float goal = batch->rewards[i] + batch->discounts[i] * worth, weight = batch->weights[i];
    float sizes = 0.0f;
    for (int64_t k = 0; k < K; k++) {
        const float error = *result(critic(batch, k), i) - goal;
        *of_result(critic(batch, k), i) = error * (weight / B);
        batch->critic_loss += 0.5f * weight * error * error;
        sizes += fabsf(error);
    }
    batch->errors[i] = sizes / K;
    batch->values[i] = *result(critic(batch, 0), i);
}

/* The actor's part of a row, by the smallest critic's gradient. */
static void improve(Batch *batch, int64_t i) {
    const int64_t B = batch->num_rows, K = batch->num_critics;
    const float smallest = least_result(critic(batch, 0), K, B + i);
    int is_found = 0;
    for (int64_t k = 0; k < K; k++) {
        const int is_it = !is_found && *result(critic(batch, k), B + i) == smallest;
        *of_result(critic(batch, k), B + i) = is_it ? -1.0f / B : 0.0f;
        is_found |= is_it;
    }
    batch->actor_loss += (float)batch->alpha * batch->logp[i] - smallest;
    batch->mean_logp += batch->logp[i];
}

/* All losses, and what the gradients begin with. */
void sac_losses(Batch *batch) {
    const int64_t B = batch->num_rows, K = batch->num_critics, threads = batch->num_threads;
    Pass *passes = batch->passes;
    expect(passes, 2 * B, B);
    for (int64_t k = 0; k < K; k++) expect(passes + 1 + k, 2 * B, B);
    for (int64_t k = 0; k < K; k++) expect(passes + 1 + K + k, B, 0);
    dense_load_all(passes, 1 + 2 * K, threads);
    set_features(batch);
    dense_forward_all(passes, 1, threads);
    team_do(choose_block, batch, (2 * B + BLOCK - 1) / BLOCK, threads);
    dense_forward_all(passes + 1, 2 * K, threads);
    batch->critic_loss = batch->actor_loss = batch->mean_logp = 0.0;
    for (int64_t i = 0; i < B; i++) regress(batch, i), improve(batch, i);
    batch->critic_loss /= B, batch->actor_loss /= B, batch->mean_logp /= B;
}

/* From the gradient of the actions, a sum over the critics, to that of the actor's results. */
static void of_choice(const Batch *batch, int64_t i) {
    const int64_t B = batch->num_rows, A = batch->size, width = whole(batch->num_features + A);
    const float of_logp = (float)batch->alpha / B;
    float *of_mean = of_result(actor(batch), i), *of_log_std = of_mean + A;
    for (int64_t a = 0; a < A; a++) {
        const int64_t at = (B + i) * width + batch->num_features + a;
        const float action = features(critic(batch, 0), 0)[at];
        float of_action = 0.0f;
        for (int64_t k = 0; k < batch->num_critics; k++)
            of_action += critic(batch, k)->chain->of_features[at];
        of_mean[a] = of_action * (1.0f - action * action) + 2.0f * of_logp * action;
        const float of_raw = of_mean[a] * batch->spread[i * A + a];
        of_log_std[a] = (of_raw - of_logp) * batch->inside[i * A + a];
    }
}

/* All gradients of the latest losses. */
void sac_gradients(Batch *batch) {
    const int64_t B = batch->num_rows;
    dense_backward_all(batch->passes + 1, batch->num_critics, batch->num_threads);
    for (int64_t i = 0; i < B; i++) of_choice(batch, i);
    expect(batch->passes, B, B);
    dense_backward_all(batch->passes, 1, batch->num_threads);
}
