/* What a training step does on a CPU beside its small products: linear layers, the feed-forward half, LayerNorm with what surrounds it, attention
   and cross-entropy, each forward and backward. Every function reads its large arguments once.

   Compiled on first use (kernel_library.py), with REAL as float or double. Matrices are contiguous, row by row. Each function has an equal in
   torch's operators, which tests compare it with (tests/engine/models/test_kernels.py); the callers in Python check types and shapes.

   Legend: T tokens or other rows, D columns or the model's width, K inputs, N outputs, I inner size, V rows of a table, H heads, d = D / H,
   L items of a sequence, C sequences of one length in a block.

   A result does not depend on the number of threads: one of them computes a row, and sums over rows are made in parts that are set by the number
   of rows, and added in order.
*/

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define PARTS 64
#define WIDEST 1024 /* columns of a row at most */
#define LONGEST 1024 /* items of a sequence at most */
#define INLINE static inline __attribute__((always_inline))
#define EACH _Pragma("omp simd")

/* ---- dropout: a value is kept where its random word is at least `cut` ---- */

typedef struct {
    const void *words; /* random, of `bits` bits each; NULL keeps everything */
    int64_t bits; /* 8 or 16 */
    int64_t cut;
    double scale; /* of what is kept */
} Keep;

/* factors[0 .. n) of the values from `first` on: 0 or scale */
INLINE void factors_of(const Keep *keep, int64_t first, int64_t n, REAL *restrict factors) {
    REAL scale = (REAL)keep->scale;
    if (keep->words == NULL) {
        for (int64_t i = 0; i < n; i++) factors[i] = 1;
    } else if (keep->bits == 8) {
        const int8_t *words = (const int8_t *)keep->words + first;
        int8_t cut = (int8_t)keep->cut;
        EACH for (int64_t i = 0; i < n; i++) factors[i] = words[i] >= cut ? scale : 0;
    } else {
        const int16_t *words = (const int16_t *)keep->words + first;
        int16_t cut = (int16_t)keep->cut;
        EACH for (int64_t i = 0; i < n; i++) factors[i] = words[i] >= cut ? scale : 0;
    }
}

/* ---- exp and the normal distribution ---- */

