/* fuzz_conf: values of options and what is made from them. The first byte says what the
 * rest is: b a line with the name of an option of the bridge, then its value; R a URL of
 * Redis; D one of Postgres; O a list of origins; S an option's name for `did you mean`.
 * Wrong values leave the field as it was and say why. */
#include "fuzz.h"

#include "bridge/conf.h"
#include "bridge/origin.h"
#include "bridge/site.h"
#include "common/conf_value.h"
#include "common/nearest.h"
#include "common/pg_internal.h"

static const struct conf_option *option_of(const struct conf_spec *spec, struct span name)
{
    for (size_t i = 0; i < spec->option_count; i++)
        if (strlen(spec->options[i].name) == name.len &&
            memcmp(spec->options[i].name, name.at, name.len) == 0)
            return &spec->options[i];
    return NULL;
}

/* The whole struct as it must be after a refusal. */
static void check_option(const struct conf_spec *spec, void *conf, size_t conf_size,
                         struct fuzz_input *in)
{
    const struct conf_option *o = option_of(spec, fuzz_until(in, '\n'));
    char *value = fuzz_copy((struct span){(const char *)in->at, in->len});
    char *before = malloc(conf_size);
    struct buf err;

    MUST(before);
    buf_init(&err);
    memset(conf, 0, conf_size);
    memcpy(before, conf, conf_size);
    if (o && !conf_value_set(o, conf, value, &err)) {
        MUST(err.len > 0 && memcmp(before, conf, conf_size) == 0);
    } else if (o) {
        const char *field = (const char *)conf + o->offset;
        if (o->kind == CONF_INT) {
            int64_t n = *(const int64_t *)(const void *)field;
            MUST(n >= o->min && n <= o->max && n == strtoll(value, NULL, 10));
        } else if (o->kind == CONF_STR || o->kind == CONF_SECRET) {
            MUST(strcmp(*(char *const *)(const void *)field, value) == 0);
        }
        conf_value_free(o, conf);
    }
    buf_fini(&err);
    free(before);
    free(value);
}

static void check_sentinels(const struct redis_sentinels *all)
{
    MUST(all->count > 0 && all->count <= REDIS_SENTINELS_MAX && *all->master);
    for (size_t i = 0; i < all->count; i++) {
        const struct redis_url *at = &all->at[i];
        MUST(at->host && *at->host && at->port > 0 && at->port < 65536);
        MUST(!at->sentinels && !at->unix_path && at->db == 0);
        MUST(!at->user || at->password || all->password_file);
        MUST(!at->password || !all->password_file);
    }
}

static void check_redis_url(const char *text)
{
    struct redis_url url;
    struct buf err;

    buf_init(&err);
    if (redis_url_parse(text, &url, &err)) {
        MUST(!!url.host + !!url.unix_path + !!url.sentinels == 1);
        MUST(!url.host || (url.port > 0 && url.port < 65536 && *url.host));
        MUST(!url.unix_path || url.unix_path[0] == '/');
        MUST(url.db >= 0);
        if (url.sentinels)
            check_sentinels(url.sentinels);
        redis_url_fini(&url);
    } else {
        MUST(err.len > 0);
    }
    buf_fini(&err);
}

static void check_pg_url(const char *text)
{
    struct pg_options o = {.url = text, .schema = "threadcast", .name = "fuzz"};
    struct pg_conninfo c = {0};
    struct buf err;

    buf_init(&err);
    if (pg_conninfo_make(&c, &o, &err)) {
        for (size_t i = 0; i < c.count; i++)
            MUST(c.keywords[i] && c.values[i]);
        MUST(!c.keywords[c.count]);
    } else {
        MUST(err.len > 0 || c.failed);
    }
    pg_conninfo_fini(&c);
    buf_fini(&err);
}

static void check_origins(const char *list)
{
    struct span item;
    struct site site;
    struct buf err;
    size_t pos = 0, items = 0;

    buf_init(&err);
    bool ok = origin_list_valid(list, &err);
    MUST(ok || err.len > 0);
    while (site_list_next(list, &pos, &item)) {
        items++;
        MUST(item.len > 0 && item.at >= list &&
             item.at + item.len <= list + strlen(list));
        MUST(!memchr(item.at, ',', item.len));
        if (ok)
            MUST(site_parse(item, &site) && *site.host);
    }
    MUST(items <= strlen(list));
    buf_fini(&err);
}

static void check_nearest(const char *typed)
{
    struct nearest n = {.name = typed};

    for (size_t i = 0; i < bridge_conf_spec.option_count; i++)
        nearest_offer(&n, bridge_conf_spec.options[i].name);
    if (n.best)
        MUST(option_of(&bridge_conf_spec, (struct span){n.best, strlen(n.best)}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bridge_conf bridge;
    struct fuzz_input in = {data, size};
    char kind = (char)fuzz_byte(&in);
    char *text = fuzz_copy((struct span){(const char *)in.at, in.len});

    if (kind == 'b')
        check_option(&bridge_conf_spec, &bridge, sizeof(bridge), &in);
    else if (kind == 'R')
        check_redis_url(text);
    else if (kind == 'D')
        check_pg_url(text);
    else if (kind == 'O')
        check_origins(text);
    else if (kind == 'S' && strlen(text) < 96)
        check_nearest(text);
    free(text);
    return 0;
}
