/* static: see static.h. Names come from the directory and one below it, vendor/, so no
 * request can reach another file. What is served is what was there at the start. */
#include "bridge/static.h"

#include "bridge/bridge.h"
#include "bridge/request.h"
#include "bridge/routes.h"
#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 100
#define FILE_BYTES_MAX (8u * 1024 * 1024)

struct file {
    char *name;
    const char *type;
    struct buf data;
    char etag[35]; /* quoted: 32 hex digits of SHA-256 */
};

struct statics {
    struct file files[FILES_MAX];
    size_t count;
};

static const char policy[] = "default-src 'self'; base-uri 'none'; frame-ancestors "
                             "'none'; form-action 'none'";

static const char *type_of(const char *name)
{
    static const char *const types[][2] = {
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".mjs", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".json", "application/json"},
        {".webmanifest", "application/manifest+json"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".ico", "image/x-icon"},
        {".woff2", "font/woff2"},
        {".txt", "text/plain; charset=utf-8"},
    };
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot, types[i][0]) == 0)
            return types[i][1];
    return NULL;
}

/* --- at start ----------------------------------------------------------------------- */

static bool file_read(const char *path, struct buf *out, struct buf *err)
{
    FILE *f = fopen(path, "re");
    char bytes[16384];
    size_t n;
    bool ok;

    if (!f) {
        buf_printf(err, "cannot read %s: %s", path, strerror(errno));
        return false;
    }
    while ((n = fread(bytes, 1, sizeof bytes, f)) > 0 && out->len <= FILE_BYTES_MAX)
        buf_add(out, bytes, n);
    ok = !ferror(f) && !out->failed && out->len <= FILE_BYTES_MAX;
    fclose(f);
    if (!ok)
        buf_printf(err, "cannot read %s: too large or broken", path);
    return ok;
}

static bool file_etag(struct file *f)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (!EVP_Digest(f->data.data ? f->data.data : "", f->data.len, digest, NULL,
                    EVP_sha256(), NULL))
        return false;
    for (int i = 0; i < 16; i++)
        snprintf(f->etag + 1 + 2 * i, 3, "%02x", digest[i]);
    f->etag[0] = f->etag[33] = '"';
    return true;
}

/* Takes a file when its name and kind are ones that are served; `under` comes before its
 * name in requests. false: `err`. */
static bool statics_add(struct statics *s, const char *dir, const char *under,
                        const char *name, struct buf *err)
{
    struct file *f = &s->files[s->count];
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s%s", dir, under, name);

    if (name[0] == '.' || !type_of(name) || !thread_id_valid(name, strlen(name)))
        return true;
    if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) || !S_ISREG(st.st_mode))
        return true;
    if (s->count == FILES_MAX) {
        buf_printf(err, "more than %d files in %s", FILES_MAX, dir);
        return false;
    }
    s->count++; /* from here on statics_free knows it */
    buf_init(&f->data);
    f->type = type_of(name);
    f->name = strdup(path + strlen(dir) + 1);
    if (!f->name || !file_read(path, &f->data, err) || !file_etag(f)) {
        if (err->len == 0)
            buf_str(err, "out of memory");
        return false;
    }
    return true;
}

/* All files of one directory. false: it cannot be read, or one of them. */
static bool statics_add_all(struct statics *s, const char *dir, const char *under,
                            struct buf *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s%s%s", dir, *under ? "/" : "", under);
    DIR *d = n > 0 && (size_t)n < sizeof path ? opendir(path) : NULL;
    struct dirent *entry;
    bool ok = d;

    while (ok && (entry = readdir(d)))
        ok = statics_add(s, dir, under, entry->d_name, err);
    if (d)
        closedir(d);
    else
        buf_printf(err, "cannot read %s: %s", path, strerror(errno));
    return ok;
}

static const struct file *statics_find(const struct statics *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

/* What a build has fetched (scripts/vendor) may be missing: then vendor/ is empty. */
static bool statics_add_vendor(struct statics *s, const char *dir, struct buf *err)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/vendor", dir);

    return n < 0 || (size_t)n >= sizeof path || access(path, F_OK) != 0 ||
           statics_add_all(s, dir, "vendor/", err);
}

struct statics *statics_load(const char *dir, const char *needed, struct buf *err)
{
    struct statics *s = calloc(1, sizeof *s);

    if (!s) {
        buf_str(err, "out of memory");
        return NULL;
    }
    if (!statics_add_all(s, dir, "", err) || !statics_add_vendor(s, dir, err))
        goto fail;
    if (!statics_find(s, needed)) {
        buf_printf(err, "there is no %s in %s", needed, dir);
        goto fail;
    }
    return s;

fail:
    statics_free(s);
    return NULL;
}

void statics_free(struct statics *s)
{
    for (size_t i = 0; s && i < s->count; i++) {
        free(s->files[i].name);
        buf_fini(&s->files[i].data);
    }
    free(s);
}

/* --- serving ------------------------------------------------------------------------ */

/* Is the file's tag in an If-None-Match list? `W/` does not matter here. */
static bool tag_matches(struct span list, const char *etag)
{
    size_t len = strlen(etag);

    if (list.len == 1 && *list.at == '*')
        return true;
    for (size_t i = 0; list.at && i + len <= list.len; i++)
        if (memcmp(list.at + i, etag, len) == 0)
            return true;
    return false;
}

static void reply_file(struct request *r, const struct file *f)
{
    request_header(r, "Cache-Control", "no-cache");
    request_header(r, "ETag", f->etag);
    if (tag_matches(http_header(&r->http, "if-none-match"), f->etag))
        request_reply(r, 304, NULL, NULL, 0);
    else
        request_reply(r, 200, f->type, f->data.data, f->data.len);
}

/* A file of the application, or that there is none. */
static void reply_app(struct request *r, const struct file *f)
{
    if (!f) {
        request_error(r, 404, "not_found", "There is nothing here.");
        return;
    }
    request_header(r, "Content-Security-Policy", policy);
    request_header(r, "Referrer-Policy", "no-referrer");
    reply_file(r, f);
}

void route_static(struct request *r)
{
    const char *name = r->param[0] ? r->param : "index.html";

    reply_app(r, statics_find(r->bridge->statics, name));
}

/* What the application has from others: app/vendor. */
void route_vendor(struct request *r)
{
    char name[sizeof "vendor/" + sizeof r->param];

    snprintf(name, sizeof name, "vendor/%s", r->param);
    reply_app(r, statics_find(r->bridge->statics, name));
}

/* Public code: pages of any origin may import it, those that isolate themselves, too. */
static void open_to_all(struct request *r)
{
    r->anyone = true;
    request_header(r, "Access-Control-Allow-Origin", "*");
    request_header(r, "Cross-Origin-Resource-Policy", "cross-origin");
}

void route_client(struct request *r)
{
    const struct statics *files = r->bridge->client_files;
    const struct file *f = files ? statics_find(files, r->param) : NULL;

    open_to_all(r);
    if (f)
        reply_file(r, f);
    else
        request_error(r, 404, "not_found", "There is nothing here.");
}

/* Where to import it from: its other files stand in client/, beside it. */
void route_client_entry(struct request *r)
{
    static char entry[] = "export * from './client/index.js';\n";
    static const struct file file = {.type = "text/javascript; charset=utf-8",
                                     .data = {.data = entry, .len = sizeof entry - 1},
                                     .etag = "\"client-entry-1\""};

    open_to_all(r);
    if (r->bridge->client_files)
        reply_file(r, &file);
    else
        request_error(r, 404, "not_found", "There is nothing here.");
}
