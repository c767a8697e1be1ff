/* DQN's targets and loss of B rows with its gradient by what two networks gave.
 *
 * The arithmetic is that of rllib/learning/dqn_by_hand.py, row by row. NaN and infinity reach the
 * loss, by which they are refused; so does an action that there is not, as NaN.
 *
 * Legend: B rows, A actions.
 */

#include <math.h>
#include <stdint.h>

/* What a network gave: advantages [B, A], and what is added to them where it has a stream of state
 * values [B, 1], which is NULL otherwise. A `step` leads to the next row. */
typedef struct {
    float *advantages, *states;
    int64_t step, state_step;
} Values;

/* What rllib/kernels/dqn.py fills in; it declares the same fields. */
typedef struct {
    int64_t num_rows, size, is_huber;          /* B, A; whether errors above 1 count linearly */
    Values values, gradient, chooser, following; /* of the observations, and of the later ones */
    const int64_t *actions;                    /* [B] */
    const float *rewards, *discounts, *weights; /* [B] */
    float *targets;                            /* [B] */
    float *errors, *taken;                     /* [B] their size, and the values of the actions */
    double loss;
} Batch;

/* The first of the largest, or of those that are NaN. */
static int64_t best(const float *values, int64_t size) {
    int64_t found = 0;
    for (int64_t a = 1; a < size && values[found] == values[found]; a++)
        if (values[a] > values[found] || values[a] != values[a]) found = a;
    return found;
}

static float value_of(const Values *values, int64_t row, int64_t action, int64_t size) {
    const float *advantages = values->advantages + row * values->step;
    if (!values->states) return advantages[action];
    float sum = 0.0f;
    for (int64_t a = 0; a < size; a++) sum += advantages[a];
    return advantages[action] - sum / size + values->states[row * values->state_step];
}

/* What the values of the actions should be, by the networks' latest results for later ones. */
void dqn_targets(Batch *batch) {
    for (int64_t i = 0; i < batch->num_rows; i++) {
        /* What is added to the advantages of a row is the same for all actions. */
        const float *chooser = batch->chooser.advantages + i * batch->chooser.step;
        const float later = value_of(&batch->following, i, best(chooser, batch->size), batch->size);
        batch->targets[i] = batch->rewards[i] + batch->discounts[i] * later;
    }
}

static void set_gradient(const Values *gradient, int64_t row, int64_t action, int64_t size,
                         float of_value) {
    float *advantages = gradient->advantages + row * gradient->step;
    const float of_mean = gradient->states ? -of_value / size : 0.0f;
    for (int64_t a = 0; a < size; a++) advantages[a] = of_mean;
    advantages[action] += of_value;
    if (gradient->states) gradient->states[row * gradient->state_step] = of_value;
}

/* The mean loss and its gradient, by the latest results for the observations. */
void dqn_loss(Batch *batch) {
    const int64_t size = batch->size;
    const float share = 1.0 / batch->num_rows;
    double loss = 0.0;
    for (int64_t i = 0; i < batch->num_rows; i++) {
        const int64_t action = batch->actions[i];
        if (action < 0 || action >= size) {
            loss = NAN;
            continue;
        }
        const float value = value_of(&batch->values, i, action, size);
        const float error = value - batch->targets[i], weight = batch->weights[i] * share;
        float slope = error;
        if (batch->is_huber) slope = error > 1.0f ? 1.0f : error < -1.0f ? -1.0f : error;
        loss += weight * (slope * (error - 0.5f * slope));
        set_gradient(&batch->gradient, i, action, size, weight * slope);
        batch->errors[i] = fabsf(error), batch->taken[i] = value;
    }
    batch->loss = loss;
}
