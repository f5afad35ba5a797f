/* label: see label.h. Only a UUID in lower case is one here: the others could not be
 * given back as they came. */
#include "bridge/label.h"

#include <stdlib.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

static bool is_dash(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

static bool pack(const char *text, unsigned char out[16])
{
    size_t n = 0;
    if (!uuid_valid(text, strlen(text)))
        return false;
    for (size_t i = 0; i < UUID_SIZE - 1; i++) {
        const char *digit = is_dash(i) ? NULL : strchr(digits, text[i]);
        if (is_dash(i))
            continue;
        if (!digit)
            return false;
        unsigned char value = (unsigned char)(digit - digits);
        out[n / 2] = (unsigned char)(n % 2 ? out[n / 2] | value : value << 4);
        n++;
    }
    return true;
}

uint8_t label_set(union label *ret, const char *text)
{
    if (!text || !*text)
        return LABEL_NONE;
    if (pack(text, ret->uuid))
        return LABEL_UUID;
    ret->text = strdup(text);
    return ret->text ? LABEL_TEXT : LABEL_NONE;
}

const char *label_text(const union label *label, uint8_t kind, char out[UUID_SIZE])
{
    char *at = out;
    if (kind != LABEL_UUID)
        return kind == LABEL_TEXT ? label->text : NULL;
    for (size_t i = 0; i < sizeof(label->uuid); i++) {
        if (is_dash((size_t)(at - out)))
            *at++ = '-';
        *at++ = digits[label->uuid[i] >> 4];
        *at++ = digits[label->uuid[i] & 15];
    }
    *at = '\0';
    return out;
}

void label_fini(union label *label, uint8_t kind)
{
    if (kind == LABEL_TEXT)
        free(label->text);
}
