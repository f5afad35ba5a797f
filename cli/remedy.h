/* remedy: what to change, in the words of each product's own configuration. The same
 * lines stand in docs/proxies, where tests run with them. */
#ifndef THREADCAST_CLI_REMEDY_H
#define THREADCAST_CLI_REMEDY_H

#include "cli/diagnose.h"

enum product {
    PRODUCT_NONE, /* no proxy said its name */
    PRODUCT_NGINX,
    PRODUCT_HAPROXY,
    PRODUCT_CADDY,
    PRODUCT_APACHE,
    PRODUCT_CLOUDFLARE,
    PRODUCT_ALB,
    PRODUCT_OTHER, /* one that we have no lines for */
    PRODUCT_BRIDGE,
    PRODUCT_HERE, /* where the doctor runs, or the page's address */
    PRODUCTS,
};

const char *product_name(enum product p);

/* Who stands in front, by what the answer's headers say; what they say is put into
 * `word`. HAProxy and ALB say nothing. */
enum product product_of(const struct answer *a, char *word, size_t size);

/* The lines for a finding at one product, each ending in a newline, appended to `out`.
 * false: there are none. */
bool remedy_lines(const struct finding *f, enum product p, struct buf *out);

#endif
