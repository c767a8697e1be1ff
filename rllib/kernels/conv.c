/* Convolutions over images with a rectifier after each, forward and backward, in bfloat16 with float32
 * sums: for processors that multiply pairs of bfloat16 (avx512_bf16).
 *
 * Images go through all layers two at a time, so that what one leaves behind is still in the second
 * cache when the next one reads it, and so that the gradients of weights are sums of pairs as well:
 * of the same pixel of both images. There are no copies of windows: in memory the channels lie
 * innermost, so that a row of a window is a run of numbers. All products are tiles of a few rows and
 * one, two or four vectors, which stay in registers:
 *
 *     results      [pixels, O]   from inputs at the window of each pixel, and weights
 *     of weights   [window, O]   from inputs and gradients of the results, at each pixel
 *     of inputs    [pixels, run] from gradients of the results, added at the window of each pixel
 *
 * The numbers do not depend on how many threads there are, nor do results on the other images.
 *
 * Legend: B images, C channels and O outputs of a layer, P pixels of its results; C', O' the same in
 * whole pairs or vectors; R = width of the kernel x C', a run.
 */

#include "conv.h"
#include "dense.h"
#include "team.h"

#include <stdatomic.h>

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 10)

#include <cpuid.h>

#define AMX_TILE (1u << 24) /* of edx of leaf 7 */

/* Processors that multiply whole matrices are left to torch's library, which makes use of that. */
static int has_amx(void) {
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d & AMX_TILE;
}

int conv_is_possible(void) {
    return dense_has_avx512() && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bf16") && !has_amx();
}

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16")
#endif

typedef uint16_t Half; /* bfloat16 */

#define LANES 16
#define PAIR 2
#define MOST_ROWS 12
#define KEYS 16 /* rows of weights' gradients that are one tile at most */

INLINE __m512bh load(const Half *from) { return (__m512bh)_mm512_loadu_si512(from); }

/* The same pair in all lanes. */
INLINE __m512bh spread(const Half *from) {
    int32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* Those of two vectors, one after the other. */
INLINE __m512i joined(__m512 first, __m512 second) {
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

/* The order by which what stands one after the other stands in turns. */
INLINE __m512i turns(void) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i others = _mm512_add_epi32(lanes, _mm512_set1_epi32(LANES));
    return _mm512_or_si512(lanes, _mm512_slli_epi32(others, 16));
}

INLINE __m512 floats(const Half *from) {
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from)), 16);
}

INLINE Half half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return 0x7fc0;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

INLINE int64_t run_of(const Conv *conv) { return conv->kernel_w * conv->in_c; }
INLINE int64_t keys_of(const Conv *conv) { return (run_of(conv) + KEYS - 1) / KEYS * KEYS; }
INLINE int64_t pixels_of(const Conv *conv) { return conv->out_h * conv->out_w; }
INLINE int64_t in_size(const Conv *conv) { return conv->in_h * conv->in_w * conv->in_c; }
INLINE int64_t out_size(const Conv *conv) { return pixels_of(conv) * conv->out_c; }
INLINE int64_t row_of(const Conv *conv) { return conv->in_w * conv->in_c; }

/* Where the window of a pixel begins, of one of two images. */
INLINE int64_t window(const Conv *conv, int64_t pixel) {
    const int64_t pixels = pixels_of(conv), image = pixel >= pixels;
    pixel -= image * pixels;
    const int64_t y = pixel / conv->out_w, x = pixel % conv->out_w;
    return image * in_size(conv) +
           (y * conv->stride_h * conv->in_w + x * conv->stride_w) * conv->in_c;
}

#define EACH_ROW _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++)
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int j = 0; j < vectors; j++)

/* Weights. */

/* Vectors of inputs' gradients that are one tile: those of neighbouring pixels must not overlap. */
INLINE int64_t group_of(const Conv *conv) {
    const int64_t vectors = run_of(conv) / LANES, apart = conv->stride_w * conv->in_c / LANES;
    return vectors % 4 == 0 && apart >= 4 ? 4 : vectors % 2 == 0 && apart >= 2 ? 2 : 1;
}