/* e^x for x at most 0; 0 where a float would be denormal */
INLINE float exp_float(float x) {
    float bounded = x < -87.0f ? -87.0f : x; /* a NaN stays one */
    float n = rintf(bounded * 1.44269504f);
    float r = fmaf(n, -0.693145752f, bounded);
    r = fmaf(n, -1.42860677e-6f, r);
    float p = 0.00138368223f;
    p = fmaf(p, r, 0.00837482201f);
    p = fmaf(p, r, 0.0416682263f);
    p = fmaf(p, r, 0.166664201f);
    p = fmaf(p, r, 0.499999921f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    union { int32_t bits; float value; } power = {.bits = ((int32_t)n + 127) << 23};
    return x < -87.0f ? 0.0f : p * power.value;
}

/* P(X <= x) of a standard normal X, and its density there. The tail is the density times a polynomial in 1 / (1 + 0.33 |x|), which was
   fitted here to Mills's ratio on [0, 13] with a relative error of 7e-9. */
INLINE void normal_float(float x, float *below, float *density) {
    float size = fabsf(x), e = exp_float(-0.5f * x * x);
    float t = 1.0f / fmaf(0.33f, size, 1.0f);
    float p = -0.0266757139f;
    p = fmaf(p, t, 0.152720797f);
    p = fmaf(p, t, -0.331523273f);
    p = fmaf(p, t, 0.303171766f);
    p = fmaf(p, t, -0.115789263f);
    p = fmaf(p, t, 0.15040491f);
    p = fmaf(p, t, 0.102271623f);
    p = fmaf(p, t, 0.133963847f);
    p = fmaf(p, t, 0.131447525f);
    p = fmaf(p, t, 7.78705383e-6f);
    float tail = e * p;
    *below = x < 0 ? tail : 1.0f - tail;
    *density = 0.398942280f * e;
}

INLINE double exp_double(double x) { return exp(x); }

INLINE void normal_double(double x, double *below, double *density) {
    *below = 0.5 * erfc(-x * 0.70710678118654752440);
    *density = 0.39894228040143267794 * exp(-0.5 * x * x);
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define EXP JOIN(exp_, REAL)
#define NORMAL JOIN(normal_, REAL)

/* ---- rows ---- */

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

INLINE REAL dot(const REAL *restrict a, const REAL *restrict b, int64_t n) {
    REAL sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; c++) sum += a[c] * b[c];
    return sum;
}

INLINE void add(REAL *restrict sum, const REAL *restrict row, REAL factor, int64_t n) {
    EACH for (int64_t c = 0; c < n; c++) sum[c] += factor * row[c];
}

/* ---- products with weights ----

   Rows are multiplied TILE at a time with PANEL columns of a matrix that is packed panel by panel, so what is read again and again lies in
   the first-level cache; sums stay in registers. Widths are multiples of PANEL. */

#if defined(__AVX512F__)
#define BYTES 64 /* of a register */
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef REAL Lanes __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
#define WIDTH ((int64_t)(BYTES / sizeof(REAL)))
#define PANEL (2 * WIDTH)
#define TILE 6
#define DEPTH 384 /* of a panel that lies in the first-level cache beside TILE rows */
#define CHUNK 96 /* rows at once, whose values lie in the second-level cache */
#define UNROLL _Pragma("GCC unroll 8")

/* c (rows, PANEL) = or += bias + a (rows, n) b (n, PANEL), for up to TILE rows; rows of a are a_row apart, its columns a_step */
INLINE void tile(const REAL *a, int64_t a_row, int64_t a_step, const REAL *b, int64_t b_row, const REAL *bias, REAL *c, int64_t c_row,
                 int64_t rows, int64_t n, int more) {
    const REAL *row[TILE];
    Lanes left[TILE], right[TILE];
    UNROLL for (int64_t r = 0; r < TILE; r++) {
        row[r] = a + (r < rows ? r : rows - 1) * a_row;
        left[r] = bias == NULL ? (Lanes){0} : *(const Lanes *)bias;
        right[r] = bias == NULL ? (Lanes){0} : *(const Lanes *)(bias + WIDTH);
    }
    for (int64_t i = 0; i < n; i++) {
        Lanes first = *(const Lanes *)(b + i * b_row), second = *(const Lanes *)(b + i * b_row + WIDTH);
        UNROLL for (int64_t r = 0; r < TILE; r++) {
            REAL value = row[r][i * a_step];
            left[r] += value * first;
            right[r] += value * second;
        }
    }
    UNROLL for (int64_t r = 0; r < TILE; r++) {
        if (r >= rows) break;
        Lanes *one = (Lanes *)(c + r * c_row), *two = (Lanes *)(c + r * c_row + WIDTH);
        if (more) {
            left[r] += *one;
            right[r] += *two;
        }
        *one = left[r];
        *two = right[r];
    }
}

/* packed (N / PANEL, K, PANEL) of a matrix (K, N) whose rows are `row` apart and whose columns `column` */
static void pack(const REAL *matrix, int64_t row, int64_t column, int64_t k, int64_t n, REAL *packed) {
    for (int64_t first = 0; first < n; first += PANEL)
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < PANEL; j++) *packed++ = matrix[i * row + (first + j) * column];
}

/* y (rows, N) = or += bias (N), or nothing, + x (rows, K) times a packed matrix (K, N); DEPTH columns of x at once */
INLINE void times(const REAL *x, int64_t x_row, const REAL *packed, const REAL *bias, REAL *y, int64_t y_row, int64_t rows, int64_t k, int64_t n,
                  int more) {
    for (int64_t from = 0; from < k; from += DEPTH)
        for (int64_t first = 0; first < n; first += PANEL)
            for (int64_t r = 0; r < rows; r += TILE)
                tile(x + r * x_row + from, x_row, 1, packed + first * k + from * PANEL, PANEL,
                     bias == NULL || from > 0 ? NULL : bias + first, y + r * y_row + first, y_row, least(TILE, rows - r),
                     least(DEPTH, k - from), more || from > 0);
}

/* sum (M, N) += y^T x for y (rows, M) and x (rows, N) */
INLINE void outer(const REAL *y, int64_t y_row, const REAL *x, int64_t x_row, REAL *sum, int64_t rows, int64_t m, int64_t n) {
    for (int64_t first = 0; first < n; first += PANEL)
        for (int64_t r = 0; r < m; r += TILE)
            tile(y + r, 1, y_row, x + first, x_row, NULL, sum + r * n + first, n, least(TILE, m - r), rows, 1);
}

