# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, freethreading_compatible=False
"""An ExportTraceServiceRequest → columns, and columns → a request, compiled: what `wire_py` and `gather_py` do, faster.

Reads no byte outside of the body whatever stands in it: every pointer is compared with the end of the message it walks
through, and every length with what is left. As strict as protobuf's own parser, so that what is taken here can be read
later. Raises UnscannableError and nothing else. A change here is one in `wire_py.py` and `many_py.py`.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pythread cimport (
    NOWAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    PyThread_type_lock,
    WAIT_LOCK,
)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from collectors.conventions.roles import Role
from collectors.otlp.parse import LAST_NS as _LAST_NS
from collectors.otlp.scan.names import ODD as _ODD, LONGEST_KEY as _LONGEST_KEY, UnscannableError
from collectors.otlp.scan.attributes_py import LONGEST_TEXT as _LONGEST_TEXT, LONGEST_VALUE as _LONGEST_VALUE
from collectors.otlp.scan.links_py import NOT_DUE as _NOT_DUE

from eventflow.domain.columns import SpanColumns

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static uint64_t ef_secret[4];
    static inline uint64_t ef_mix(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline uint64_t ef_load(const uint8_t *p, size_t n) {
        uint64_t v = 0;
        memcpy(&v, p, n);
        return v;
    }
    /* Keyed with random numbers of this process: nobody can make two texts collide on purpose. */
    static inline uint64_t ef_hash(const uint8_t *p, size_t n, uint64_t h) {
        h ^= ef_mix(h ^ ef_secret[0], n ^ ef_secret[1]);
        while (n > 16) {
            h = ef_mix(ef_load(p, 8) ^ ef_secret[1], ef_load(p + 8, 8) ^ h);
            p += 16;
            n -= 16;
        }
        if (n >= 8) h = ef_mix(ef_load(p, 8) ^ ef_secret[2], ef_load(p + n - 8, 8) ^ h);
        else if (n >= 4) h = ef_mix(ef_load(p, 4) ^ ef_secret[2], ef_load(p + n - 4, 4) ^ h);
        else if (n) h = ef_mix(((uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1]) ^ ef_secret[2], h);
        return ef_mix(h ^ ef_secret[3], ef_secret[0]);
    }
    """
    uint64_t ef_secret[4]
    uint64_t ef_mix(uint64_t a, uint64_t b) noexcept nogil
    uint64_t ef_hash(const uint8_t *p, size_t n, uint64_t h) noexcept nogil

cdef extern from "_text.h":
    int ef_utf8(const uint8_t *p, const uint8_t *e) noexcept nogil

ctypedef const uint8_t *P

cdef uint64_t LAST_NS = _LAST_NS
cdef enum:
    # Roles as in conventions/roles.py, which is asserted below.
    OURS = 1
    TEXT = 4
    NUMBER = 8
    VALUE = 16
    IDENTITY = 32
    SEARCH = 64
    ODD = 128
    INDEX_SHIFT = 8
    LONGEST_KEY = 127
    LONGEST_TEXT = 300
    LONGEST_VALUE = 256
    DEEPEST = 100  # protobuf's own limit of nested messages
    RELEASE_FROM = 262144  # bytes; below, giving the lock up and getting it back would take longer than the scan
    SLOTS = 16384
    EXPECTED = 32
    MOST_NAMES = 8192
    KEEP_SPANS = 65536  # buffers for more are given back after the scan
    STRING = 0x0A
    INTEGER = 0x18
    BOOLEAN = 0x10
    FRACTION = 0x21

assert (OURS, TEXT, NUMBER, VALUE, IDENTITY, SEARCH) == (
    Role.OURS, Role.TEXT, Role.NUMBER, Role.VALUE, Role.IDENTITY, Role.SEARCH
)
assert (ODD, LONGEST_KEY, LONGEST_TEXT, LONGEST_VALUE) == (_ODD, _LONGEST_KEY, _LONGEST_TEXT, _LONGEST_VALUE)

cdef bytes NOT_DUE = _NOT_DUE
cdef P not_due = <P>PyBytes_AS_STRING(NOT_DUE)
cdef Py_ssize_t not_due_size = PyBytes_GET_SIZE(NOT_DUE)
cdef uint8_t[16] NO_ID
memset(NO_ID, 0, 16)


cdef _seed():
    cdef bytes noise = os.urandom(32)
    memcpy(ef_secret, PyBytes_AS_STRING(noise), 32)


_seed()

cdef struct Slot:
    uint64_t hash
    uint32_t code
    uint32_t seen  # the last span that had it
    uint32_t at  # of its key in the arena
    uint32_t size  # of its key, plus 1; 0 for a free slot

cdef struct Spans:
    size_t count
    size_t capacity
    uint8_t *trace_ids
    uint8_t *span_ids
    uint8_t *parents
    uint64_t *starts
    uint64_t *ends
    uint64_t *shapes
    uint8_t *errors
    uint8_t *odd
    uint32_t *offsets
    uint32_t *lengths
    uint32_t *scopes

cdef struct Rows:
    # Rows of `width` u32.
    size_t count
    size_t capacity
    uint32_t *cells

cdef struct Field:
    uint32_t tag
    P at
    P to
    uint64_t value


