/* Reading the requests of `derivatives` rows: one forward sweep over the characters, no tables but
 * the terms it appends. Used by inference, which reports what is wrong, and by the system. */
#include "tables/derivatives.h"

static DerivativeTerm *add_term(DerivativeTerms *terms, uint32_t request, double weight) {
    terms->rows =
        arena_room(terms->arena, terms->rows, terms->count, &terms->capacity, sizeof *terms->rows);
    DerivativeTerm *term = &terms->rows[terms->count++];
    *term = (DerivativeTerm){.request = request, .weight = weight};
    return term;
}
static void add_pair(DerivativeTerms *terms, uint32_t request, double weight, const uint32_t *at,
                     uint32_t count) {
    DerivativeTerm *term = add_term(terms, request, weight);
    term->order = count;
    for (uint32_t i = 0; i < count; i++) term->at[i] = (uint16_t)at[i];
}
static void add_laplacian(DerivativeTerms *terms, uint32_t request, uint32_t coordinates) {
    for (uint32_t i = 0; i < coordinates; i++)
        add_pair(terms, request, 1, (const uint32_t[]){i, i}, 2);
}
static void add_bilaplacian(DerivativeTerms *terms, uint32_t request, uint32_t coordinates) {
    for (uint32_t i = 0; i < coordinates; i++)
        for (uint32_t j = i; j < coordinates; j++)
            add_pair(terms, request, i == j ? 1 : 2, (const uint32_t[]){i, i, j, j}, 4);
}

/* The coordinate of a letter, or UINT32_MAX. */
static uint32_t coordinate_of(char letter, String axes) {
    if (axes.count == 0)
        return letter >= '0' && letter <= '9' ? (uint32_t)(letter - '0') : UINT32_MAX;
    for (uint32_t i = 0; i < axes.count; i++)
        if (axes.data[i] == letter) return i;
    return UINT32_MAX;
}
static void insert(DerivativeTerm *term, uint32_t coordinate) {
    uint32_t i = term->order++;
    for (; i > 0 && term->at[i - 1] > coordinate; i--) term->at[i] = term->at[i - 1];
    term->at[i] = (uint16_t)coordinate;
}

/* The part of the text before the next '+' or '-'. */
static const char *read_term(DerivativeTerms *terms, String text, double sign, String axes,
                             uint32_t coordinates, uint32_t request) {
    DerivativeTerm *term = add_term(terms, request, sign);
    size_t          star = 0;
    while (star < text.count && text.data[star] != '*') star++;
    if (star < text.count) {
        double number = 0;
        while (text.count != 0 && text.data[0] == ' ') text.data++, text.count--, star--;
        if (!str_to_f64((String){text.data, star}, &number))
            return "has a factor that is not a number: write 2*xy";
        term->weight *= number;
        text.data += star + 1;
        text.count -= star + 1;
    }
    for (size_t i = 0; i < text.count; i++) {
        if (text.data[i] == ' ') continue;
        uint32_t coordinate = coordinate_of(text.data[i], axes);
        if (coordinate >= coordinates)
            return axes.count == 0 ? "names a coordinate that the last axis of x does not have: "
                                     "digits count from 0, attribute axes gives letters"
                                   : "names a coordinate that is not a letter of attribute axes";
        if (term->order == DERIVATIVE_ORDER_MAX) return "has an order above 12";
        insert(term, coordinate);
    }
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < term->order; i++) distinct += i == 0 || term->at[i] != term->at[i - 1];
    if (distinct > DERIVATIVE_SUPPORT_MAX) return "has a term in more than 6 coordinates";
    return term->order == 0 ? "has a term without a coordinate" : NULL;
}

const char *derivatives_read(DerivativeTerms *terms, String request, String axes,
                             uint32_t coordinates, uint32_t number) {
    if (axes.count != 0 && axes.count != coordinates)
        return "needs as many letters in attribute axes as the last axis of x has elements";
    if (coordinates > UINT16_MAX) return "has more than 65535 coordinates";
    if (str_same(request, STR("laplacian"))) return add_laplacian(terms, number, coordinates), NULL;
    if (str_same(request, STR("bilaplacian")))
        return add_bilaplacian(terms, number, coordinates), NULL;
    for (size_t at = 0; at <= request.count;) {
        double sign = 1;
        while (at < request.count && request.data[at] == ' ') at++;
        if (at < request.count && (request.data[at] == '-' || request.data[at] == '+'))
            sign = request.data[at++] == '-' ? -1 : 1;
        size_t end = at;
        while (end < request.count && request.data[end] != '+' && request.data[end] != '-') end++;
        const char *wrong = read_term(terms, (String){request.data + at, end - at}, sign, axes,
                                      coordinates, number);
        if (wrong != NULL) return wrong;
        if (end == request.count) break;
        at = end;
    }
    return NULL;
}