/* y (T, N) = x (T, K) w^T + bias for w (N, K) and bias (N), or NULL */
void linear(const REAL *x, const REAL *w, const REAL *bias, REAL *y, int64_t rows, int64_t k, int64_t n) {
    REAL *packed = aligned_alloc(64, k * n * sizeof(REAL));
    pack(w, 1, k, k, n, packed);
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < rows; t += CHUNK)
        times(x + t * k, k, packed, bias, y + t * n, n, least(CHUNK, rows - t), k, n, 0);
    free(packed);
}

/* parts of all rows, each with sums of its own for the weights' gradients */
INLINE int64_t pieces_of(int64_t rows) { return rows < 512 ? 1 : least(32, rows / 512); }

/* total (size) = the sums of `pieces` rows, which are `row` apart */
static void summed(const REAL *sums, int64_t pieces, int64_t row, REAL *total, int64_t size) {
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < size; first += 1024) {
        int64_t some = least(1024, size - first);
        memcpy(total + first, sums + first, some * sizeof(REAL));
        for (int64_t piece = 1; piece < pieces; piece++) add(total + first, sums + piece * row + first, 1, some);
    }
}

/* d_x (T, K), d_w (N, K) and d_bias (N), unless NULL, from d_y (T, N) */
void linear_backward(const REAL *x, const REAL *w, const REAL *d_y, REAL *d_x, REAL *d_w, REAL *d_bias, int64_t rows, int64_t k, int64_t n) {
    int64_t pieces = pieces_of(rows), size = (k + 1) * n; /* of the weights, and of the biases behind them */
    REAL *packed = aligned_alloc(64, k * n * sizeof(REAL)), *sums = calloc(pieces * size, sizeof(REAL));
    pack(w, k, 1, n, k, packed);
#pragma omp parallel for schedule(dynamic)
    for (int64_t piece = 0; piece < pieces; piece++) {
        int64_t last = rows * (piece + 1) / pieces;
        REAL *sum = sums + piece * size;
        for (int64_t t = rows * piece / pieces; t < last; t += CHUNK) {
            int64_t some = least(CHUNK, last - t);
            times(d_y + t * n, n, packed, NULL, d_x + t * k, k, some, n, k, 0);
            outer(d_y + t * n, n, x + t * k, k, sum, some, n, k);
            if (d_bias != NULL)
                for (int64_t r = 0; r < some; r++) add(sum + k * n, d_y + (t + r) * n, 1, n);
        }
    }
    summed(sums, pieces, size, d_w, k * n);
    if (d_bias != NULL) summed(sums + k * n, pieces, size, d_bias, n);
    free(packed);
    free(sums);
}

/* ---- the feed-forward half: gelu(x w1^T + b1) w2^T ---- */

INLINE void gelu_of(const REAL *restrict x, const REAL *restrict b, REAL *restrict out, int64_t columns) {
    EACH for (int64_t c = 0; c < columns; c++) {
        REAL value = x[c] + b[c], below, density;
        NORMAL(value, &below, &density);
        out[c] = value * below;
    }
}

/* out = gelu(x + b), and d becomes d times its derivative, which is added to sum, too */
INLINE void gelu_backward_of(const REAL *restrict x, const REAL *restrict b, REAL *restrict d, REAL *restrict out, REAL *restrict sum,
                             int64_t columns) {
    EACH for (int64_t c = 0; c < columns; c++) {
        REAL value = x[c] + b[c], below, density;
        NORMAL(value, &below, &density);
        out[c] = value * below;
        d[c] *= below + value * density;
        sum[c] += d[c];
    }
}

/* y (T, D) from x (T, D), w1 (I, D), b1 (I), w2 (D, I); inner (T, I) = x w1^T is kept, unless NULL */
void feed_forward(const REAL *x, const REAL *w1, const REAL *b1, const REAL *w2, REAL *inner, REAL *y, int64_t rows, int64_t width, int64_t size) {
    REAL *first = aligned_alloc(64, 2 * width * size * sizeof(REAL)), *second = first + width * size;
    pack(w1, 1, width, width, size, first);
    pack(w2, 1, size, size, width, second);
#pragma omp parallel
    {
        REAL *value = aligned_alloc(64, 2 * CHUNK * size * sizeof(REAL)), *own = value + CHUNK * size;
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < rows; t += CHUNK) {
            int64_t some = least(CHUNK, rows - t);
            REAL *there = inner == NULL ? own : inner + t * size;
            times(x + t * width, width, first, NULL, there, size, some, width, size, 0);
            for (int64_t r = 0; r < some; r++) gelu_of(there + r * size, b1, value + r * size, size);
            times(value, size, second, NULL, y + t * width, width, some, size, width, 0);
        }
        free(value);
    }
    free(first);
}

