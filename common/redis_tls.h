/* redis_tls: the OpenSSL side of rediss://. Internal to redis*.c. */
#ifndef THREADCAST_REDIS_TLS_H
#define THREADCAST_REDIS_TLS_H

#include <openssl/ssl.h>
#include <stddef.h>

struct bufferevent;

/* A client context: TLS 1.2 or newer, the peer must prove itself. ca_file NULL: the
 * system's store. Returns new, or NULL and words in `why`. */
SSL_CTX *redis_tls_context(const char *ca_file, char *why, size_t why_size);
/* One session that accepts `host` (a name or an address) only. Returns new or NULL. */
SSL *redis_tls_session(SSL_CTX *context, const char *host);
/* Why the handshake or the stream failed, in words. */
void redis_tls_why(struct bufferevent *bev, char *why, size_t why_size);

#endif