cdef inline int varint(P *p, P e, int most, uint64_t *value) noexcept nogil:
    cdef uint64_t x = 0
    cdef int shift = 0
    cdef uint8_t c
    cdef P q = p[0]
    while q < e and shift < 7 * most:
        c = q[0]
        q += 1
        x |= <uint64_t>(c & 127) << shift
        if c < 128:
            p[0] = q
            value[0] = x
            return 1
        shift += 7
    return 0


cdef inline int field(P *p, P e, Field *f, int depth) noexcept nogil:
    """The next field of a message that ends at `e`: 1, or 0 for broken bytes. Its value lies in at..to."""
    return any_field(p, e, f, depth) and f.tag > 7


cdef inline int any_field(P *p, P e, Field *f, int depth) noexcept nogil:
    """The same, and number 0 is a field too: protobuf's own parser reads over it in groups."""
    cdef uint64_t x
    cdef int wire
    if p[0][0] < 128:
        f.tag = p[0][0]
        p[0] += 1
    else:
        if not varint(p, e, 5, &x) or x > 0xFFFFFFFFu:
            return 0
        f.tag = <uint32_t>x
    wire = f.tag & 7
    f.value = 0
    f.at = p[0]
    if wire == 2:
        if p[0] < e and p[0][0] < 128:
            x = p[0][0]
            p[0] += 1
        elif not varint(p, e, 5, &x) or x > 0x7FFFFFFFu:
            return 0
        if x > <uint64_t>(e - p[0]):
            return 0
        f.at = p[0]
        p[0] += x
    elif wire == 0:
        if not varint(p, e, 10, &f.value):
            return 0
    elif wire == 1:
        if e - p[0] < 8:
            return 0
        p[0] += 8
    elif wire == 5:
        if e - p[0] < 4:
            return 0
        p[0] += 4
    elif wire == 3:
        if not group(p, e, f.tag >> 3, depth + 1):
            return 0
    else:
        return 0
    f.to = p[0]
    return 1


cdef int group(P *p, P e, uint32_t number, int depth) noexcept nogil:
    """Skip a group, which nobody has sent for fifteen years."""
    cdef Field f
    cdef uint64_t x
    cdef P q
    if depth > DEEPEST:
        return 0
    while p[0] < e:
        q = p[0]
        if not varint(&q, e, 5, &x) or x > 0xFFFFFFFFu:
            return 0
        if x & 7 == 4:
            p[0] = q
            return (x >> 3) == number
        if not any_field(p, e, &f, depth):
            return 0
    return 0


cdef int sound_any(P p, P e, int depth) noexcept nogil:
    """Whether an AnyValue can be read."""
    cdef Field f
    if depth > DEEPEST:
        return 0
    while p < e:
        if not field(&p, e, &f, depth):
            return 0
        if f.tag == 0x0A:
            if not ef_utf8(f.at, f.to):
                return 0
        elif f.tag == 0x2A or f.tag == 0x32:
            if not sound_list(f.at, f.to, depth + 1, f.tag == 0x32):
                return 0
    return 1


cdef int sound_list(P p, P e, int depth, bint pairs) noexcept nogil:
    """Whether an ArrayValue or a KeyValueList can be read."""
    cdef Field f
    if depth > DEEPEST:
        return 0
    while p < e:
        if not field(&p, e, &f, depth):
            return 0
        if f.tag == 0x0A:
            if not (sound_pair(f.at, f.to, depth + 1) if pairs else sound_any(f.at, f.to, depth + 1)):
                return 0
    return 1


cdef int sound_pair(P p, P e, int depth) noexcept nogil:
    """Whether a KeyValue can be read."""
    cdef Field f
    if depth > DEEPEST:
        return 0
    while p < e:
        if not field(&p, e, &f, depth):
            return 0
        if f.tag == 0x0A:
            if not ef_utf8(f.at, f.to):
                return 0
        elif f.tag == 0x12:
            if not sound_any(f.at, f.to, depth + 1):
                return 0
    return 1


cdef int sound_owner(P p, P e, int depth, bint scope) noexcept nogil:
    """Whether a Resource or an InstrumentationScope can be read."""
    cdef Field f
    while p < e:
        if not field(&p, e, &f, depth):
            return 0
        if f.tag == (0x1A if scope else 0x0A):
            if not sound_pair(f.at, f.to, depth + 1):
                return 0
        elif scope and (f.tag == 0x0A or f.tag == 0x12):
            if not ef_utf8(f.at, f.to):
                return 0
        elif f.tag == 0x1A and not sound_entity(f.at, f.to, depth + 1):
            return 0
    return 1


cdef int sound_entity(P p, P e, int depth) noexcept nogil:
    """Whether an EntityRef can be read: all that it has is text."""
    cdef Field f
    while p < e:
        if not field(&p, e, &f, depth):
            return 0
        if (f.tag == 0x0A or f.tag == 0x12 or f.tag == 0x1A or f.tag == 0x22) and not ef_utf8(f.at, f.to):
            return 0
    return 1


cdef struct Pair:
    # A KeyValue of the usual form: a key of at most 127 bytes and a value, once each and nothing else.
    P key
    size_t key_size
    P value
    P to


cdef inline int usual(P p, P e, Pair *pair) noexcept nogil:
    cdef uint64_t size
    cdef P at
    if e - p < 4 or p[0] != 0x0A or p[1] > 127:
        return 0
    at = p + 2 + p[1]
    if at + 1 >= e or at[0] != 0x12:
        return 0
    pair.key = p + 2
    pair.key_size = p[1]
    at += 1
    if at[0] < 128:
        size = at[0]
        at += 1
    elif not varint(&at, e, 5, &size):
        return 0
    if size != <uint64_t>(e - at):
        return 0
    pair.value = at
    pair.to = e
    return 1


