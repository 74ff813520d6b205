/* What the compiled readers of text have in common. Nothing here reads a byte at or behind `e`. */

#ifndef EVENTFLOW_TEXT_H
#define EVENTFLOW_TEXT_H

#include <stdint.h>
#include <string.h>

static inline int ef_ascii(const uint8_t **p, const uint8_t *e) {
    const uint8_t *q = *p;
    uint64_t v;
    while (e - q >= 8) {
        memcpy(&v, q, 8);
        if (v & 0x8080808080808080ULL) break;
        q += 8;
    }
    while (q < e && *q < 128) q++;
    *p = q;
    return q == e;
}
static int ef_utf8(const uint8_t *p, const uint8_t *e) {
    while (!ef_ascii(&p, e)) {
        uint8_t a = *p;
        if (a >= 0xC2 && a <= 0xDF) {
            if (e - p < 2 || (p[1] & 0xC0) != 0x80) return 0;
            p += 2;
        } else if ((a & 0xF0) == 0xE0) {
            if (e - p < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) return 0;
            if ((a == 0xE0 && p[1] < 0xA0) || (a == 0xED && p[1] > 0x9F)) return 0;
            p += 3;
        } else if (a >= 0xF0 && a <= 0xF4) {
            if (e - p < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) return 0;
            if ((a == 0xF0 && p[1] < 0x90) || (a == 0xF4 && p[1] > 0x8F)) return 0;
            p += 4;
        } else return 0;
    }
    return 1;
}

/* The first byte of p..e that does not stand for itself in a JSON string: a quote, a backslash or a control character;
   e when there is none. */
static inline const uint8_t *ef_run(const uint8_t *p, const uint8_t *e) {
    const uint64_t ones = 0x0101010101010101ULL, tops = 0x8080808080808080ULL;
    uint64_t v, quote, slash, hit;
    while (e - p >= 8) {
        memcpy(&v, p, 8);
        quote = v ^ (ones * '"');
        slash = v ^ (ones * '\\');
        hit = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((v - ones * 0x20) & ~v)) & tops;
        if (hit) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return p + (__builtin_ctzll(hit) >> 3); /* the lowest one is exact */
#else
            break;
#endif
        }
        p += 8;
    }
    while (p < e && *p >= 0x20 && *p != '"' && *p != '\\') p++;
    return p;
}

#endif