/* d_w1 (I, D), d_b1 (I) and d_w2 (D, I) from d_y (T, D); d_x (T, D) gets its values added */
void feed_forward_backward(const REAL *x, const REAL *w1, const REAL *b1, const REAL *w2, const REAL *inner, const REAL *d_y, REAL *d_x,
                           REAL *d_w1, REAL *d_b1, REAL *d_w2, int64_t rows, int64_t width, int64_t size) {
    int64_t both = width * size, row = size + 16; /* rows of a power of two would meet in few places of the cache */
    int64_t pieces = pieces_of(rows), all = 2 * both + size;
    REAL *first = aligned_alloc(64, 2 * both * sizeof(REAL)), *second = first + both, *sums = calloc(pieces * all, sizeof(REAL));
    pack(w1, width, 1, size, width, first);
    pack(w2, size, 1, width, size, second);
#pragma omp parallel
    {
        REAL *value = aligned_alloc(64, 2 * CHUNK * row * sizeof(REAL)), *d_inner = value + CHUNK * row;
#pragma omp for schedule(dynamic)
        for (int64_t piece = 0; piece < pieces; piece++) {
            int64_t last = rows * (piece + 1) / pieces;
            REAL *sum1 = sums + piece * all, *sum2 = sum1 + both, *bias = sum2 + both;
            for (int64_t t = rows * piece / pieces; t < last; t += CHUNK) {
                int64_t some = least(CHUNK, last - t);
                times(d_y + t * width, width, second, NULL, d_inner, row, some, width, size, 0);
                for (int64_t r = 0; r < some; r++)
                    gelu_backward_of(inner + (t + r) * size, b1, d_inner + r * row, value + r * row, bias, size);
                outer(d_y + t * width, width, value, row, sum2, some, width, size);
                outer(d_inner, row, x + t * width, width, sum1, some, size, width);
                times(d_inner, row, first, NULL, d_x + t * width, width, some, size, width, 1);
            }
        }
        free(value);
    }
    summed(sums, pieces, all, d_w1, both);
    summed(sums + both, pieces, all, d_w2, both);
    summed(sums + 2 * both, pieces, all, d_b1, size);
    free(first);
    free(sums);
}

/* ---- LayerNorm of a sum, with dropout before or behind it ---- */

/* out (T, D) = LayerNorm(keep_in * (a + bias) + r) * keep_out, without bias (D) where that is NULL; normal (T, D) and inverse (T) are kept for the gradients */
void norm(const REAL *a, const REAL *bias, const Keep *keep_in, const REAL *r, const REAL *restrict gain, const REAL *restrict shift, double eps,
          const Keep *keep_out, REAL *out, REAL *normal, REAL *restrict inverse, int64_t rows, int64_t columns) {
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < rows; t++) {
        REAL sum[WIDEST], factors[WIDEST];
        const REAL *own = a + t * columns, *other = r + t * columns;
        REAL *result = out + t * columns, *kept = normal + t * columns;
        REAL total = 0, squares = 0;
        factors_of(keep_in, t * columns, columns, factors);
        if (bias == NULL) EACH for (int64_t c = 0; c < columns; c++) sum[c] = own[c] * factors[c] + other[c];
        else EACH for (int64_t c = 0; c < columns; c++) sum[c] = (own[c] + bias[c]) * factors[c] + other[c];
#pragma omp simd reduction(+ : total)
        for (int64_t c = 0; c < columns; c++) total += sum[c];
        REAL mean = total / columns;
#pragma omp simd reduction(+ : squares)
        for (int64_t c = 0; c < columns; c++) {
            REAL away = sum[c] - mean;
            squares += away * away;
        }
        REAL scale = 1 / (REAL)sqrt(squares / columns + eps);
        inverse[t] = scale;
        factors_of(keep_out, t * columns, columns, factors);
        EACH for (int64_t c = 0; c < columns; c++) {
            REAL value = (sum[c] - mean) * scale;
            kept[c] = value;
            result[c] = (value * gain[c] + shift[c]) * factors[c];
        }
    }
}

