# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What `arrays` promises, compiled. Same results, number by number; a change here is one there."""

import numpy as np

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT32_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cdef uint64_t MIX = 0xFF51AFD7ED558CCDULL
cdef uint64_t MIX2 = 0xC4CEB9FE1A85EC53ULL
cdef uint64_t BEGIN = 0x9E3779B97F4A7C15ULL  # of a text: see arrays_py

cdef extern from *:
    """
    static inline void ef_prefetch(const void *where) { __builtin_prefetch(where); }
    """
    void ef_prefetch(const void* where) noexcept nogil

cdef enum:
    AHEAD = 12  # rows that are on their way from memory while one is looked at


cdef inline const uint64_t* _row(const uint64_t* rows, uint64_t mask, Py_ssize_t width, uint64_t hash) noexcept nogil:
    """Where a hash is in a table of rows, or the free row where it would be."""
    cdef uint64_t place = hash & mask
    while rows[place * width] and rows[place * width] != hash:
        place = (place + 1) & mask
    return rows + place * width


cdef inline uint64_t _mixed(uint64_t value, uint64_t salt) noexcept nogil:
    value = (value ^ salt) * MIX
    value ^= value >> 32
    value *= MIX2
    return value ^ (value >> 32)


cdef uint32_t* _table(Py_ssize_t count, uint64_t* mask) except NULL:
    """Rows by the hashes of their values: numbers plus one, 0 where it is free. Small, so that it stays in the cache."""
    cdef uint64_t places = 16
    if count >= INT32_MAX:
        raise OverflowError("too many rows")
    while places < <uint64_t>count * 2:
        places *= 2
    mask[0] = places - 1
    cdef uint32_t* table = <uint32_t*>calloc(places, sizeof(uint32_t))
    if table == NULL:
        raise MemoryError
    return table


cdef inline uint32_t* _slot(uint32_t* table, uint64_t mask, const uint64_t* values, uint64_t value) noexcept nogil:
    """Where a value's row is, or the free slot where it would be."""
    cdef uint64_t place = _mixed(value, 11) & mask
    while table[place] and values[table[place] - 1] != value:
        place = (place + 1) & mask
    return &table[place]


def mixed(const uint64_t[:] values, uint64_t salt):
    cdef Py_ssize_t count = values.shape[0], at
    found_array = np.empty(count, np.uint64)
    cdef uint64_t[::1] found = found_array
    with nogil:
        for at in range(count):
            found[at] = _mixed(values[at], salt)
    return found_array


def distinct(const uint64_t[::1] values):
    cdef Py_ssize_t count = values.shape[0], at
    cdef uint64_t mask
    cdef int64_t number = 0
    inverse_array = np.empty(count, np.int64)
    first_array = np.empty(count, np.int64)
    cdef int64_t[::1] inverse = inverse_array, first = first_array
    if not count:
        return first_array, inverse_array
    cdef uint32_t* table = _table(count, &mask)
    cdef uint32_t* slot
    with nogil:
        for at in range(count):
            slot = _slot(table, mask, &values[0], values[at])
            if slot[0]:
                inverse[at] = inverse[slot[0] - 1]
            else:
                slot[0] = <uint32_t>(at + 1)
                first[number] = at
                inverse[at] = number
                number += 1
        free(table)
    return first_array[:number].copy(), inverse_array


def among(const uint64_t[::1] hashes, const uint64_t[::1] wanted):
    cdef Py_ssize_t count = hashes.shape[0], many = wanted.shape[0], at
    cdef uint64_t mask
    found_array = np.zeros(count, np.bool_)
    at_array = np.zeros(count, np.int64)
    cdef uint8_t[::1] found = found_array.view(np.uint8)
    cdef int64_t[::1] where = at_array
    if not many or not count:
        return found_array, at_array
    cdef uint32_t* table = _table(many, &mask)
    cdef uint32_t* slot
    with nogil:
        for at in range(many):
            slot = _slot(table, mask, &wanted[0], wanted[at])
            if not slot[0]:
                slot[0] = <uint32_t>(at + 1)
        for at in range(count):
            slot = _slot(table, mask, &wanted[0], hashes[at])
            if slot[0]:
                found[at] = 1
                where[at] = slot[0] - 1
        free(table)
    return found_array, at_array