/* by_input [kernel_h, R / 2, O', 2], and by_output in slices as wide as a tile: [kernel_h, R / width,
 * O' / 2, width, 2]. What belongs to no weight stays 0. */
static void load_layer(const Conv *conv) {
    const int64_t run = run_of(conv), outs = conv->out_c, width = group_of(conv) * LANES;
    const float *from = conv->weight;
    memcpy(conv->start, conv->bias, conv->outputs * sizeof(float));
    for (int64_t o = 0; o < conv->outputs; o++)
        for (int64_t c = 0; c < conv->channels; c++)
            for (int64_t y = 0; y < conv->kernel_h; y++)
                for (int64_t x = 0; x < conv->kernel_w; x++) {
                    const int64_t key = y * run + x * conv->in_c + c;
                    const Half weight = half(*from++ * (float)conv->scale);
                    conv->by_input[(key / 2 * outs + o) * 2 + key % 2] = weight;
                    const int64_t at = (key / width * outs + o) / 2 * width + key % width;
                    if (conv->by_output) conv->by_output[at * 2 + o % 2] = weight;
                }
}

/* Whether a copy is not what it is of; it is afterwards. */
static int renew(float *copy, const float *of, int64_t size) {
    const int is_new = memcmp(copy, of, size * sizeof(float)) != 0;
    if (is_new) memcpy(copy, of, size * sizeof(float));
    return is_new;
}

/* Take over the weights as they are now, where they are others than before. */
void conv_load(const Convs *convs) {
    for (int64_t l = 0; l < convs->num_layers; l++) {
        const Conv *conv = convs->layers + l;
        const int64_t size = conv->outputs * conv->channels * conv->kernel_h * conv->kernel_w;
        const int is_new = renew(conv->known, conv->weight, size);
        if (renew(conv->known + size, conv->bias, conv->outputs) || is_new) load_layer(conv);
    }
}

/* Images. */

/* 16 bytes as floats: exact in bfloat16, too. */
INLINE __m512 bytes(__m128i from) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(from)); }

/* So many, in their order. */
static void take_bytes(const uint8_t *from, int64_t size, Half *out) {
    int64_t i = 0;
    for (; i + 2 * LANES <= size; i += 2 * LANES) {
        const __m512 low = bytes(_mm_loadu_si128((const void *)(from + i)));
        const __m512 high = bytes(_mm_loadu_si128((const void *)(from + i + LANES)));
        _mm512_storeu_si512(out + i, joined(low, high));
    }
    for (; i < size; i++) out[i] = half(from[i]);
}

/* Channels innermost, of four planes; returns how many pixels are done. */
static int64_t take_four(const uint8_t *from, int64_t pixels, Half *out) {
    int64_t p = 0;
    for (; p + LANES <= pixels; p += LANES) {
        __m128i plane[4];
        for (int c = 0; c < 4; c++) plane[c] = _mm_loadu_si128((const void *)(from + c * pixels + p));
        const __m128i a = _mm_unpacklo_epi8(plane[0], plane[1]);
        const __m128i b = _mm_unpacklo_epi8(plane[2], plane[3]);
        const __m128i c = _mm_unpackhi_epi8(plane[0], plane[1]);
        const __m128i d = _mm_unpackhi_epi8(plane[2], plane[3]);
        const __m128i in_turns[] = {_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b),
                                    _mm_unpacklo_epi16(c, d), _mm_unpackhi_epi16(c, d)};
        for (int i = 0; i < 4; i += 2)
            _mm512_storeu_si512(out + 4 * p + i * LANES, joined(bytes(in_turns[i]), bytes(in_turns[i + 1])));
    }
    return p;
}