cdef inline uint32_t point(P p) noexcept nogil:
    """The code point at `p`, in sound UTF-8."""
    if p[0] < 0x80:
        return p[0]
    if p[0] < 0xE0:
        return (p[0] & 31) << 6 | (p[1] & 63)
    if p[0] < 0xF0:
        return (p[0] & 15) << 12 | (p[1] & 63) << 6 | (p[2] & 63)
    return 0x10000  # none of them is a space


cdef inline bint space(uint32_t c) noexcept nogil:
    """What Python's str.strip takes off."""
    if c <= 0x20:
        return c == 0x20 or 0x09 <= c <= 0x0D or 0x1C <= c <= 0x1F
    return (
        c == 0x85 or c == 0xA0 or c == 0x1680 or 0x2000 <= c <= 0x200A
        or c == 0x2028 or c == 0x2029 or c == 0x202F or c == 0x205F or c == 0x3000
    )


cdef bint plain(P p, P e) noexcept nogil:
    """Whether sound text names something as it is: not empty, not padded, not too long, without NUL."""
    cdef size_t size = e - p, points = 0
    cdef P last = e - 1
    if p == e or memchr(p, 0, size) != NULL:
        return False
    if size > LONGEST_TEXT:
        while p < e:
            points += (p[0] & 0xC0) != 0x80
            p += 1
        if points > LONGEST_TEXT:
            return False
        p = e - size
    while (last[0] & 0xC0) == 0x80:
        last -= 1
    return not space(point(p)) and not space(point(last))


cdef inline bint positive(P p, P e) noexcept nogil:
    """One number above zero without needless bytes, of at most 63 bits, and nothing behind it."""
    if p >= e or e - p > 9 or (e - 1)[0] > 127 or (e - 1)[0] == 0:
        return False
    while p < e - 1:
        if p[0] < 128:
            return False
        p += 1
    return True


cdef inline int text_class(P p, P e) noexcept nogil:
    cdef uint64_t size
    if p < e:
        if p[0] == STRING:
            p += 1
            if varint(&p, e, 5, &size) and size and size == <uint64_t>(e - p) and 0x20 < p[0] < 0x7F:
                return 1
        elif p[0] == INTEGER and positive(p + 1, e):
            return 2
    return 0


cdef inline bint holds_not_due(P p, P e) noexcept nogil:
    cdef P at
    while e - p >= not_due_size:
        at = <P>memchr(p, not_due[0], e - p - not_due_size + 1)
        if at == NULL:
            return False
        if memcmp(at, not_due, not_due_size) == 0:
            return True
        p = at + 1
    return False


cdef struct Attributes:
    # What a span's attributes say so far.
    uint64_t all  # the hash of all that are looked at
    uint64_t identities  # the hash of the identities' names
    uint32_t ours
    uint32_t count
    bint odd


