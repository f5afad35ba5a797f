/* fuzz_header: values that a stranger writes into headers and configuration lists. The
 * first byte says what the rest is:
 *   F X-Forwarded-For: trusted list LF value    P a list of proxies LF an address
 *   A Authorization    K Idempotency-Key    C Cookie: another header's value LF a token
 *   G ?limit=&before= of a page    I an address */
#include "fuzz.h"

#include "bridge/address.h"
#include "bridge/ask.h"
#include "bridge/auth.h"
#include "bridge/cookie.h"
#include "bridge/request.h"

#include <arpa/inet.h>
#include <strings.h>

static bool is_address(const char *text)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Only what stands in the header, or what was there before, comes out; and somebody whom
 * we do not trust moves nothing further. */
static void check_forwarded(struct fuzz_input *in)
{
    char *trusted = fuzz_copy(fuzz_until(in, '\n')), out[ADDRESS_SIZE] = "192.0.2.1";
    struct span list = {(const char *)in->at, in->len};
    char *value = fuzz_copy(list);
    bool on = address_forwarded(trusted, (struct span){value, list.len}, out);

    MUST(strlen(out) < ADDRESS_SIZE && is_address(out));
    MUST(strcmp(out, "192.0.2.1") == 0 || memmem(value, list.len, out, strlen(out)));
    if (on && list.len && strcmp(out, "192.0.2.1") != 0)
        MUST(address_listed(trusted, out));
    free(trusted);
    free(value);
}

static void check_list(struct fuzz_input *in)
{
    char *list = fuzz_copy(fuzz_until(in, '\n'));
    char *host = fuzz_copy((struct span){(const char *)in->at, in->len});
    struct buf err;

    buf_init(&err);
    if (!address_list_valid(list, &err))
        MUST(err.len > 0);
    if (address_listed(list, host))
        MUST(*list && *host);
    MUST(!address_listed(NULL, host) && !address_listed("", host));
    buf_fini(&err);
    free(list);
    free(host);
}

static void check_address(struct span s)
{
    char *text = fuzz_copy(s), out[ADDRESS_SIZE], again[ADDRESS_SIZE];
    struct sockaddr_storage addr, same;
    socklen_t len, same_len;
    struct buf err;

    buf_init(&err);
    if (address_parse(text, &addr, &len, &err)) {
        address_format((struct sockaddr *)&addr, len, out);
        MUST(address_parse(out, &same, &same_len, &err) || strstr(out, "."));
        address_host((struct sockaddr *)&addr, len, again);
        MUST(is_address(again));
    } else {
        MUST(err.len > 0);
    }
    buf_fini(&err);
    free(text);
}

static void set_header(struct request *r, const char *name, struct span value)
{
    r->http.headers[r->http.header_count++] =
        (struct http_header){{name, strlen(name)}, value};
}

static void check_bearer(struct span value)
{
    struct request r = {0};
    struct span token = {NULL, 0};

    set_header(&r, "Authorization", value);
    int found = auth_bearer(&r, &token);
    bool scheme = value.len > 7 && strncasecmp(value.at, "Bearer ", 7) == 0;
    MUST(found == 1 || found == -1);
    MUST(found == -1 || scheme);
    if (found == 1) {
        MUST(token.len > 0 && token.at[0] != ' ');
        MUST(token.at + token.len == value.at + value.len);
    }
}

static void check_key(struct span value)
{
    struct request r = {0};
    char out[KEY_MAX + 1];
    bool good = value.len >= 1 && value.len <= KEY_MAX;

    for (size_t i = 0; i < value.len; i++)
        good = good && value.at[i] > 0x20 && value.at[i] < 0x7f;
    set_header(&r, "Idempotency-Key", value);
    buf_init(&r.extra);
    MUST(ask_key(&r, out) == (good ? 1 : -1) && r.answered == !good);
    MUST(strlen(out) == (good ? value.len : 0) &&
         memcmp(out, value.at, strlen(out)) == 0);
}

/* What we set comes back from among any other cookies that are no session's. */
static void check_cookie(struct fuzz_input *in)
{
    struct span other = fuzz_until(in, '\n'), token = {(const char *)in->at, in->len};
    struct request r = {0};
    struct buf set, sent;
    struct span found;

    for (size_t i = 0; i < token.len; i++) {
        unsigned char c = (unsigned char)token.at[i];
        if (c <= ' ' || c >= 0x7f || strchr(";,\"\\", c))
            return;
    }
    buf_init(&set);
    buf_init(&sent);
    cookie_set(&set, token.at, token.len, 60, true, "/");
    buf_add(&sent, other.at, other.len);
    set_header(&r, "Cookie", (struct span){sent.data ? sent.data : "", sent.len});
    bool shadowed = cookie_session(&r.http).at != NULL;
    buf_str(&sent, "; ");
    buf_add(&sent, set.data, (size_t)(strchr(set.data, ';') - set.data));
    r.http.headers[0].value = (struct span){sent.data, sent.len};
    found = cookie_session(&r.http);
    MUST(found.at);
    MUST(shadowed || (found.len == token.len && !memcmp(found.at, token.at, found.len)));
    buf_fini(&set);
    buf_fini(&sent);
}

static void check_page(struct span query)
{
    struct request r = {0};
    char before[BEFORE_SIZE];
    int limit = 0;

    buf_init(&r.extra);
    r.http.query = query;
    bool ok = ask_page(&r, &limit, before);
    MUST(ok != r.answered);
    if (ok)
        MUST(limit >= 1 && limit <= 200 && strlen(before) < BEFORE_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    char kind = (char)fuzz_byte(&in);
    struct span rest = {(const char *)in.at, in.len};
    char *copy = malloc(rest.len ? rest.len : 1); /* its own end, for the sanitizer */

    MUST(copy);
    if (rest.len)
        memcpy(copy, rest.at, rest.len);
    rest.at = copy;
    in.at = (const uint8_t *)copy;
    if (kind == 'F')
        check_forwarded(&in);
    else if (kind == 'P')
        check_list(&in);
    else if (kind == 'I')
        check_address(rest);
    else if (kind == 'A')
        check_bearer(rest);
    else if (kind == 'K')
        check_key(rest);
    else if (kind == 'C')
        check_cookie(&in);
    else if (kind == 'G')
        check_page(rest);
    free(copy);
    return 0;
}