/* d_a and d_r (T, D), which may be one where nothing is dropped of a; d_gain, d_shift and
   d_bias (D) get their sums */
void norm_backward(const REAL *restrict d_out, const REAL *restrict normal, const REAL *restrict inverse, const REAL *restrict gain,
                   const Keep *keep_in, const Keep *keep_out, REAL *d_a, REAL *d_r, REAL *restrict d_gain, REAL *restrict d_shift,
                   REAL *restrict d_bias, int64_t rows, int64_t columns) {
    REAL *sums = calloc(3 * PARTS * columns, sizeof(REAL));
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < PARTS; part++) {
        REAL *gains = sums + 3 * part * columns, *shifts = gains + columns, *biases = shifts + columns;
        REAL scaled[WIDEST], factors[WIDEST];
        for (int64_t t = rows * part / PARTS; t < rows * (part + 1) / PARTS; t++) {
            const REAL *above = d_out + t * columns, *kept = normal + t * columns;
            REAL *one = d_a + t * columns, *other = d_r + t * columns;
            REAL mean = 0, along = 0, scale = inverse[t];
            factors_of(keep_out, t * columns, columns, factors);
#pragma omp simd reduction(+ : mean, along)
            for (int64_t c = 0; c < columns; c++) {
                REAL d = above[c] * factors[c];
                gains[c] += d * kept[c];
                shifts[c] += d;
                scaled[c] = d * gain[c];
                mean += scaled[c];
                along += scaled[c] * kept[c];
            }
            mean /= columns;
            along /= columns;
            factors_of(keep_in, t * columns, columns, factors);
            EACH for (int64_t c = 0; c < columns; c++) {
                REAL d = scale * (scaled[c] - mean - kept[c] * along);
                other[c] = d;
                one[c] = d * factors[c];
                biases[c] += d * factors[c];
            }
        }
    }
    memset(d_gain, 0, columns * sizeof(REAL));
    memset(d_shift, 0, columns * sizeof(REAL));
    memset(d_bias, 0, columns * sizeof(REAL));
    for (int64_t part = 0; part < PARTS; part++)
        for (int64_t c = 0; c < columns; c++) {
            d_gain[c] += sums[3 * part * columns + c];
            d_shift[c] += sums[(3 * part + 1) * columns + c];
            d_bias[c] += sums[(3 * part + 2) * columns + c];
        }
    free(sums);
}

/* ---- sums of rows by number: the gradient of a table ---- */

/* table (V, D) gets row t of rows (T, D) added at index[t], unless that is `skip`. Each thread owns a range of the table and goes through
   all rows, so a sum has their order. */
void add_rows(const REAL *restrict rows, const int64_t *restrict index, REAL *restrict table, int64_t count, int64_t size,
              int64_t columns, int64_t skip) {
#pragma omp parallel
    {
        int64_t threads = 1, own = 0;
#ifdef _OPENMP
        threads = omp_get_num_threads();
        own = omp_get_thread_num();
#endif
        int64_t first = size * own / threads, stop = size * (own + 1) / threads;
        for (int64_t t = 0; t < count; t++) {
            int64_t place = index[t];
            if (place < first || place >= stop || place == skip) continue;
            add(table + place * columns, rows + t * columns, 1, columns);
        }
    }
}

/* ---- cross-entropy ---- */

/* losses (B) of scores (B, V) with the index (B) of what is right, and slopes (B, V) = softmax(scores) - what is right */
void cross_entropy(const REAL *restrict scores, const int64_t *restrict index, REAL *restrict losses, REAL *restrict slopes, int64_t rows,
                   int64_t columns) {
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < rows; b++) {
        const REAL *own = scores + b * columns;
        REAL *slope = slopes + b * columns, top = -INFINITY, total = 0;
#pragma omp simd reduction(max : top)
        for (int64_t c = 0; c < columns; c++) top = own[c] > top ? own[c] : top;
#pragma omp simd reduction(+ : total)
        for (int64_t c = 0; c < columns; c++) {
            slope[c] = EXP(own[c] - top);
            total += slope[c];
        }
        REAL scale = 1 / total;
        EACH for (int64_t c = 0; c < columns; c++) slope[c] *= scale;
        losses[b] = (REAL)log(total) + top - own[index[b]];
        slope[index[b]] -= 1;
    }
}

/* ---- attention between all tokens of a sequence ---- */