cdef class NativeScanner:
    """Scans requests with what `names` knows."""

    cdef object names
    cdef PyThread_type_lock lock
    cdef Slot *slots
    cdef size_t known
    cdef uint8_t *arena
    cdef size_t arena_used
    cdef size_t arena_capacity
    cdef uint32_t serial
    cdef bint forgot
    cdef Slot *expected[EXPECTED]
    cdef Spans spans
    cdef Rows links  # span, 16 and 8 bytes of ids
    cdef Rows idents  # span, name, offset, length, link
    cdef Rows values  # span, name, offset, length
    cdef Rows ranges  # offset and length of resource, scope, and the schema URL of either
    cdef P body

    def __cinit__(self, names):
        self.names = names
        self.lock = PyThread_allocate_lock()
        self.slots = <Slot *>calloc(SLOTS, sizeof(Slot))
        if self.lock == NULL or self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_free_lock(self.lock)
        free(self.slots)
        free(self.arena)
        self.give_back()

    cdef void give_back(self) noexcept:
        cdef Spans *s = &self.spans
        free(s.trace_ids)
        free(s.span_ids)
        free(s.parents)
        free(s.starts)
        free(s.ends)
        free(s.shapes)
        free(s.errors)
        free(s.odd)
        free(s.offsets)
        free(s.lengths)
        free(s.scopes)
        memset(s, 0, sizeof(Spans))
        free(self.links.cells)
        free(self.idents.cells)
        free(self.ranges.cells)
        free(self.values.cells)
        memset(&self.values, 0, sizeof(Rows))
        memset(&self.links, 0, sizeof(Rows))
        memset(&self.idents, 0, sizeof(Rows))
        memset(&self.ranges, 0, sizeof(Rows))

    def scan(self, bytes body not None):
        """The spans of `body` as columns."""
        cdef P p = <P>PyBytes_AS_STRING(body)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
        if size >= 2**31:
            raise UnscannableError("too long")
        # One scan at a time. Who waits for the lock does so without Python's own, which its holder may want.
        if not PyThread_acquire_lock(self.lock, NOWAIT_LOCK):
            with nogil:
                PyThread_acquire_lock(self.lock, WAIT_LOCK)
        try:
            self.spans.count = self.links.count = self.idents.count = self.ranges.count = self.values.count = 0
            self.body = p
            self.request(p, p + size)
            return self.columns()
        finally:
            if (
                self.spans.capacity > KEEP_SPANS or self.idents.capacity > 4 * KEEP_SPANS
                or self.links.capacity > KEEP_SPANS or self.values.capacity > 4 * KEEP_SPANS
            ):
                self.give_back()
            PyThread_release_lock(self.lock)

    cdef int request(self, P p, P e) except -1:
        cdef Field f
        while p < e:
            if not field(&p, e, &f, 0):
                return broken()
            if f.tag == 0x0A:
                self.resource_spans(f.at, f.to)
        return 0

    cdef int resource_spans(self, P p, P e) except -1:
        cdef Field f, resource, url
        cdef list service = []  # looked up for the first span: there may be a million of these without any
        only(p, e, &resource, &url, 1)
        if not sound_owner(resource.at, resource.to, 2, False):
            return broken()
        while p < e:
            if not field(&p, e, &f, 1):
                return broken()
            if f.tag == 0x12:
                self.scope_spans(f.at, f.to, &resource, &url, service)
            elif f.tag == 0x1A and not ef_utf8(f.at, f.to):
                return broken()
        return 0

    cdef int scope_spans(self, P p, P e, Field *resource, Field *url, list service) except -1:
        cdef Field scope, scope_url
        cdef uint64_t token
        cdef size_t first = self.spans.count
        cdef uint32_t *row
        cdef bint some = only(p, e, &scope, &scope_url, 2)
        if not sound_owner(scope.at, scope.to, 3, True):
            return broken()
        if not some:
            return self.all_spans(p, e, 0)
        if not service:
            service.append(
                self.names.service(PyBytes_FromStringAndSize(<char *>resource.at, resource.to - resource.at))
            )
        token = self.names.scope(service[0], PyBytes_FromStringAndSize(<char *>scope.at, scope.to - scope.at))
        if e - p >= RELEASE_FROM:
            with nogil:
                self.all_spans(p, e, token)
        else:
            self.all_spans(p, e, token)
        if self.spans.count > first:
            row = add_row(&self.ranges, 8)
            self.range(row, resource)
            self.range(row + 2, &scope)
            self.range(row + 4, url)
            self.range(row + 6, &scope_url)
        return 0

    cdef inline void range(self, uint32_t *to, Field *f) noexcept nogil:
        """Where a field's value lies, if the field is there."""
        to[0] = <uint32_t>(f.at - self.body) if f.tag else 0
        to[1] = <uint32_t>(f.to - f.at)

    cdef int all_spans(self, P p, P e, uint64_t token) except -1 nogil:
        cdef Field f
        while p < e:
            if not field(&p, e, &f, 2):
                return broken()
            if f.tag == 0x12:
                self.span(f.at, f.to, token)
            elif f.tag == 0x1A and not ef_utf8(f.at, f.to):
                return broken()
        return 0

    cdef int span(self, P p, P e, uint64_t token) except -1 nogil:
        cdef Field f
        cdef Spans *s = &self.spans
        cdef P trace_id = NULL, span_id = NULL, parent = NULL, name = p, begin = p
        cdef size_t trace_size = 0, span_size = 0, parent_size = 0, name_size = 0
        cdef uint64_t started = 0, ended = 0, status = 0, kind = 0, links = 0, linked = 0, flags, shape
        cdef Attributes found
        cdef bint odd = False, exception = False
        cdef size_t n
        cdef int said
        memset(&found, 0, sizeof(Attributes))
        self.serial += 1
        if self.serial == 0:
            self.forget()
        self.forgot = False
        while p < e:
            if not field(&p, e, &f, 3):
                return broken()
            if f.tag == 0x4A:
                self.attribute(f.at, f.to, &found)
            elif f.tag == 0x0A:
                trace_id = f.at
                trace_size = f.to - f.at
            elif f.tag == 0x12:
                span_id = f.at
                span_size = f.to - f.at
            elif f.tag == 0x22:
                parent = f.at
                parent_size = f.to - f.at
            elif f.tag == 0x2A:
                name = f.at
                name_size = f.to - f.at
                if not ef_utf8(f.at, f.to):
                    return broken()
            elif f.tag == 0x30:
                kind = f.value & 0xFFFFFFFFu
            elif f.tag == 0x39:
                memcpy(&started, f.at, 8)
            elif f.tag == 0x41:
                memcpy(&ended, f.at, 8)
            elif f.tag == 0x1A:
                if not ef_utf8(f.at, f.to):
                    return broken()
            elif f.tag == 0x7A:
                read_status(f.at, f.to, &status)
            elif f.tag == 0x6A:
                said = self.link(f.at, f.to)
                links += 1
                linked |= said & 3
                odd |= said >> 2
            elif f.tag == 0x5A:
                said = read_event(f.at, f.to)
                exception |= said & 1
                odd |= said >> 1
        if (
            trace_size != 16 or span_size != 8
            or memcmp(trace_id, NO_ID, 16) == 0 or memcmp(span_id, NO_ID, 8) == 0
            or started == 0 or started > LAST_NS or ended > LAST_NS
        ):
            return broken()
        if parent_size != 8:
            while parent_size:
                parent_size -= 1
                odd |= parent[parent_size] != 0
            parent = NO_ID
        elif memcmp(parent, span_id, 8) == 0:
            odd = True
        if s.count == s.capacity:
            grow_spans(s)
        n = s.count
        memcpy(s.trace_ids + 16 * n, trace_id, 16)
        memcpy(s.span_ids + 8 * n, span_id, 8)
        memcpy(s.parents + 8 * n, parent, 8)
        s.starts[n] = started
        s.ends[n] = ended
        s.errors[n] = status == 2
        s.odd[n] = odd or found.odd or ended < started or self.forgot
        s.offsets[n] = <uint32_t>(begin - self.body)
        s.lengths[n] = <uint32_t>(e - begin)
        s.scopes[n] = <uint32_t>self.ranges.count
        if kind > 5:
            kind = 0
        if status > 2:
            status = 0
        flags = (
            kind | status << 3 | <uint64_t>(memcmp(parent, NO_ID, 8) != 0) << 5 | (links if links < 2 else 2) << 6
            | linked << 8 | <uint64_t>exception << 10 | <uint64_t>found.ours << 11
        )
        shape = ef_mix(token ^ ef_secret[1], flags ^ ef_secret[2])
        if found.ours or kind > 3:
            shape = ef_hash(name, name_size, shape)
        s.shapes[n] = ef_mix((found.all if found.ours else found.identities) ^ ef_secret[3], shape)
        s.count = n + 1
        return 0

    cdef int attribute(self, P p, P e, Attributes *found) except -1 nogil:
        """One attribute of the span being read."""
        cdef Pair pair
        cdef Slot *slot
        cdef uint64_t size
        cdef P v
        cdef uint32_t code
        cdef int kind
        if not usual(p, e, &pair):
            if not sound_pair(p, e, 4):
                return broken()
            found.odd = True
            return 0
        # The same library writes the same names in the same order.
        slot = self.expected[found.count & (EXPECTED - 1)]
        if slot == NULL or slot.size != pair.key_size + 1 or memcmp(self.arena + slot.at, pair.key, pair.key_size) != 0:
            slot = self.find(pair.key, pair.key_size)
            self.expected[found.count & (EXPECTED - 1)] = slot
        found.count += 1
        v = pair.value
        # Nine in ten are text.
        if e - v >= 2 and v[0] == STRING and v[1] < 128 and v[1] == e - v - 2:
            if not ef_utf8(v + 2, e):
                return broken()
        elif not sound_any(v, e, 5):
            return broken()
        code = slot.code
        if code == 0:
            return 0
        if code & ODD:
            found.odd = True
            return 0
        if slot.seen == self.serial:
            found.odd = True
        slot.seen = self.serial
        found.ours |= code & OURS
        if code & VALUE:
            found.all = ef_hash(p, e - p, found.all)
        else:
            found.all = ef_mix(found.all ^ ef_secret[1], slot.hash)
            if code & (TEXT | NUMBER):
                if code & TEXT:
                    kind = text_class(v, e)
                else:
                    kind = 2 if v < e and v[0] == INTEGER and positive(v + 1, e) else 0
                if kind:
                    found.all = ef_mix(found.all ^ ef_secret[2], kind)
                else:
                    found.all = ef_hash(v, e - v, found.all)
        if code & IDENTITY:
            found.identities = ef_mix(found.identities ^ ef_secret[1], slot.hash)
            if self.identity(code >> INDEX_SHIFT, v, e, <uint32_t>self.spans.count, 0):
                found.odd = True
        if code & SEARCH:
            self.value(code >> INDEX_SHIFT, v, e)
        return 0

    cdef int value(self, uint32_t name, P v, P e) except -1 nogil:
        """Write down where the value of a searched key lies."""
        cdef uint32_t *row
        if v == e or e - v > LONGEST_VALUE:
            return 0
        if v[0] == STRING or v[0] == INTEGER or v[0] == BOOLEAN or v[0] == FRACTION:
            row = add_row(&self.values, 4)
            row[0] = <uint32_t>self.spans.count
            row[1] = name
            row[2] = <uint32_t>(v - self.body)
            row[3] = <uint32_t>(e - v)
        return 0

    cdef int identity(self, uint32_t name, P v, P e, uint32_t span, uint32_t link) except -1 nogil:
        """Write down where the text of an identity lies; 1 when it is not that simple. The value is known to be sound."""
        cdef uint64_t size
        cdef uint32_t *row
        if v == e or v[0] != STRING:
            return 1
        v += 1
        if not varint(&v, e, 5, &size) or size != <uint64_t>(e - v) or not plain(v, e):
            return 1
        row = add_row(&self.idents, 5)
        row[0] = span
        row[1] = name
        row[2] = <uint32_t>(v - self.body)
        row[3] = <uint32_t>size
        row[4] = link
        return 0

    cdef int link(self, P p, P e) except -1 nogil:
        """Write a link down: its identities as bits 0 and 1, and bit 2 when it takes whole reading."""
        cdef Field f
        cdef Pair pair
        cdef P trace_id = NULL, span_id = NULL
        cdef size_t trace_size = 0, span_size = 0, before = self.idents.count, n = self.links.count
        cdef int said = 0, index
        cdef uint32_t *row
        while p < e:
            if not field(&p, e, &f, 4):
                return broken()
            if f.tag == 0x0A:
                trace_id = f.at
                trace_size = f.to - f.at
            elif f.tag == 0x12:
                span_id = f.at
                span_size = f.to - f.at
            elif f.tag == 0x1A:
                if not ef_utf8(f.at, f.to):
                    return broken()
            elif f.tag == 0x22:
                if not sound_pair(f.at, f.to, 5):
                    return broken()
                if not usual(f.at, f.to, &pair):
                    said |= 4
                    continue
                index = link_identity(&pair)
                if index >= 0:
                    if said & 1 << index or self.identity(index, pair.value, pair.to, <uint32_t>self.spans.count, <uint32_t>n + 1):
                        said |= 4
                    said |= 1 << index
        if trace_size != 16 or span_size != 8 or memcmp(trace_id, NO_ID, 16) == 0 or memcmp(span_id, NO_ID, 8) == 0:
            self.idents.count = before
            return said | 4
        row = add_row(&self.links, 7)
        row[0] = <uint32_t>self.spans.count
        memcpy(row + 1, trace_id, 16)
        memcpy(row + 5, span_id, 8)
        return said

    cdef Slot *find(self, P key, size_t size) except NULL nogil:
        """The slot of an attribute's name, learnt when it is new."""
        cdef uint64_t hash = ef_hash(key, size, ef_secret[3])
        cdef size_t at = hash & (SLOTS - 1)
        cdef Slot *slot
        while True:
            slot = self.slots + at
            if slot.size == 0:
                break
            if slot.hash == hash and slot.size == size + 1 and memcmp(self.arena + slot.at, key, size) == 0:
                return slot
            at = (at + 1) & (SLOTS - 1)
        return self.learn(key, size, hash)

    cdef Slot *learn(self, P key, size_t size, uint64_t hash) except NULL nogil:
        # Apart from `find`, which would otherwise take Python's lock at each call.
        cdef Slot *slot
        cdef size_t at
        if not ef_utf8(key, key + size):
            broken()
        with gil:
            code = self.names.code(PyBytes_FromStringAndSize(<char *>key, size))
            if self.known >= MOST_NAMES:
                self.forget()
            if self.arena_used + size > self.arena_capacity:
                self.grow_arena()
            at = hash & (SLOTS - 1)
            while self.slots[at].size:
                at = (at + 1) & (SLOTS - 1)
            slot = self.slots + at
            memcpy(self.arena + self.arena_used, key, size)
            slot.hash = hash
            slot.code = code
            slot.seen = self.serial - 1
            slot.at = <uint32_t>self.arena_used
            slot.size = <uint32_t>size + 1
            self.arena_used += size
            self.known += 1
        return slot

    cdef int grow_arena(self) except -1:
        cdef size_t wanted = 2 * self.arena_capacity + 4096
        cdef uint8_t *more = <uint8_t *>realloc(self.arena, wanted)
        if more == NULL:
            raise MemoryError
        self.arena = more
        self.arena_capacity = wanted
        return 0

    cdef void forget(self) noexcept nogil:
        """All names: they are asked again. What the span being read had before is not known any more."""
        memset(self.slots, 0, SLOTS * sizeof(Slot))
        memset(self.expected, 0, sizeof(self.expected))
        self.known = self.arena_used = 0
        self.forgot = True
        self.serial = 1

    cdef columns(self):
        """What was found."""
        cdef Spans *s = &self.spans
        cdef size_t n = s.count, links = self.links.count, i
        cdef bytes link_spans = PyBytes_FromStringAndSize(NULL, 4 * links)
        cdef bytes link_traces = PyBytes_FromStringAndSize(NULL, 16 * links)
        cdef bytes link_targets = PyBytes_FromStringAndSize(NULL, 8 * links)
        cdef uint32_t *row
        for i in range(links):
            row = self.links.cells + 7 * i
            memcpy(PyBytes_AS_STRING(link_spans) + 4 * i, row, 4)
            memcpy(PyBytes_AS_STRING(link_traces) + 16 * i, row + 1, 16)
            memcpy(PyBytes_AS_STRING(link_targets) + 8 * i, row + 5, 8)
        cdef list ranges = []
        for i in range(self.ranges.count):
            row = self.ranges.cells + 8 * i
            ranges.append((row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7]))
        return SpanColumns(
            n,
            copied(s.trace_ids, 16 * n),
            copied(s.span_ids, 8 * n),
            copied(s.parents, 8 * n),
            copied(s.starts, 8 * n),
            copied(s.ends, 8 * n),
            copied(s.errors, n),
            copied(s.shapes, 8 * n),
            copied(s.odd, n),
            copied(s.offsets, 4 * n),
            copied(s.lengths, 4 * n),
            copied(s.scopes, 4 * n),
            tuple(ranges),
            link_spans,
            link_traces,
            link_targets,
            cells(&self.idents, 5, 0),
            cells(&self.idents, 5, 1),
            cells(&self.idents, 5, 2),
            cells(&self.idents, 5, 3),
            cells(&self.idents, 5, 4),
            cells(&self.values, 4, 0),
            cells(&self.values, 4, 1),
            cells(&self.values, 4, 2),
            cells(&self.values, 4, 3),
        )


