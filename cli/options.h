/* options: what the command line of `threadcast doctor` says. */
#ifndef THREADCAST_CLI_OPTIONS_H
#define THREADCAST_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_HEADERS_MAX 16

struct options {
    const char *url;
    int64_t idle_ms;          /* -1: what the bridge's keepalives ask for; 0: not */
    int64_t events, every_ms; /* of the probe that the pace is measured by */
    int64_t streams;          /* at once */
    int64_t timeout_ms;       /* to connect, and for what is late */
    const char *headers[OPTIONS_HEADERS_MAX]; /* "Name: value", for every request */
    size_t header_count;
    const char *ca_file;
    bool insecure, json, all;
    char *token; /* owned; NULL: none */
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_BAD };

/* argv begins behind `doctor`. OPTIONS_DONE: help was printed. OPTIONS_BAD: the reason is
 * on stderr. options_fini in every case. */
enum options_result options_read(int argc, char **argv, struct options *ret);
void options_fini(struct options *o);

#endif