def grouped(const int64_t[::1] numbers, Py_ssize_t groups):
    cdef Py_ssize_t count = numbers.shape[0], at
    cdef int64_t total = 0, size
    order_array = np.empty(count, np.int64)
    begins_array = np.zeros(groups + 1, np.int64)
    cdef int64_t[::1] order = order_array, begins = begins_array
    with nogil:
        for at in range(count):
            begins[numbers[at] + 1] += 1
        for at in range(groups):
            begins[at + 1] += begins[at]
        for at in range(count):
            order[begins[numbers[at]]] = at
            begins[numbers[at]] += 1
    return order_array


def find(const uint64_t[:, ::1] table, const uint64_t[::1] hashes):
    cdef Py_ssize_t count = hashes.shape[0], width = table.shape[1], at, column
    cdef uint64_t mask = table.shape[0] - 1, hash
    known_array = np.zeros(count, np.bool_)
    numbers_array = np.zeros((count, width - 1), np.int64)
    if not count:
        return known_array, numbers_array
    cdef uint8_t[::1] known = known_array.view(np.uint8)
    cdef int64_t* number = <int64_t*>NULL
    cdef int64_t[:, ::1] numbers
    if width > 1:
        numbers = numbers_array
        number = &numbers[0, 0]
    cdef const uint64_t* rows = &table[0, 0]
    cdef const uint64_t* row
    with nogil:
        for at in range(count):
            if at + AHEAD < count:
                ef_prefetch(rows + (hashes[at + AHEAD] & mask) * width)
            hash = hashes[at]
            row = _row(rows, mask, width, hash)
            if row[0]:
                known[at] = 1
                for column in range(width - 1):
                    number[at * (width - 1) + column] = <int64_t>row[column + 1]
    return known_array, numbers_array


def settle(uint64_t[:, ::1] table, const uint64_t[::1] hashes, const int64_t[:, :] numbers):
    cdef Py_ssize_t count = hashes.shape[0], width = table.shape[1], at, column
    cdef uint64_t mask = table.shape[0] - 1, hash
    cdef int64_t added = 0
    cdef uint64_t* rows = &table[0, 0]
    cdef uint64_t* row
    with nogil:
        for at in range(count):
            if at + AHEAD < count:
                ef_prefetch(rows + (hashes[at + AHEAD] & mask) * width)
            hash = hashes[at]
            row = <uint64_t*>_row(rows, mask, width, hash)
            if not row[0]:
                row[0] = hash
                added += 1
            for column in range(width - 1):
                row[column + 1] = <uint64_t>numbers[at, column]
    return added


def text_hashes(bodies, const int64_t[::1] body, const int64_t[::1] start, const int64_t[::1] length):
    cdef Py_ssize_t count = body.shape[0], at, ahead, many = len(bodies), held = 0
    found_array = np.empty(count, np.uint64)
    cdef uint64_t[::1] found = found_array
    cdef Py_buffer* views = <Py_buffer*>calloc(many + 1, sizeof(Py_buffer))
    if views == NULL:
        raise MemoryError
    try:
        for one in bodies:
            PyObject_GetBuffer(one, &views[held], PyBUF_SIMPLE)
            held += 1
        for at in range(count):
            if not 0 <= body[at] < many:
                raise IndexError("no such body")
            if start[at] < 0 or length[at] < 0 or start[at] + length[at] > views[body[at]].len:
                raise IndexError("outside of the body")
            ahead = at + AHEAD
            if ahead < count and 0 <= body[ahead] < many:
                ef_prefetch(<const char*>views[body[ahead]].buf + start[ahead])
            found[at] = _text_hash(<const char*>views[body[at]].buf + start[at], length[at])
    finally:
        for at in range(held):
            PyBuffer_Release(&views[at])
        free(views)
    return found_array


cdef inline uint64_t _text_hash(const char* here, int64_t left) noexcept nogil:
    cdef uint64_t hash = _mixed(<uint64_t>left, BEGIN), lane
    while left > 0:
        lane = 0
        memcpy(&lane, here, 8 if left >= 8 else left)
        hash = _mixed(hash ^ lane, 2)
        here += 8
        left -= 8
    return hash


def from_planes(const uint8_t[::1] plain, Py_ssize_t begin, Py_ssize_t width, Py_ssize_t count):
    cdef Py_ssize_t at, plane
    if begin < 0 or count < 0 or not 0 <= width <= 8 or begin + width * count > plain.shape[0]:
        raise ValueError("outside of the bytes")
    found_array = np.zeros(count, np.int64)
    if not count or not width:
        return found_array
    cdef int64_t[::1] found = found_array
    cdef const uint8_t* byte = &plain[begin]
    with nogil:
        for plane in range(width):
            for at in range(count):
                found[at] |= <int64_t>(<uint64_t>byte[at] << (8 * plane))
            byte += count
    return found_array
