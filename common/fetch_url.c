/* fetch_url: is this an address that fetch may be given? Looked at once, when options are
 * read, so that no question ever fails for how it is written. */
#include "common/fetch.h"

#include <curl/curl.h>
#include <string.h>

static bool url_has(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool found = curl_url_get(u, part, &text, 0) == CURLUE_OK;

    curl_free(text);
    return found;
}

static const char *url_fault(CURLU *u, const char *url)
{
    size_t scheme = strncmp(url, "https://", 8) == 0  ? 8
                    : strncmp(url, "http://", 7) == 0 ? 7
                                                      : 0;

    if (!scheme)
        return "must begin with http:// or https://";
    if (url[scheme] == '/' || /* curl would look for the host behind it */
        curl_url_set(u, CURLUPART_URL, url, 0) != CURLUE_OK)
        return "is not a URL";
    if (url_has(u, CURLUPART_USER) || url_has(u, CURLUPART_PASSWORD))
        return "must not hold a user or password";
    return url_has(u, CURLUPART_FRAGMENT) ? "must not have a #fragment" : NULL;
}

bool fetch_url_check(const char *url, struct buf *err)
{
    CURLU *u = curl_url();
    const char *fault = u ? url_fault(u, url) : "cannot be read: out of memory";

    curl_url_cleanup(u);
    if (fault)
        buf_str(err, fault);
    return !fault;
}
