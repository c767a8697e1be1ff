/* One step of N cart-poles: the arithmetic of gymnasium's, number by number and in its order.
 *
 * Cosines and sines come from numpy, as gymnasium's do. The file is compiled without contraction, by
 * which a product and a sum would be rounded once instead of twice.
 *
 * Legend: N environments.
 */

#include <stdint.h>

/* What envs/cartpole_vector.py fills in; it declares the same fields. */
typedef struct {
    int64_t num_envs, max_steps;
    double gravity, mass_pole, total_mass, length, pole_moment, force, tau, most_x, most_theta;
    double *state; /* [4, N] x, its velocity, theta, its velocity */
    const double *cos, *sin;  /* [N] of theta */
    const int64_t *actions;   /* [N] 0 or 1 */
    int32_t *steps;           /* [N] of the episode so far */
    uint8_t *ended;           /* [N] whether the step before was an episode's last; then whether this */
    float *obs;               /* [N, 4] */
    uint8_t *terminated, *truncated; /* [N] */
} Carts;

/* Write the state of the observations. */
void cartpole_observe(const Carts *carts) {
    const int64_t n = carts->num_envs;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < 4; j++) carts->obs[4 * i + j] = (float)carts->state[j * n + i];
}

/* Step all. Returns how many had ended before, whose step is for the caller to replace by a beginning;
 * -1 if an action is none, and nothing has happened then. */
int64_t cartpole_step(const Carts *carts) {
    const int64_t n = carts->num_envs;
    double *x = carts->state, *x_dot = x + n, *theta = x_dot + n, *theta_dot = theta + n;
    int64_t num_ended = 0;
    for (int64_t i = 0; i < n; i++)
        if (carts->actions[i] != 0 && carts->actions[i] != 1) return -1;
    for (int64_t i = 0; i < n; i++) {
        const double cos = carts->cos[i], sin = carts->sin[i];
        const double force = carts->actions[i] ? carts->force : -carts->force;
        const double squared = theta_dot[i] * theta_dot[i];
        const double temp = (force + carts->pole_moment * squared * sin) / carts->total_mass;
        const double inertia = 4.0 / 3.0 - carts->mass_pole * (cos * cos) / carts->total_mass;
        const double angular = (carts->gravity * sin - cos * temp) / (carts->length * inertia);
        const double linear = temp - carts->pole_moment * angular * cos / carts->total_mass;
        x[i] += carts->tau * x_dot[i];
        x_dot[i] += carts->tau * linear;
        theta[i] += carts->tau * theta_dot[i];
        theta_dot[i] += carts->tau * angular;
        carts->steps[i]++;
        carts->terminated[i] = x[i] < -carts->most_x || x[i] > carts->most_x ||
                               theta[i] < -carts->most_theta || theta[i] > carts->most_theta;
        carts->truncated[i] = carts->steps[i] >= carts->max_steps;
        num_ended += carts->ended[i];
    }
    if (num_ended) return num_ended;
    for (int64_t i = 0; i < n; i++) carts->ended[i] = carts->terminated[i] | carts->truncated[i];
    cartpole_observe(carts);
    return 0;
}
