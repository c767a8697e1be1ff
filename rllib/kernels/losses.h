/* What losses of rows have in common. */

#ifndef LOSSES_H
#define LOSSES_H

#define HALF_LOG_2PI 0.918938533f

/* The smaller one, or NaN if either is. */
static inline float least(float a, float b) { return a < b || a != a ? a : b; }

#endif
