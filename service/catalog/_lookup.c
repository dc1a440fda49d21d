/* The functions of lookup.py, compiled. They keep the interpreter's lock and no state. */

#define PY_SSIZE_T_CLEAN
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000 /* one build for Python 3.11 and all later ones */
#endif
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define EMPTY (-1) /* MISSING of lookup.py */
#define AHEAD 8    /* rows between the one that is copied and the one that is fetched */

#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) ((void)(address))
#endif

static void release(Py_buffer *buffers, int count)
{
    while (count--)
        PyBuffer_Release(&buffers[count]);
}

/* Get the buffers of arrays; returns -1 with an exception if one has none. */
static int get(PyObject *const *arrays, Py_buffer *buffers, const int *flags, int count)
{
    for (int n = 0; n < count; n++)
        if (PyObject_GetBuffer(arrays[n], &buffers[n], flags[n]) < 0) {
            release(buffers, n);
            return -1;
        }
    return 0;
}

/* Write the hash of each id, and fetch its slot; returns -1 with an exception. */
static int write_hashes(PyObject *ids, const Py_buffer *hashes, const Py_buffer *slots,
                        int64_t *out)
{
    const int64_t last = slots->len / (Py_ssize_t)sizeof(int32_t) - 1;
    const Py_ssize_t count = PyList_Size(ids);
    for (Py_ssize_t n = 0; n < count; n++) {
        PyObject *id = PyList_GetItem(ids, n);
        if (id == NULL)
            return -1;
        const int64_t hash = PyObject_Hash(id);
        if (hash == -1)
            return -1;
        out[n] = hash;
        FETCH((int64_t *)hashes->buf + (hash & last));
        FETCH((int32_t *)slots->buf + (hash & last));
    }
    return 0;
}

static PyObject *find(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const int flags[] = {PyBUF_SIMPLE, PyBUF_SIMPLE, PyBUF_WRITABLE};
    Py_buffer buffers[3];
    if (nargs != 4) {
        PyErr_SetString(PyExc_TypeError, "find: 4 arguments are needed");
        return NULL;
    }
    PyObject *ids = PySequence_List(args[0]); /* of our own: __hash__ may change the caller's */
    if (ids == NULL)
        return NULL;
    if (get(args + 1, buffers, flags, 3) < 0) {
        Py_DECREF(ids);
        return NULL;
    }
    const int64_t *hashes = buffers[0].buf;
    const int32_t *slots = buffers[1].buf;
    int64_t *rows = buffers[2].buf;
    const Py_ssize_t size = buffers[1].len / (Py_ssize_t)sizeof(int32_t);
    const Py_ssize_t count = PyList_Size(ids);
    int failed = 0;
    if (size == 0 || (size & (size - 1)) || buffers[0].len != size * (Py_ssize_t)sizeof(int64_t)
        || buffers[2].len != count * (Py_ssize_t)sizeof(int64_t)) {
        PyErr_SetString(PyExc_ValueError, "find: the arrays do not fit together");
        failed = 1;
    } else if (write_hashes(ids, &buffers[0], &buffers[1], rows) < 0) {
        failed = 1;
    } else {
        for (Py_ssize_t n = 0; n < count; n++) {
            int64_t slot = rows[n] & (size - 1);
            while (hashes[slot] != rows[n] && slots[slot] != EMPTY)
                slot = (slot + 1) & (size - 1);
            rows[n] = slots[slot];
        }
    }
    release(buffers, 3);
    Py_DECREF(ids);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* Return 1 if rows are distinct and in [0, limit), 0 if not, -1 with an exception. */
static int are_distinct(const int64_t *rows, Py_ssize_t count, Py_ssize_t limit)
{
    int bits = 4;
    while (((Py_ssize_t)1 << bits) < 2 * count)
        bits++;
    /* Open addressing: a row is stored as row + 1, 0 is an empty slot. */
    uint32_t *seen = PyMem_Calloc((size_t)1 << bits, sizeof(uint32_t));
    if (seen == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const uint32_t last = ((uint32_t)1 << bits) - 1;
    int distinct = 1;
    for (Py_ssize_t n = 0; n < count && distinct; n++) {
        const uint32_t entry = (uint32_t)rows[n] + 1;
        uint32_t slot = (entry * 2654435761u) >> (32 - bits); /* Knuth's multiplicative hash */
        distinct = rows[n] >= 0 && rows[n] < limit;
        while (distinct && seen[slot]) {
            distinct = seen[slot] != entry;
            slot = (slot + 1) & last;
        }
        seen[slot] = entry;
    }
    PyMem_Free(seen);
    return distinct;
}

static PyObject *copy_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    static const int flags[] = {PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_WRITABLE};
    Py_buffer buffers[3];
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "copy_rows: 3 arguments are needed");
        return NULL;
    }
    if (get(args, buffers, flags, 3) < 0)
        return NULL;
    const char *table = buffers[0].buf;
    const int64_t *rows = buffers[1].buf;
    char *out = buffers[2].buf;
    const Py_ssize_t limit = buffers[0].ndim ? buffers[0].shape[0] : 0;
    const Py_ssize_t size = limit ? buffers[0].len / limit : 0;
    const Py_ssize_t count = buffers[1].len / (Py_ssize_t)sizeof(int64_t);
    int copied;
    if (buffers[2].len < count * size || limit > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "copy_rows: the arrays do not fit together");
        copied = -1;
    } else {
        copied = are_distinct(rows, count, limit);
    }
    if (copied == 1) {
        for (Py_ssize_t n = 0; n < count; n++) {
            if (n + AHEAD < count)
                for (Py_ssize_t byte = 0; byte < size; byte += 64)
                    FETCH(table + rows[n + AHEAD] * size + byte);
            memcpy(out + n * size, table + rows[n] * size, size);
        }
        memset(out + count * size, 0, buffers[2].len - count * size);
    }
    release(buffers, 3);
    if (copied < 0)
        return NULL;
    return PyBool_FromLong(copied);
}

static PyMethodDef methods[] = {
    {"find", (PyCFunction)(void (*)(void))find, METH_FASTCALL, NULL},
    {"copy_rows", (PyCFunction)(void (*)(void))copy_rows, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_lookup", .m_methods = methods,
};

PyMODINIT_FUNC PyInit__lookup(void)
{
    return PyModuleDef_Init(&definition);
}
