/* What an issuer publishes. The first byte says how much of it was known before (0: none,
 * else the whole of it: read a second time over itself). Whatever is taken is sound,
 * named as names are, within limits, and never symmetric. */
#include "bridge/jwks.h"

#include "bridge/keys.h"
#include "bridge/keyset.h"
#include "fuzz.h"

static void look_into(const struct keyset *set, const struct jwks_count *count)
{
    static const char *const algs[] = {"RS256", "ES256", "EdDSA"};
    const struct key *key;
    size_t seen = 0, pos;

    MUST(keyset_issued(set) == count->taken && count->taken <= KEYSET_ISSUED);
    MUST(!keyset_signer(set) && !keyset_own(set) && !keyset_ticket(set, 0));
    pos = 0;
    MUST(!keyset_find(set, "HS256", NULL, &pos));
    for (size_t i = 0; i < 3; i++) {
        for (pos = 0; (key = keyset_find(set, algs[i], NULL, &pos)); seen++) {
            MUST(!key_symmetric(key) && !strcmp(key_alg(key), algs[i]));
            MUST(!key_verify(key, "x", 1, (const unsigned char *)"", 0));
        }
    }
    MUST(seen <= 3 * KEYSET_UNNAMED_MAX && (seen > 0) == (count->taken > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    bool again = fuzz_byte(&in);
    char *text = fuzz_copy((struct span){(const char *)in.at, in.len});
    struct keyset *set = keyset_new(), *second = keyset_new();
    struct jwks_count count, same;
    struct buf err;

    buf_init(&err);
    MUST(set && second);
    if (jwks_read(text, in.len, NULL, set, &count, &err)) {
        look_into(set, &count);
        if (again) {
            MUST(jwks_read(text, in.len, set, second, &same, &err));
            MUST(same.taken == count.taken && same.skipped == count.skipped);
            look_into(second, &same);
        }
    } else {
        MUST(err.len > 0);
    }
    buf_fini(&err);
    keyset_unref(set);
    keyset_unref(second);
    free(text);
    return 0;
}
