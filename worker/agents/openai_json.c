/* openai_json: read strictly first, and mended when that fails, so that the common case
 * costs one pass. */
#include "worker/agents/openai_json.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/jsonscan.h"
#include "common/utf8.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECT_DEPTH_MAX = 24 /* inside an event, which has its own limit */ };

/* The code unit of `\uXXXX` at `s`, or -1. */
static int unit_at(const char *s, size_t len)
{
    char hex[5] = {0};

    if (len < 6 || s[0] != '\\' || s[1] != 'u')
        return -1;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)s[2 + i]))
            return -1;
        hex[i] = s[2 + i];
    }
    return (int)strtol(hex, NULL, 16);
}

/* Halves of surrogate pairs that stand alone. */
static void mend(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        int unit = unit_at(s + i, len - i);
        size_t n = s[i] == '\\' && i + 1 < len ? 2 : 1;
        if (unit >= 0) {
            int low = unit_at(s + i + 6, len - i - 6);
            bool pair = unit >= 0xD800 && unit < 0xDC00 && low >= 0xDC00 && low < 0xE000;
            if (!pair && unit >= 0xD800 && unit < 0xE000) {
                buf_str(out, "\\ufffd");
                i += 6;
                continue;
            }
            n = pair ? 12 : 6;
        }
        buf_add(out, s + i, n);
        i += n;
    }
}

static json_t *load(const char *text, size_t len, enum json_trouble *ret)
{
    return json_read(text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, ret);
}

static json_t *load_mended(const char *text, size_t len, enum json_trouble *ret)
{
    struct buf clean, mended;
    json_t *root = NULL;

    buf_init(&clean);
    buf_init(&mended);
    utf8_repair(&clean, text, len);
    if (clean.len > 0)
        mend(&mended, clean.data, clean.len);
    *ret = JSON_NO_MEMORY;
    if (mended.len > 0 && !clean.failed && !mended.failed)
        root = load(mended.data, mended.len, ret);
    buf_fini(&clean);
    buf_fini(&mended);
    return root;
}

json_t *openai_json(const char *text, size_t len, enum json_trouble *ret)
{
    enum json_trouble trouble = JSON_MALFORMED;
    json_t *root = load(text, len, &trouble);

    if (trouble == JSON_MALFORMED && len > 0)
        root = load_mended(text, len, &trouble);
    if (ret)
        *ret = trouble;
    return root;
}

int64_t openai_number(const json_t *value)
{
    double real = json_real_value(value);
    const char *text = json_string_value(value);
    char *end;
    long long n = -1;

    if (json_is_integer(value))
        n = json_integer_value(value);
    else if (json_is_real(value) && real >= 0 && real < 9e15)
        n = (long long)real;
    else if (text && isdigit((unsigned char)*text) && strlen(text) < 18)
        n = (n = strtoll(text, &end, 10), *end ? -1 : n);
    return n >= 0 && n < 9000000000000000 ? n : -1;
}

bool openai_json_is_object(const char *text, size_t len)
{
    struct jsonscan scan;
    struct jsonscan_piece piece;
    json_t *value;
    bool is_object;

    jsonscan_init(&scan, text, len, OBJECT_DEPTH_MAX);
    if (len < 2 || jsonscan_value(&scan, &piece) != JSONSCAN_OK || scan.at != scan.end)
        return false;
    /* without NUL and halves of surrogates, which Postgres would not take */
    value = json_read(text, len, JSON_REJECT_DUPLICATES, NULL);
    is_object = json_is_object(value);
    json_decref(value);
    return is_object;
}