/* Channels innermost, [H, W, C'] from [C, H, W] or [H, W, C]. */
static void take_image(const Convs *convs, const uint8_t *image, Half *out) {
    const Conv *first = convs->layers;
    const int64_t pixels = first->in_h * first->in_w, channels = first->channels, width = first->in_c;
    if (channels == width && convs->channels_last) {
        take_bytes(image, pixels * channels, out);
        return;
    }
    const int64_t pixel = convs->channels_last ? channels : 1, plane = convs->channels_last ? 1 : pixels;
    int64_t p = channels == 4 && !convs->channels_last ? take_four(image, pixels, out) : 0;
    for (; p < pixels; p++)
        for (int64_t c = 0; c < width; c++)
            out[p * width + c] = c < channels ? half(image[p * pixel + c * plane]) : 0;
}

/* Those of so many rows, one or two; the last one once more, where there is none. */
static void take_images(const Convs *convs, int64_t row, int64_t num_images, Half *out) {
    const Conv *first = convs->layers;
    const int64_t step = first->channels * first->in_h * first->in_w;
    for (int i = 0; i < num_images; i++)
        take_image(convs, convs->images + min(row + i, convs->num_rows - 1) * step,
                   out + i * in_size(first));
}

/* Results. */

INLINE void results_tile(const int rows, const int vectors, const Conv *conv, const Half *x,
                         int64_t pixel, int64_t last, int64_t o, Half *y) {
    const int64_t steps = run_of(conv) / 2;
    const Half *at[MOST_ROWS], *weights = conv->by_input + 2 * o;
    __m512 sums[MOST_ROWS][4];
    EACH_ROW at[i] = x + conv->windows[min(pixel + i, last)];
    EACH_ROW EACH_VECTOR sums[i][j] = _mm512_loadu_ps(conv->start + o + j * LANES);
    for (int64_t ky = 0; ky < conv->kernel_h; ky++) {
        for (int64_t k = 0; k < steps; k++) {
            __m512bh w[4];
            EACH_VECTOR w[j] = load(weights + 2 * j * LANES);
            EACH_ROW {
                const __m512bh pair = spread(at[i] + 2 * k);
                EACH_VECTOR sums[i][j] = _mm512_dpbf16_ps(sums[i][j], pair, w[j]);
            }
            weights += 2 * conv->out_c;
        }
        EACH_ROW at[i] += row_of(conv);
    }
    EACH_ROW {
        if (pixel + i > last) break;
        Half *to = y + (pixel + i) * conv->out_c + o;
        EACH_VECTOR {
            const __m512 most = _mm512_max_ps(_mm512_setzero_ps(), sums[i][j]); /* NaN stays */
            _mm256_storeu_si256((void *)(to + j * LANES), (__m256i)_mm512_cvtneps_pbh(most));
        }
    }
}

/* y [2, P, O'] of x [2, H, W, C'], or of one image. */
static void results(const Conv *conv, const Half *x, int64_t num_images, Half *y) {
    const int64_t last = num_images * pixels_of(conv) - 1;
    int64_t o = 0;
    for (; o + 4 * LANES <= conv->out_c; o += 4 * LANES)
        for (int64_t p = 0; p <= last; p += 6) results_tile(6, 4, conv, x, p, last, o, y);
    for (; o + 2 * LANES <= conv->out_c; o += 2 * LANES)
        for (int64_t p = 0; p <= last; p += 10) results_tile(10, 2, conv, x, p, last, o, y);
    for (; o < conv->out_c; o += LANES)
        for (int64_t p = 0; p <= last; p += 12) results_tile(12, 1, conv, x, p, last, o, y);
}

#define SIDE 8

