#include "lib/redis-tls.h"

#include <hiredis/sds.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/openssl-load.h"

#define RECORD_MAX 16384 /* bytes of one record; a read gives no more */

struct redis_tls {
        SSL *ssl;
        short read_events; /* what the handshake or the next read waits for */
        short write_events;
        /* How the last of them failed that did: */
        int error;          /* SSL_ERROR_*; SSL_ERROR_NONE: out of memory */
        int error_number;   /* errno of SSL_ERROR_SYSCALL; 0: the end of the stream */
        unsigned long code; /* of SSL_ERROR_SSL */
};

static void fail(struct redis *redis, enum redis_trouble trouble, const char *format, ...)
        _printf_(3, 4);

static void fail(struct redis *redis, enum redis_trouble trouble, const char *format, ...)
{
        _cleanup_free_ char *where = redis_url_to_text(&redis->machines->url), *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        redis->trouble = trouble;
        snprintf(redis->why, sizeof(redis->why), "cannot reach Redis at %s: %s", where ?: "?",
                 text ?: "out of memory");
}

/* Setting up */

static int trust(struct redis *redis, SSL_CTX *context)
{
        const char *file = redis->machines->ca_file;

        if (!file && sym_SSL_CTX_set_default_verify_paths(context) == 1)
                return 0;
        if (file && sym_SSL_CTX_load_verify_locations(context, file, NULL) == 1)
                return 0;
        if (!file)
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "the system's certificate authorities cannot be looked up; name one with "
                     "ca-file in pppctl.conf(5), section [machines]");
        else
                fail(redis, REDIS_TROUBLE_UNUSABLE, "the ca-file %s cannot be used: %s", file,
                     access(file, R_OK) < 0 ? strerrordesc_np(errno)
                                            : "there is no certificate in PEM form in it");
        return -EKEYREJECTED;
}

/* Made for each connection, so that a renewed ca-file is used. */
static SSL_CTX *context_new(struct redis *redis)
{
        SSL_CTX *context = sym_SSL_CTX_new(sym_TLS_client_method());

        if (!context) {
                fail(redis, REDIS_TROUBLE_UNREACHABLE,
                     "OpenSSL does not start up: is there memory left, is its configuration "
                     "sound?");
                return NULL;
        }
        /*
         * SSL_CTX_set_min_proto_version() and SSL_CTX_set_mode() are macros. Queued data may move,
         * and grow, between two attempts to send it.
         */
        sym_SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
        sym_SSL_CTX_ctrl(context, SSL_CTRL_MODE,
                         SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
        sym_SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
        sym_SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
        if (trust(redis, context) >= 0)
                return context;
        sym_SSL_CTX_free(context);
        return NULL;
}

/* Sets the name that the certificate has to have. */
static bool expect(SSL *ssl, const char *host)
{
        X509_VERIFY_PARAM *param = sym_SSL_get0_param(ssl);

        /*
         * The subject's common name counts for nothing, nor do wildcards within a label (RFC 9525).
         */
        sym_X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                                           X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        /* Accepts an address and nothing else. No server name is sent for an address. */
        if (sym_X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1)
                return true;
        return sym_X509_VERIFY_PARAM_set1_host(param, host, strlen(host)) == 1 &&
               sym_SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                            (void *)(uintptr_t)host) == 1;
}

static SSL *ssl_new(struct redis *redis)
{
        const char *host = redis->machines->url.host;
        SSL_CTX *context = context_new(redis);
        SSL *ssl;

        if (!context)
                return NULL;
        ssl = sym_SSL_new(context);
        /* A connection keeps the parts of it that it needs. */
        sym_SSL_CTX_free(context);
        if (!ssl || sym_SSL_set_fd(ssl, redis->context->fd) != 1) {
                fail(redis, REDIS_TROUBLE_UNREACHABLE, "out of memory");
        } else if (!expect(ssl, host)) {
                fail(redis, REDIS_TROUBLE_UNUSABLE, "OpenSSL takes \"%s\" for no name of a host",
                     host);
        } else {
                sym_SSL_set_connect_state(ssl);
                return ssl;
        }
        sym_SSL_free(ssl);
        return NULL;
}

int redis_tls_open(struct redis *redis)
{
        _cleanup_fault_ struct fault fault = FAULT_NULL;

        if (openssl_load(&fault) < 0) {
                fail(redis, REDIS_TROUBLE_UNUSABLE, "%s; %s", fault.why, fault.advice);
                return -ENOPKG;
        }
        redis->tls = malloc(sizeof(*redis->tls));
        if (!redis->tls) {
                fail(redis, REDIS_TROUBLE_UNREACHABLE, "out of memory");
                return -ENOMEM;
        }
        *redis->tls = (struct redis_tls){ .read_events = POLLIN, .write_events = POLLOUT };
        redis->tls->ssl = ssl_new(redis);
        if (redis->tls->ssl)
                return 0;
        redis_tls_close(redis);
        return -EPROTO;
}

void redis_tls_close(struct redis *redis)
{
        if (!redis->tls)
                return;
        sym_SSL_free(redis->tls->ssl);
        free(redis->tls);
        redis->tls = NULL;
}

/* At work */

/*
 * The outcome of an operation that returned @n <= 0: 0 when it waits, for the events that *events
 * then has.
 */
static int settle(struct redis_tls *tls, int n, short *events)
{
        int error_number = errno, error = sym_SSL_get_error(tls->ssl, n);

        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
                *events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
                return 0;
        }
        /* The server's last words take precedence over the error that nothing could be sent
         * afterwards. */
        if (error == SSL_ERROR_SSL || tls->error == SSL_ERROR_NONE) {
                tls->error = error;
                tls->error_number = error_number;
                tls->code = sym_ERR_peek_error();
        }
        return -ECONNRESET;
}