#define LANES 16
INLINE int64_t padded(int64_t length) { return (length + LANES - 1) / LANES * LANES; }

/* Of `lanes` scores the first `seen` become exp(score - highest) / their sum, and the others 0. */
INLINE void softmax(REAL *scores, int64_t seen, int64_t lanes) {
    REAL top = -INFINITY, total = 0;
    for (int64_t j = seen; j < lanes; j++) scores[j] = -INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < lanes; j++) top = scores[j] > top ? scores[j] : top;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < lanes; j++) {
        scores[j] = EXP(scores[j] - top);
        total += scores[j];
    }
    REAL scale = 1 / total;
    EACH for (int64_t j = 0; j < lanes; j++) scores[j] *= scale;
}

typedef struct {
    int64_t length, step, width; /* rows of q, k, v are `step` apart, those of out `width` */
    int64_t causal;
    REAL scale;
} Shape;

/* Of one sequence and head, d numbers wide: out gets its values added; weights (L, padded L) are kept. */
INLINE void attend_one(Shape is, int64_t d, const REAL *q, const REAL *k, const REAL *v, const Keep *keep, int64_t first, REAL *out,
                       REAL *weights) {
    int64_t length = is.length, size = padded(length);
    REAL factors[LONGEST + LANES];
    for (int64_t i = 0; i < length; i++) {
        int64_t seen = is.causal ? i + 1 : length, lanes = padded(seen);
        const REAL *query = q + i * is.step;
        REAL *row = weights + i * size, *result = out + i * is.width;
        for (int64_t j = 0; j < seen; j++) row[j] = is.scale * dot(query, k + j * is.step, d);
        softmax(row, seen, lanes);
        for (int64_t j = lanes; j < size; j++) row[j] = 0;
        factors_of(keep, first + i * length, seen, factors);
        for (int64_t j = 0; j < seen; j++) add(result, v + j * is.step, row[j] * factors[j], d);
    }
}

INLINE void attend_one_backward(Shape is, int64_t d, const REAL *q, const REAL *k, const REAL *v, const Keep *keep, int64_t first,
                                const REAL *d_out, const REAL *weights, REAL *d_q, REAL *d_k, REAL *d_v) {
    int64_t length = is.length, size = padded(length);
    REAL factors[LONGEST + LANES], slopes[LONGEST + LANES];
    for (int64_t i = 0; i < length; i++) {
        int64_t seen = is.causal ? i + 1 : length;
        const REAL *row = weights + i * size, *above = d_out + i * is.width, *query = q + i * is.step;
        REAL *d_query = d_q + i * is.step, along = 0;
        factors_of(keep, first + i * length, seen, factors);
        for (int64_t j = 0; j < seen; j++) {
            slopes[j] = factors[j] * dot(above, v + j * is.step, d);
            add(d_v + j * is.step, above, row[j] * factors[j], d);
        }
#pragma omp simd reduction(+ : along)
        for (int64_t j = 0; j < seen; j++) along += slopes[j] * row[j];
        EACH for (int64_t j = 0; j < seen; j++) slopes[j] = is.scale * row[j] * (slopes[j] - along);
        for (int64_t j = 0; j < seen; j++) {
            add(d_query, k + j * is.step, slopes[j], d);
            add(d_k + j * is.step, query, slopes[j], d);
        }
    }
}

/* asks for `count` numbers that come next; reading a sequence's keys row by row would wait for each */
INLINE void fetch(const REAL *numbers, int64_t count) {
    for (int64_t i = 0; i < count; i += 64 / (int64_t)sizeof(REAL)) __builtin_prefetch(numbers + i);
}

