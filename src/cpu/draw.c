/* State from outside of plans: initial values, and copies in another dtype.
 *
 * Pair i of a tensor is made of draw i of the stream that its seed names, so parts can be drawn in
 * any order, on any lane, with the instructions of any machine, and are the same numbers. */
#include <string.h>

#include "cpu/kernels.h"
#include "tables/consts.h"

void cpu_draw(InitKind init, uint64_t key, double scale, const Tensor *tensor, int64_t first,
              int64_t last) {
    enum { PAIRS = 256, STREAM = 1 };
    const Isa *isa = kernels_isa(ISA_LEVELS);
    uint32_t   u[PAIRS], v[PAIRS], width = dtype_bytes(tensor->dtype);
    double     numbers[2 * PAIRS];
    int64_t    elements = tensor_elements(tensor);
    if (init == INIT_ZEROS) {
        int64_t end = 2 * last < elements ? 2 * last : elements;
        memset((uint8_t *)tensor->data + 2 * first * width, 0, (size_t)((end - 2 * first) * width));
        return;
    }
    for (int64_t i = 0; i < 2 * PAIRS; i++) numbers[i] = init == INIT_FILL ? scale : 1;
    for (int64_t pair = first, n; pair < last; pair += n) {
        n = last - pair < PAIRS ? last - pair : PAIRS;
        if (init == INIT_NORMAL || init == INIT_UNIFORM) {
            isa->draw_words(key, (uint64_t)pair, STREAM, n, u, v);
            (init == INIT_NORMAL ? isa->draw_normal : isa->draw_uniform)(u, v, n, scale, numbers);
        }
        int64_t     count = elements - 2 * pair < 2 * n ? elements - 2 * pair : 2 * n;
        uint8_t    *to = (uint8_t *)tensor->data + 2 * pair * width;
        const void *from = numbers;
        BlockFn    *store = isa->convert[DTYPE_F64][tensor->dtype];
        if (store != NULL && !dtype_is_half(tensor->dtype)) {
            store(to, &from, count, NULL);
            continue;
        } /* others round once */
        for (int64_t i = 0; i < count; i++)
            (void)const_encode(tensor->dtype, numbers[i], to + i * width);
    }
}

void cpu_convert(const Tensor *from, const Tensor *to, int64_t first, int64_t last) {
    const void *x = (const uint8_t *)from->data + first * dtype_bytes(from->dtype);
    uint8_t    *y = (uint8_t *)to->data + first * dtype_bytes(to->dtype);
    kernels_isa(ISA_LEVELS)->convert[from->dtype][to->dtype](y, &x, last - first, NULL);
}