cdef int broken() except -1 nogil:
    with gil:
        raise UnscannableError("no request in protobuf, or a span that breaks a rule")


cdef int only(P p, P e, Field *found, Field *url, int depth) except -1:
    """A message's first field, which may be there once, and its schema URL; tag 0 and nothing in one that is not there.

    Whether the second field, which may be there often, is there.
    """
    cdef Field f
    cdef bint some = False
    found.tag = url.tag = 0
    found.at = found.to = url.at = url.to = p
    while p < e:
        if not field(&p, e, &f, depth):
            return broken()
        if f.tag == 0x0A:
            if found.tag:
                return broken()
            found[0] = f
        elif f.tag == 0x12:
            some = True
        elif f.tag == 0x1A:
            url[0] = f
    return some


cdef int read_status(P p, P e, uint64_t *code) except -1 nogil:
    cdef Field f
    while p < e:
        if not field(&p, e, &f, 4):
            return broken()
        if f.tag == 0x18:
            code[0] = f.value & 0xFFFFFFFFu
        elif f.tag == 0x12 and not ef_utf8(f.at, f.to):
            return broken()
    return 0


cdef int read_event(P p, P e) except -1 nogil:
    """Bit 0: an exception. Bit 1: only whole reading can judge it."""
    cdef Field f
    cdef P begin = p
    cdef uint64_t at_ns = 0
    cdef bint exception = False
    while p < e:
        if not field(&p, e, &f, 4):
            return broken()
        if f.tag == 0x12:
            if not ef_utf8(f.at, f.to):
                return broken()
            exception = f.to - f.at == 9 and memcmp(f.at, b"exception", 9) == 0
        elif f.tag == 0x09:
            memcpy(&at_ns, f.at, 8)
        elif f.tag == 0x1A:
            if not sound_pair(f.at, f.to, 5):
                return broken()
    return exception | (at_ns > LAST_NS or (exception and holds_not_due(begin, e))) << 1