int redis_tls_handshake(struct redis *redis)
{
        struct redis_tls *tls = redis->tls;
        int n;

        sym_ERR_clear_error();
        errno = 0;
        n = sym_SSL_do_handshake(tls->ssl);
        if (n <= 0)
                return settle(tls, n, &tls->read_events);
        tls->read_events = POLLIN;
        return 1;
}

int redis_tls_read(struct redis *redis)
{
        struct redis_tls *tls = redis->tls;
        char buffer[RECORD_MAX];
        int n;

        do {
                sym_ERR_clear_error();
                errno = 0;
                n = sym_SSL_read(tls->ssl, buffer, sizeof(buffer));
                if (n <= 0)
                        return settle(tls, n, &tls->read_events);
                tls->read_events = POLLIN;
                if (redisReaderFeed(redis->context->reader, buffer, (size_t)n) != REDIS_OK)
                        return -ENOMEM;
        } while (sym_SSL_has_pending(tls->ssl));
        return 0;
}

int redis_tls_write(struct redis *redis)
{
        struct redis_tls *tls = redis->tls;
        size_t size = redis_unsent(redis), sent = 0;
        int n = 1, r = 0;

        /* A record at a time. */
        while (sent < size && n > 0) {
                sym_ERR_clear_error();
                errno = 0;
                n = sym_SSL_write(tls->ssl, redis->context->obuf + sent,
                                  (int)MIN(size - sent, (size_t)INT_MAX));
                if (n > 0)
                        sent += (size_t)n;
                else
                        r = settle(tls, n, &tls->write_events);
        }
        if (n > 0)
                tls->write_events = POLLOUT;
        if (sent > 0)
                sdsrange(redis->context->obuf, (ssize_t)sent, -1);
        /* The server may have said why before it closed the connection. */
        if (r < 0)
                (void)redis_tls_read(redis);
        return r;
}

short redis_tls_events(const struct redis *redis)
{
        const struct redis_tls *tls = redis->tls;

        return redis_unsent(redis) > 0 ? tls->read_events | tls->write_events : tls->read_events;
}

bool redis_tls_may_read(const struct redis *redis, short revents)
{
        return revents & (redis->tls->read_events | POLLHUP | POLLERR);
}

/* Failing */

static void describe_certificate(struct redis *redis, long result)
{
        const char *host = redis->machines->url.host;
        const char *what = sym_X509_verify_cert_error_string(result);

        switch (result) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "its certificate does not verify: %s; it has to name %s among its "
                     "subjectAltNames, or redis = a name that it has",
                     what, host);
                break;
        case X509_V_ERR_CERT_HAS_EXPIRED:
        case X509_V_ERR_CERT_NOT_YET_VALID:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "its certificate does not verify: %s; give it a new one, or see to this "
                     "machine's clock",
                     what);
                break;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "its certificate does not verify: %s; name the authority that signed it with "
                     "ca-file in pppctl.conf(5), section [machines]",
                     what);
                break;
        default:
                fail(redis, REDIS_TROUBLE_UNUSABLE, "its certificate does not verify: %s", what);
                break;
        }
}

static void describe_protocol(struct redis *redis, unsigned long code, int reason)
{
        const char *what = sym_ERR_reason_error_string(code) ?: "unknown error";

        /* If a connection worked before, the next one may tell more. */
        if (redis->state == REDIS_READY) {
                fail(redis, REDIS_TROUBLE_UNREACHABLE, "the TLS connection broke: %s", what);
                return;
        }
        switch (reason) {
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_PACKET_LENGTH_TOO_LONG:
        case SSL_R_BAD_RECORD_TYPE:
        case SSL_R_UNEXPECTED_MESSAGE:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "what answers there does not speak TLS (%s); name its TLS port, or redis:// "
                     "for one without",
                     what);
                break;
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "it does not speak TLS 1.2 or newer (%s); see its tls-protocols", what);
                break;
        case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "it asks its clients for certificates (%s), and pppd has none; give it "
                     "tls-auth-clients no, and a password",
                     what);
                break;
        default:
                fail(redis, REDIS_TROUBLE_UNUSABLE,
                     "no TLS connection can be made: %s; see its log, and whether its "
                     "tls-auth-clients is no",
                     what);
                break;
        }
}

static void describe_end(struct redis *redis)
{
        fail(redis, REDIS_TROUBLE_UNREACHABLE, "it closed the connection%s",
             redis->state == REDIS_SECURING ? " in the TLS handshake" : "");
}

void redis_tls_describe(struct redis *redis)
{
        const struct redis_tls *tls = redis->tls;
        int reason = ERR_GET_LIB(tls->code) == ERR_LIB_SSL ? ERR_GET_REASON(tls->code) : 0;
        long result;

        switch (tls->error) {
        case SSL_ERROR_SSL:
                result = sym_SSL_get_verify_result(tls->ssl);
                if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
                        describe_end(redis);
                else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && result != X509_V_OK)
                        describe_certificate(redis, result);
                else
                        describe_protocol(redis, tls->code, reason);
                break;
        case SSL_ERROR_SYSCALL:
                if (tls->error_number)
                        fail(redis, REDIS_TROUBLE_UNREACHABLE, "%s",
                             strerrordesc_np(tls->error_number));
                else
                        describe_end(redis);
                break;
        case SSL_ERROR_ZERO_RETURN:
                describe_end(redis);
                break;
        default:
                fail(redis, REDIS_TROUBLE_UNREACHABLE, "out of memory");
                break;
        }
}