/* `attend_one` for long sequences, as products: turned (d, most) and scores (TILE, most) are to work in, where `most` is in whole panels. */
INLINE void attend_long(Shape is, int64_t d, const REAL *q, const REAL *k, const REAL *v, const Keep *keep, int64_t first, REAL *out,
                        REAL *weights, REAL *turned, REAL *scores, int64_t most) {
    int64_t length = is.length, size = padded(length);
    REAL factors[LONGEST + LANES];
    for (int64_t j = 0; j < length; j++) /* (most / PANEL, d, PANEL) */
        for (int64_t c = 0; c < d; c++) turned[(j / PANEL * d + c) * PANEL + j % PANEL] = is.scale * k[j * is.step + c];
    for (int64_t i = 0; i < length; i += TILE) {
        int64_t rows = least(TILE, length - i), last = is.causal ? i + rows : length;
        for (int64_t j = 0; j < last; j += PANEL)
            tile(q + i * is.step, is.step, 1, turned + j * d, PANEL, NULL, scores + j, most, rows, d, 0);
        for (int64_t r = 0; r < rows; r++) {
            int64_t seen = is.causal ? i + r + 1 : length, lanes = padded(seen);
            REAL *own = scores + r * most;
            softmax(own, seen, lanes);
            for (int64_t j = lanes; j < last; j++) own[j] = 0;
            memcpy(weights + (i + r) * size, own, lanes * sizeof(REAL));
            for (int64_t j = lanes; j < size; j++) weights[(i + r) * size + j] = 0;
            if (keep->words == NULL) continue;
            factors_of(keep, first + (i + r) * length, seen, factors);
            EACH for (int64_t j = 0; j < seen; j++) own[j] *= factors[j];
        }
        for (int64_t c = 0; c < d; c += PANEL)
            tile(scores, most, 1, v + c, is.step, NULL, out + i * is.width + c, is.width, rows, last, 0);
    }
}

/* out (T, D) from qkv (T, 3D). Of each block weights before dropout, (C, H, L, padded L), are kept, and random words are (H, C, L, L). */
void attend(const REAL *qkv, const int64_t *counts, const int64_t *lengths, int64_t blocks, int64_t heads, int64_t width, int64_t causal,
            const Keep *keep, REAL *out, REAL *weights) {
    int64_t d = width / heads, most = 0;
    for (int64_t block = 0; block < blocks; block++) most = lengths[block] > most ? lengths[block] : most;
    most = (padded(most) + PANEL - 1) / PANEL * PANEL; /* whole lanes, and whole panels */
#pragma omp parallel
    {
        REAL *turned = calloc((d + TILE) * most, sizeof(REAL)), *scores = turned + d * most;
        int64_t token = 0, kept = 0, drawn = 0;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t count = counts[block], length = lengths[block], square = length * padded(length);
            int longer = length >= 32 && d % PANEL == 0;
            Shape is = {length, 3 * width, width, causal, 1 / (REAL)sqrt((double)d)};
#pragma omp for schedule(dynamic, 8) nowait
            for (int64_t one = 0; one < count; one++) {
                if (one + 1 < count) fetch(qkv + (token + (one + 1) * length) * 3 * width, length * 3 * width);
                if (!longer) memset(out + (token + one * length) * width, 0, length * width * sizeof(REAL));
                for (int64_t head = 0; head < heads; head++) {
                    const REAL *q = qkv + (token + one * length) * 3 * width + head * d, *k = q + width, *v = k + width;
                    REAL *result = out + (token + one * length) * width + head * d;
                    REAL *own = weights + kept + (one * heads + head) * square;
                    int64_t first = drawn + (head * count + one) * length * length;
                    if (longer) attend_long(is, d, q, k, v, keep, first, result, own, turned, scores, most);
                    else if (d == 32) attend_one(is, 32, q, k, v, keep, first, result, own);
                    else attend_one(is, d, q, k, v, keep, first, result, own);
                }
            }
            token += count * length;
            kept += count * heads * square;
            drawn += count * heads * length * length;
        }
        free(turned);
    }
}

/* d_qkv (T, 3D) from d_out (T, D) and what `attend` has kept */
void attend_backward(const REAL *qkv, const int64_t *counts, const int64_t *lengths, int64_t blocks, int64_t heads, int64_t width,
                     int64_t causal, const Keep *keep, const REAL *d_out, const REAL *weights, REAL *d_qkv) {
    int64_t d = width / heads;
#pragma omp parallel
    {
        int64_t token = 0, kept = 0, drawn = 0;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t count = counts[block], length = lengths[block], square = length * padded(length);
            Shape is = {length, 3 * width, width, causal, 1 / (REAL)sqrt((double)d)};
#pragma omp for schedule(dynamic, 8) nowait
            for (int64_t one = 0; one < count; one++) {
                if (one + 1 < count) {
                    fetch(qkv + (token + (one + 1) * length) * 3 * width, length * 3 * width);
                    fetch(d_out + (token + (one + 1) * length) * width, length * width);
                }
                memset(d_qkv + (token + one * length) * 3 * width, 0, length * 3 * width * sizeof(REAL));
                for (int64_t head = 0; head < heads; head++) {
                    int64_t place = (token + one * length) * 3 * width + head * d;
                    const REAL *q = qkv + place, *above = d_out + (token + one * length) * width + head * d;
                    const REAL *own = weights + kept + (one * heads + head) * square;
                    REAL *d_q = d_qkv + place, *d_k = d_q + width, *d_v = d_k + width;
                    int64_t first = drawn + (head * count + one) * length * length;
                    if (d == 32) attend_one_backward(is, 32, q, q + width, q + 2 * width, keep, first, above, own, d_q, d_k, d_v);
                    else attend_one_backward(is, d, q, q + width, q + 2 * width, keep, first, above, own, d_q, d_k, d_v);
                }
            }
            token += count * length;
            kept += count * heads * square;
            drawn += count * heads * length * length;
        }
    }
}