/* A square of columns [SIDE, SIDE] from rows. */
INLINE void transpose_square(const Half *from, int64_t from_step, Half *to, int64_t to_step) {
    __m128i a[SIDE], b[SIDE];
    for (int i = 0; i < SIDE; i++) a[i] = _mm_loadu_si128((const void *)(from + i * from_step));
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
        b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm_unpacklo_epi16(b[i], b[i + 4]);
        a[2 * i + 1] = _mm_unpackhi_epi16(b[i], b[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((void *)(to + 2 * i * to_step), _mm_unpacklo_epi16(a[i], a[i + 4]));
        _mm_storeu_si128((void *)(to + (2 * i + 1) * to_step), _mm_unpackhi_epi16(a[i], a[i + 4]));
    }
}

/* [width, height] from [height, width], which are so far apart from one row to the next. */
static void transpose(const Half *from, int64_t from_step, int64_t height, int64_t width, Half *to,
                      int64_t to_step) {
    const int64_t squares = height / SIDE * SIDE;
    for (int64_t x = 0; x < width; x += SIDE) {
        const int64_t end = min(x + SIDE, width);
        const int is_whole = end == x + SIDE;
        for (int64_t y = 0; is_whole && y < squares; y += SIDE)
            transpose_square(from + y * from_step + x, from_step, to + x * to_step + y, to_step);
        for (int64_t i = x; i < end; i++)
            for (int64_t y = is_whole ? squares : 0; y < height; y++)
                to[i * to_step + y] = from[y * from_step + i];
    }
}

/* Between number formats. */

static void widen(const Half *from, int64_t size, float *to) {
    int64_t i = 0;
    for (; i + LANES <= size; i += LANES) _mm512_storeu_ps(to + i, floats(from + i));
    for (; i < size; i++) {
        const uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

static void narrow(const float *from, int64_t size, Half *to) {
    int64_t i = 0;
    for (; i + 2 * LANES <= size; i += 2 * LANES)
        _mm512_storeu_si512(to + i, joined(_mm512_loadu_ps(from + i), _mm512_loadu_ps(from + i + LANES)));
    for (; i < size; i++) to[i] = half(from[i]);
}

/* Room for what is between two images' layers, one for each thread: fresh memory would be slower. */

typedef struct {
    Half *images, *x, *d, *in_turns; /* as long as two images, or what a layer makes of them */
    float *of_y;
    int64_t index;
} Room;

/* Numbers that layers give of two images, at most. */
static int64_t largest(const Convs *convs) {
    int64_t size = 0;
    for (int64_t l = 0; l < convs->num_layers; l++)
        if (out_size(convs->layers + l) > size) size = out_size(convs->layers + l);
    return PAIR * size;
}

/* Numbers of each part of a room, in whole cache lines: some are read beyond what there are. */
static int64_t part_of_room(const Convs *convs) {
    const int64_t images = PAIR * in_size(convs->layers), results = largest(convs);
    return ((images > results ? images : results) + 2 * KEYS + 31) / 32 * 32;
}

/* There are as many as threads, so that there is a free one. */
static Room enter(const Convs *convs) {
    const int64_t part = part_of_room(convs);
    int64_t i = 0;
    while (atomic_flag_test_and_set((atomic_flag *)convs->busy + i)) i = (i + 1) % convs->num_threads;
    Half *at = convs->rooms + i * convs->room_size;
    return (Room){at, at + part, at + 2 * part, at + 3 * part, (float *)(at + 4 * part), i};
}

static void leave(const Convs *convs, const Room *room) {
    atomic_flag_clear((atomic_flag *)convs->busy + room->index);
}

static void forward_pair(const void *work, int64_t index) {
    const Convs *convs = work;
    const int64_t row = PAIR * index;
    const int64_t num_images = convs->results[0] ? PAIR : min(PAIR, convs->num_rows - row);
    const Room room = enter(convs);
    take_images(convs, row, num_images, room.images);
    const Half *x = room.images;
    for (int64_t l = 0; l < convs->num_layers; l++) {
        const Conv *conv = convs->layers + l;
        Half *y = convs->results[l] ? convs->results[l] + row * out_size(conv)
                                    : l % 2 ? room.x : room.d;
        results(conv, x, num_images, y);
        x = y;
    }
    const Conv *last = convs->layers + convs->num_layers - 1;
    for (int64_t i = 0; i < PAIR && row + i < convs->num_rows; i++) {
        const int64_t size = pixels_of(last) * last->outputs;
        transpose(x + i * out_size(last), last->out_c, pixels_of(last), last->outputs, room.in_turns,
                  pixels_of(last));
        widen(room.in_turns, size, convs->features + (row + i) * size);
    }
    leave(convs, &room);
}

void conv_forward(const Convs *convs) {
    team_do(forward_pair, convs, (convs->num_rows + 1) / PAIR, convs->num_threads);
}

/* Gradients. */

/* Of numbers [2, size], those of both images in turns. */
static void interleave(const Half *from, int64_t size, Half *out) {
    const __m512i order = turns();
    int64_t i = 0;
    for (; i + 16 <= size; i += 16) {
        const __m256i a = _mm256_loadu_si256((const void *)(from + i));
        const __m256i b = _mm256_loadu_si256((const void *)(from + size + i));
        const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
        _mm512_storeu_si512(out + 2 * i, _mm512_permutexvar_epi16(order, both));
    }
    for (; i < size; i++) out[2 * i] = from[i], out[2 * i + 1] = from[size + i];
}

/* From gradients of results [2, P, O'] in float32 to those of the arguments of the rectifier, as they
 * are and in turns; adds them to those of the biases. */
static void slopes(const Conv *conv, const float *of_y, const Half *y, Half *out, Half *in_turns,
                   float *of_bias) {
    const int64_t size = out_size(conv), outs = conv->out_c;
    const __m512i order = turns();
    for (int64_t o = 0; o < outs; o += LANES) {
        __m512 sum = _mm512_loadu_ps(of_bias + o);
        for (int64_t i = o; i < size; i += outs) {
            __m512 d[PAIR];
            for (int k = 0; k < PAIR; k++) {
                const __m512 at = floats(y + k * size + i);
                const __mmask16 is_on = _mm512_cmp_ps_mask(at, _mm512_setzero_ps(), _CMP_NLE_UQ);
                d[k] = _mm512_maskz_loadu_ps(is_on, of_y + k * size + i);
                sum = _mm512_add_ps(sum, d[k]);
            }
            const __m512i both = joined(d[0], d[1]);
            _mm512_storeu_si512(in_turns + 2 * i, _mm512_permutexvar_epi16(order, both));
            _mm256_storeu_si256((void *)(out + i), _mm512_castsi512_si256(both));
            _mm256_storeu_si256((void *)(out + size + i), _mm512_extracti64x4_epi64(both, 1));
        }
        _mm512_storeu_ps(of_bias + o, sum);
    }
}

/* Added to sums [R', O'] of a row of the kernel: `rows` keys of it, of pixels from `at` to `end`. */
INLINE void weights_tile(const int rows, const int vectors, const Conv *conv, const Half *x,
                         const Half *d, int64_t at, int64_t end, float *out) {
    const int64_t outs = conv->out_c;
    __m512 sums[KEYS][2];
    _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++)
        EACH_VECTOR sums[i][j] = _mm512_loadu_ps(out + i * outs + j * LANES);
    for (int64_t p = at; p < end; p++) {
        const Half *from = x + 2 * conv->windows[p];
        __m512bh w[2];
        EACH_VECTOR w[j] = load(d + 2 * (p * outs + j * LANES));
        _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++) {
            const __m512bh pair = spread(from + 2 * i);
            EACH_VECTOR sums[i][j] = _mm512_dpbf16_ps(sums[i][j], pair, w[j]);
        }
    }
    _Pragma("GCC unroll 16") for (int i = 0; i < rows; i++)
        EACH_VECTOR _mm512_storeu_ps(out + i * outs + j * LANES, sums[i][j]);
}

#define BLOCK_PIXELS 100

/* Added to sums [kernel_h, R', O'], of inputs and gradients in turns. */
static void of_weights(const Conv *conv, const Half *x, const Half *d, float *sums) {
    const int64_t outs = conv->out_c, run = run_of(conv), keys = keys_of(conv);
    for (int64_t at = 0, end; at < pixels_of(conv); at = end) {
        end = min(at + BLOCK_PIXELS, pixels_of(conv));
        for (int64_t y = 0; y < conv->kernel_h; y++) {
            const Half *row = x + 2 * y * row_of(conv);
            float *out = sums + y * keys * outs;
            int64_t o = 0;
            for (; o + 2 * LANES <= outs; o += 2 * LANES)
                for (int64_t k = 0; k < run; k += 8)
                    weights_tile(8, 2, conv, row + 2 * k, d + 2 * o, at, end, out + k * outs + o);
            for (; o < outs; o += LANES)
                for (int64_t k = 0; k < run; k += 16)
                    weights_tile(16, 1, conv, row + 2 * k, d + 2 * o, at, end, out + k * outs + o);
        }
    }
}

INLINE void inputs_tile(const int rows, const int vectors, const Conv *conv, const Half *d,
                        const Half *weights, int64_t pixel, float *of_x) {
    const int64_t last = PAIR * pixels_of(conv) - 1;
    const Half *from[MOST_ROWS];
    float *to[MOST_ROWS];
    __m512 sums[MOST_ROWS][4];
    EACH_ROW from[i] = d + min(pixel + i, last) * conv->out_c;
    EACH_ROW to[i] = of_x + conv->windows[min(pixel + i, last)];
    EACH_ROW EACH_VECTOR sums[i][j] = _mm512_loadu_ps(to[i] + j * LANES);
    for (int64_t o = 0; o < conv->out_c; o += 2) {
        __m512bh w[4];
        EACH_VECTOR w[j] = load(weights + 2 * j * LANES);
        EACH_ROW {
            const __m512bh pair = spread(from[i] + o);
            EACH_VECTOR sums[i][j] = _mm512_dpbf16_ps(sums[i][j], pair, w[j]);
        }
        weights += 2 * vectors * LANES;
    }
    EACH_ROW {
        if (pixel + i > last) break;
        EACH_VECTOR _mm512_storeu_ps(to[i] + j * LANES, sums[i][j]);
    }
}

/* of_x [2, H, W, C'] of d [2, P, O']. */
static void of_inputs(const Conv *conv, const Half *d, float *of_x) {
    const int64_t pixels = PAIR * pixels_of(conv), width = group_of(conv) * LANES;
    const int64_t slice = conv->out_c * width;
    const Half *weights = conv->by_output;
    memset(of_x, 0, PAIR * in_size(conv) * sizeof(float));
    for (int64_t y = 0; y < conv->kernel_h; y++)
        for (int64_t k = 0; k < run_of(conv); k += width, weights += slice) {
            float *to = of_x + y * row_of(conv) + k;
            if (width == 4 * LANES)
                for (int64_t p = 0; p < pixels; p += 6) inputs_tile(6, 4, conv, d, weights, p, to);
            else if (width == 2 * LANES)
                for (int64_t p = 0; p < pixels; p += 8) inputs_tile(8, 2, conv, d, weights, p, to);
            else
                for (int64_t p = 0; p < pixels; p += 12) inputs_tile(12, 1, conv, d, weights, p, to);
        }
}

/* room->of_y [2, P, O'] of gradients [O, P] of the features of rows; 0 of those that there are not. */
static void of_results(const Convs *convs, int64_t row, const Room *room) {
    const Conv *last = convs->layers + convs->num_layers - 1;
    const int64_t pixels = pixels_of(last), size = out_size(last);
    memset(room->d, 0, PAIR * size * sizeof(Half));
    for (int64_t i = 0; i < PAIR && row + i < convs->num_rows; i++) {
        narrow(convs->of_features + (row + i) * pixels * last->outputs, pixels * last->outputs, room->x);
        transpose(room->x, pixels, last->outputs, pixels, room->d + i * size, last->out_c);
    }
    widen(room->d, PAIR * size, room->of_y);
}

static void backward_pair(const Convs *convs, int64_t row, float *const *sums, float *const *of_bias,
                          const Room *room) {
    of_results(convs, row, room);
    for (int64_t l = convs->num_layers - 1; l >= 0; l--) {
        const Conv *conv = convs->layers + l;
        const Half *y = convs->results[l] + row * out_size(conv);
        const Half *x = l ? convs->results[l - 1] + row * in_size(conv) : room->images;
        if (!l) take_images(convs, row, PAIR, room->images);
        slopes(conv, room->of_y, y, room->d, room->in_turns, of_bias[l]);
        interleave(x, in_size(conv), room->x);
        of_weights(conv, room->x, room->in_turns, sums[l]);
        if (l) of_inputs(conv, room->d, room->of_y);
    }
}

/* Rows are in so many parts, each with sums of its own, which are added in their order. */
#define PARTS 8

INLINE int64_t sums_of(const Conv *conv) { return conv->kernel_h * keys_of(conv) * conv->out_c; }

static int64_t part_rows(const Convs *convs) {
    const int64_t pairs = (convs->num_rows + PAIR * PARTS - 1) / (PAIR * PARTS);
    return (pairs ? pairs : 1) * PAIR;
}

static void backward_part(const void *work, int64_t part) {
    const Convs *convs = work;
    float *sums[MOST_LAYERS], *of_bias[MOST_LAYERS], *at = convs->sums + part * convs->num_sums;
    memset(at, 0, convs->num_sums * sizeof(float));
    for (int64_t l = 0; l < convs->num_layers; l++) {
        const Conv *conv = convs->layers + l;
        sums[l] = at, at += sums_of(conv);
        of_bias[l] = at, at += conv->out_c;
    }
    const Room room = enter(convs);
    const int64_t end = min((part + 1) * part_rows(convs), convs->num_rows);
    for (int64_t row = part * part_rows(convs); row < end; row += PAIR)
        backward_pair(convs, row, sums, of_bias, &room);
    leave(convs, &room);
}

/* From sums [kernel_h, R', O'] to weights [O, C, kernel_h, kernel_w]. */
static void write_gradients(const Conv *conv, const float *sums) {
    const int64_t keys = keys_of(conv);
    float *to = conv->of_weight;
    for (int64_t o = 0; o < conv->outputs; o++)
        for (int64_t c = 0; c < conv->channels; c++)
            for (int64_t y = 0; y < conv->kernel_h; y++)
                for (int64_t x = 0; x < conv->kernel_w; x++)
                    *to++ = sums[(y * keys + x * conv->in_c + c) * conv->out_c + o] * conv->scale;
    memcpy(conv->of_bias, sums + sums_of(conv), conv->outputs * sizeof(float));
}

void conv_backward(const Convs *convs) {
    int64_t num_parts = (convs->num_rows + part_rows(convs) - 1) / part_rows(convs);
    if (!num_parts) num_parts = 1;
    team_do(backward_part, convs, num_parts, convs->num_threads);
    for (int64_t part = 1; part < num_parts; part++)
        for (int64_t i = 0; i < convs->num_sums; i++)
            convs->sums[i] += convs->sums[part * convs->num_sums + i];
    const float *sums = convs->sums;
    for (int64_t l = 0; l < convs->num_layers; l++) {
        write_gradients(convs->layers + l, sums);
        sums += sums_of(convs->layers + l) + convs->layers[l].out_c;
    }
}

/* What else the caller has to make room for. */
void conv_prepare(Convs *convs) {
    convs->num_sums = 0;
    for (int64_t l = 0; l < convs->num_layers; l++) {
        Conv *conv = (Conv *)convs->layers + l;
        convs->num_sums += sums_of(conv) + conv->out_c;
        for (int64_t p = 0; p < PAIR * pixels_of(conv); p++) conv->windows[p] = window(conv, p);
    }
    convs->num_parts = PARTS;
    convs->room_size = 6 * part_of_room(convs);
}

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else

int conv_is_possible(void) { return 0; }
void conv_prepare(Convs *convs) { (void)convs; }
void conv_load(const Convs *convs) { (void)convs; }
void conv_forward(const Convs *convs) { (void)convs; }
void conv_backward(const Convs *convs) { (void)convs; }

#endif