cdef inline int link_identity(Pair *pair) noexcept nogil:
    """The index of a link's identity among names.LINK_IDENTITIES, -1 for what is none."""
    if pair.key_size == 20 and memcmp(pair.key, b"messaging.message.id", 20) == 0:
        return 0
    if pair.key_size == 20 and memcmp(pair.key, b"messaging.message_id", 20) == 0:
        return 1
    return -1


cdef int bigger(void **column, size_t size) except -1 nogil:
    cdef void *more = realloc(column[0], size)
    if more == NULL:
        with gil:
            raise MemoryError
    column[0] = more
    return 0


cdef int grow_spans(Spans *s) except -1 nogil:
    cdef size_t n = 2 * s.capacity + 1024
    bigger(<void **>&s.trace_ids, 16 * n)
    bigger(<void **>&s.span_ids, 8 * n)
    bigger(<void **>&s.parents, 8 * n)
    bigger(<void **>&s.starts, 8 * n)
    bigger(<void **>&s.ends, 8 * n)
    bigger(<void **>&s.shapes, 8 * n)
    bigger(<void **>&s.errors, n)
    bigger(<void **>&s.odd, n)
    bigger(<void **>&s.offsets, 4 * n)
    bigger(<void **>&s.lengths, 4 * n)
    bigger(<void **>&s.scopes, 4 * n)
    s.capacity = n
    return 0


