/* Used by redis.c between the connected socket and the handshake. Never goes on without
 * a certificate that names the host. */
#include "common/redis_tls.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

SSL_CTX *redis_tls_context(const char *ca_file, char *why, size_t why_size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int ok = 0;

    ERR_clear_error();
    if (!context)
        goto fail;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    ok = ca_file ? SSL_CTX_load_verify_locations(context, ca_file, NULL)
                 : SSL_CTX_set_default_verify_paths(context);
    if (ok == 1)
        return context;
fail:
    snprintf(why, why_size, "tls: the CA certificates cannot be loaded from %s",
             ca_file ? ca_file : "the system's store");
    ERR_clear_error();
    SSL_CTX_free(context);
    return NULL;
}

SSL *redis_tls_session(SSL_CTX *context, const char *host)
{
    struct in6_addr ip;
    SSL *ssl = SSL_new(context);
    int ok;

    if (!ssl)
        return NULL;
    if (inet_pton(AF_INET, host, &ip) == 1 || inet_pton(AF_INET6, host, &ip) == 1) {
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    } else {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
    }
    if (ok == 1)
        return ssl;
    SSL_free(ssl);
    return NULL;
}

void redis_tls_why(struct bufferevent *bev, char *why, size_t why_size)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);
    long verify = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    unsigned long error = bufferevent_get_openssl_error(bev);
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    if (verify != X509_V_OK)
        reason = X509_verify_cert_error_string(verify);
    snprintf(why, why_size, "tls: %s", reason ? reason : "the connection failed");
    ERR_clear_error();
}
