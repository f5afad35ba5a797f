/* Keys of the RFCs' examples, and tokens made by hand. */
#ifndef THREADCAST_TEST_TOKENS_H
#define THREADCAST_TEST_TOKENS_H

#include "bridge/base64url.h"
#include "bridge/keys.h"
#include "bridge/keyset.h"
#include "common/buf.h"

#include <openssl/evp.h>
#include <string.h>

#define TEST_SECRET "0123456789abcdef0123456789abcdef-threadcast"
#define TEST_NOW_MS 1700000000000ll /* everything below is about this moment */

/* RFC 7515 A.2, A.3 and RFC 8037 A.2 */
#define TEST_RSA_PEM                                                                     \
    "-----BEGIN PUBLIC KEY-----\n"                                                       \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"                 \
    "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"                 \
    "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"                 \
    "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"                 \
    "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"                 \
    "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"                 \
    "oQIDAQAB\n"                                                                         \
    "-----END PUBLIC KEY-----\n"
#define TEST_EC_PEM                                                                      \
    "-----BEGIN PUBLIC KEY-----\n"                                                       \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"                 \
    "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"                     \
    "-----END PUBLIC KEY-----\n"
#define TEST_ED_PEM                                                                      \
    "-----BEGIN PUBLIC KEY-----\n"                                                       \
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"                     \
    "-----END PUBLIC KEY-----\n"

#define HS256_HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
/* an hour, an hour ago to come */
#define GOOD_CLAIMS "{\"sub\":\"ann\",\"iat\":1699999000,\"exp\":1700003600}"

/* A set of this key alone. Shares it. */
static inline struct keyset *keyset_of(struct key *key)
{
    struct keyset *set = keyset_new();

    if (set && key && keyset_add_own(set, key))
        return set;
    keyset_unref(set);
    return NULL;
}

/* header.payload.HMAC, whatever the header says. Appends to out. */
static inline void token_add(struct buf *out, const struct key *key, const char *header,
                             size_t header_len, const char *payload, size_t payload_len)
{
    unsigned char mac[KEY_MAC_SIZE];
    size_t start = out->len;

    base64url_encode(out, header, header_len);
    buf_char(out, '.');
    base64url_encode(out, payload, payload_len);
    if (!key_mac(key, out->data + start, out->len - start, mac))
        out->failed = true;
    buf_char(out, '.');
    base64url_encode(out, mac, sizeof(mac));
}

static inline void token_text(struct buf *out, const struct key *key, const char *header,
                              const char *payload)
{
    token_add(out, key, header, strlen(header), payload, strlen(payload));
}

#endif