cdef uint32_t *add_row(Rows *rows, size_t width) except NULL nogil:
    cdef size_t n
    if rows.count == rows.capacity:
        n = 2 * rows.capacity + 256
        bigger(<void **>&rows.cells, 4 * width * n)
        rows.capacity = n
    rows.count += 1
    return rows.cells + width * (rows.count - 1)


cdef bytes copied(void *column, size_t size):
    return PyBytes_FromStringAndSize(<char *>column, size) if size else b""


cdef bytes cells(Rows *rows, size_t width, size_t index):
    """A column of rows."""
    cdef bytes found = PyBytes_FromStringAndSize(NULL, 4 * rows.count)
    cdef char *to = PyBytes_AS_STRING(found)
    cdef size_t i
    for i in range(rows.count):
        memcpy(to + 4 * i, rows.cells + width * i + index, 4)
    return found


cdef struct Request:
    Py_buffer view
    P body
    size_t size
    uint32_t *offsets
    uint32_t *lengths
    uint32_t *scopes
    size_t count  # of its spans; its columns are not looked up yet while body is NULL
    size_t ranges
    int *groups  # of its scopes; -1 while unknown


cdef struct Group:
    uint64_t size  # of its spans with their tags and lengths
    uint8_t *at


def gather(bodies, columns, bytes requests not None, bytes spans not None):
    """See `eventflow.domain.columns.Format.gather`."""
    cdef size_t wanted = PyBytes_GET_SIZE(spans) // 4, number = len(bodies), i
    cdef uint32_t *request_of = <uint32_t *>PyBytes_AS_STRING(requests)
    cdef uint32_t *span_of = <uint32_t *>PyBytes_AS_STRING(spans)
    cdef Request *known = <Request *>calloc(number + 1, sizeof(Request))
    cdef Group *groups = NULL
    cdef int *group_of = <int *>malloc((wanted + 1) * sizeof(int))
    cdef size_t capacity = 0, used = 0
    cdef Request *r
    cdef uint32_t span
    cdef int group
    cdef dict resources = {}  # how a resource begins → how a scope begins → group
    try:
        if known == NULL or group_of == NULL:
            raise MemoryError
        if PyBytes_GET_SIZE(requests) != PyBytes_GET_SIZE(spans) or len(columns) != <Py_ssize_t>number:
            raise ValueError("a request for each span, and columns for each body")
        for i in range(wanted):
            if request_of[i] >= number:
                raise IndexError(request_of[i])
            r = known + request_of[i]
            if r.body == NULL:
                look_up(r, bodies[request_of[i]], columns[request_of[i]])
            span = span_of[i]
            if span >= r.count or r.scopes[span] >= r.ranges or <uint64_t>r.offsets[span] + r.lengths[span] > r.size:
                raise IndexError(span)
            group = r.groups[r.scopes[span]]
            if group < 0:
                group = group_number(r, columns[request_of[i]].scope_ranges[r.scopes[span]], resources, used)
                r.groups[r.scopes[span]] = group
                if <size_t>group == used:
                    if used == capacity:
                        capacity = 2 * capacity + 64
                        bigger(<void **>&groups, capacity * sizeof(Group))
                    groups[used].size = 0
                    used += 1
            group_of[i] = group
            groups[group].size += 1 + varint_size(r.lengths[span]) + r.lengths[span]
        body = laid_out(resources, groups)
        for i in range(wanted):
            r = known + request_of[i]
            copy_span(groups + group_of[i], r.body + r.offsets[span_of[i]], r.lengths[span_of[i]])
        return body
    finally:
        if known != NULL:
            for i in range(number):
                free(known[i].groups)
                PyBuffer_Release(&known[i].view)
        free(known)
        free(groups)
        free(group_of)