/* ---- attention of each sequence's last token ---- */

/* pooled (B, H, D) and share (B, H) from queries (B, H, D) and tokens (T, D); weights before dropout, (C, H, L) of each block, are kept */
void pool(const REAL *queries, const REAL *tokens, const int64_t *counts, const int64_t *lengths, int64_t blocks, int64_t heads,
          int64_t width, const Keep *keep, REAL *pooled, REAL *share, REAL *weights) {
#pragma omp parallel
    {
        int64_t token = 0, before = 0, kept = 0;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t count = counts[block], length = lengths[block];
#pragma omp for schedule(dynamic, 8) nowait
            for (int64_t one = 0; one < count; one++)
                for (int64_t head = 0; head < heads; head++) {
                    int64_t place = (before + one) * heads + head, first = kept + (one * heads + head) * length;
                    const REAL *query = queries + place * width, *x = tokens + (token + one * length) * width;
                    REAL *row = weights + first, *result = pooled + place * width, factors[LONGEST], total = 0;
                    for (int64_t j = 0; j < length; j++) row[j] = dot(query, x + j * width, width);
                    softmax(row, length, length);
                    factors_of(keep, first, length, factors);
                    for (int64_t c = 0; c < width; c++) result[c] = 0;
                    for (int64_t j = 0; j < length; j++) {
                        REAL weight = row[j] * factors[j];
                        total += weight;
                        if (factors[j] != 0) add(result, x + j * width, weight, width);
                    }
                    share[place] = total;
                }
            token += count * length;
            before += count;
            kept += count * heads * length;
        }
    }
}

void pool_backward(const REAL *queries, const REAL *tokens, const int64_t *counts, const int64_t *lengths, int64_t blocks, int64_t heads,
                   int64_t width, const Keep *keep, const REAL *d_pooled, const REAL *d_share, const REAL *weights, REAL *d_queries,
                   REAL *d_tokens) {
#pragma omp parallel
    {
        int64_t token = 0, before = 0, kept = 0;
        for (int64_t block = 0; block < blocks; block++) {
            int64_t count = counts[block], length = lengths[block];
#pragma omp for schedule(dynamic, 8) nowait
            for (int64_t one = 0; one < count; one++) {
                const REAL *x = tokens + (token + one * length) * width;
                REAL *d_x = d_tokens + (token + one * length) * width, factors[LONGEST], scores[LONGEST];
                memset(d_x, 0, length * width * sizeof(REAL));
                for (int64_t head = 0; head < heads; head++) {
                    int64_t place = (before + one) * heads + head, first = kept + (one * heads + head) * length;
                    const REAL *query = queries + place * width, *above = d_pooled + place * width, *row = weights + first;
                    REAL *d_query = d_queries + place * width, along = 0;
                    factors_of(keep, first, length, factors);
                    for (int64_t j = 0; j < length; j++) {
                        scores[j] = factors[j] == 0 ? 0 : factors[j] * (d_share[place] + dot(above, x + j * width, width));
                        along += scores[j] * row[j];
                    }
                    for (int64_t c = 0; c < width; c++) d_query[c] = 0;
                    for (int64_t j = 0; j < length; j++) {
                        REAL slope = row[j] * (scores[j] - along), weight = row[j] * factors[j];
                        add(d_query, x + j * width, slope, width);
                        add(d_x + j * width, query, slope, width);
                        if (weight != 0) add(d_x + j * width, above, weight, width);
                    }
                }
            }
            token += count * length;
            before += count;
            kept += count * heads * length;
        }
    }
}
