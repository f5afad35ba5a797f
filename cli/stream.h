/* stream: what came of a probe (docs/PROTOCOL.md, "The probe"), and when. Pure. */
#ifndef THREADCAST_CLI_STREAM_H
#define THREADCAST_CLI_STREAM_H

#include "cli/transfer.h"

#include <jansson.h>

#define STREAM_PIECES_MAX 100
#define STREAM_KEEPALIVES_MAX 100

struct stream_piece {
    int64_t sent_ms; /* by the bridge, since its stream began */
    int64_t came_us; /* here, since we asked */
};

struct stream {
    bool greeted;  /* `:threadcast` came: some bridge's stream */
    json_t *hello; /* NULL: it did not come */
    int64_t hello_us;
    struct stream_piece pieces[STREAM_PIECES_MAX];
    size_t count;
    int64_t keepalives_us[STREAM_KEEPALIVES_MAX];
    size_t keepalives;
    bool ended; /* the probe's own end came */
    int64_t ended_us;
    char busy[128]; /* why the bridge refuses for now; "": it does not */
    bool bye;       /* the bridge goes away */
};

/* Reads a body of what was asked for as a stream, whatever it is. */
void stream_read(const struct answer *a, struct stream *ret);
void stream_fini(struct stream *s);

/* What `hello` says. */
const char *stream_hello_text(const struct stream *s, const char *name); /* or NULL */
int64_t stream_hello_number(const struct stream *s, const char *name);   /* or 0 */
bool stream_hello_header(const struct stream *s, const char *name); /* came through? */

#endif
