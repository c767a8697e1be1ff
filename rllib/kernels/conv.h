/* What convolutions work on: see conv.c. */

#ifndef CONV_H
#define CONV_H

#include <stdint.h>

#define MOST_LAYERS 16

/* What rllib/kernels/conv.py fills in; it declares the same fields. */
typedef struct {
    int64_t channels, in_h, in_w, in_c;        /* C, image, C' */
    int64_t outputs, out_h, out_w, out_c;      /* O, results, O' */
    int64_t kernel_h, kernel_w, stride_h, stride_w;
    double scale;                              /* of inputs */
    const float *weight, *bias;                /* [O, C, kernel_h, kernel_w], [O] */
    float *of_weight, *of_bias;                /* their gradients */
    uint16_t *by_input, *by_output;            /* copies of weights; NULL: no gradient of inputs */
    float *start, *known;                      /* [O'] of biases; weights and biases taken over */
    int64_t *windows;                          /* [2 P] */
} Conv;

typedef struct {
    const Conv *layers;
    int64_t num_layers, num_rows, num_threads;
    const uint8_t *images;                     /* [B, C, H, W] or [B, H, W, C] */
    int64_t channels_last;
    uint16_t *results[MOST_LAYERS];            /* [B', P, O'] of each layer; NULL: not kept */
    float *features, *of_features;             /* [B, O x P] */
    float *sums;                               /* [num_parts, num_sums] */
    uint16_t *rooms;                           /* [num_threads, room_size] */
    char *busy;                                /* [num_threads] */
    int64_t num_parts, num_sums, room_size;
} Convs;

#endif