cdef int look_up(Request *r, object body, object columns) except -1:
    cdef bytes offsets = columns.offsets, lengths = columns.lengths, scopes = columns.scopes
    cdef size_t ranges = len(columns.scope_ranges)
    r.count = columns.count
    if min(len(offsets), len(lengths), len(scopes)) < <Py_ssize_t>(4 * r.count):
        raise ValueError("columns of different lengths")
    # Their owners hold them for as long as the call lasts.
    r.offsets = <uint32_t *>PyBytes_AS_STRING(offsets)
    r.lengths = <uint32_t *>PyBytes_AS_STRING(lengths)
    r.scopes = <uint32_t *>PyBytes_AS_STRING(scopes)
    r.ranges = ranges
    r.groups = <int *>malloc((ranges + 1) * sizeof(int))
    if r.groups == NULL:
        raise MemoryError
    memset(r.groups, 0xFF, ranges * sizeof(int))
    PyObject_GetBuffer(body, &r.view, PyBUF_SIMPLE)
    r.body, r.size = <P>r.view.buf, r.view.len
    return 0


cdef int group_number(Request *r, tuple place, dict resources, size_t fresh) except -1:
    """The number of the group that a scope's spans go to; `fresh` if there is none yet."""
    cdef dict scopes = resources.setdefault(head(r.body, r.size, place[0], place[1], place[4], place[5]), {})
    return scopes.setdefault(head(r.body, r.size, place[2], place[3], place[6], place[7]), fresh)


cdef bytes head(P p, size_t whole, size_t at, size_t size, size_t url_at, size_t url_size):
    """What a group of spans begins with: its resource or scope, and the URL of its schema where it has one."""
    cdef size_t total = 1 + varint_size(size) + size
    cdef bytes begin
    cdef uint8_t *to
    if at > whole or size > whole - at or url_at > whole or url_size > whole - url_at:
        raise IndexError(at)
    if url_size:
        total += 1 + varint_size(url_size) + url_size
    begin = PyBytes_FromStringAndSize(NULL, total)
    to = put_head(<uint8_t *>PyBytes_AS_STRING(begin), 0x0A, size)
    memcpy(to, p + at, size)
    if url_size:
        to = put_head(to + size, 0x1A, url_size)
        memcpy(to, p + url_at, url_size)
    return begin


cdef bytes laid_out(dict resources, Group *groups):
    """A request with everything but the spans, and in `groups` where they go."""
    cdef uint64_t total = 0, inner, size
    cdef list sizes = []
    cdef bytes begin, scope, body
    cdef dict scopes
    cdef uint8_t *to
    cdef int group
    for begin, scopes in resources.items():
        inner = len(begin)
        for scope, group in scopes.items():
            size = len(scope) + groups[group].size
            inner += 1 + varint_size(size) + size
        sizes.append(inner)
        total += 1 + varint_size(inner) + inner
    body = PyBytes_FromStringAndSize(NULL, total)
    to = <uint8_t *>PyBytes_AS_STRING(body)
    for inner, (begin, scopes) in zip(sizes, resources.items()):
        to = put(put_head(to, 0x0A, inner), begin)
        for scope, group in scopes.items():
            to = put(put_head(to, 0x12, len(scope) + groups[group].size), scope)
            groups[group].at = to
            to += groups[group].size
    return body


cdef inline int varint_size(uint64_t x) noexcept nogil:
    cdef int size = 1
    while x > 127:
        x >>= 7
        size += 1
    return size


cdef inline uint8_t *put_head(uint8_t *to, uint8_t tag, uint64_t size) noexcept nogil:
    to[0] = tag
    to += 1
    while size > 127:
        to[0] = <uint8_t>(size & 127 | 128)
        to += 1
        size >>= 7
    to[0] = <uint8_t>size
    return to + 1


cdef inline uint8_t *put(uint8_t *to, bytes content):
    memcpy(to, PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content))
    return to + PyBytes_GET_SIZE(content)


cdef inline void copy_span(Group *group, P span, uint32_t size) noexcept nogil:
    cdef uint8_t *to = put_head(group.at, 0x12, size)
    memcpy(to, span, size)
    group.at = to + size
