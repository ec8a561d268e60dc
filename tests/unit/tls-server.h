#pragma once

/*
 * A server that speaks TLS, or something else, in a thread of the test itself: it takes one
 * connection and plays its part on it. Its certificates are made for the run.
 */

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "lib/util.h"

struct tls_identity {
        X509 *certificate;
        EVP_PKEY *key;
};

struct tls_server {
        /* @ssl: of the part of a server, its handshake not begun. */
        void (*play)(struct tls_server *server, SSL *ssl, int fd);
        const struct tls_identity *identity;
        int version_min, version_max; /* 0: OpenSSL's own */
        bool demands;                 /* a certificate of the client */

        int listen_fd;
        uint16_t port;
        pthread_t thread;
        char server_name[64]; /* that the client asked for */
        uint64_t sum;         /* of the bytes of all commands */
        unsigned n_lines;     /* of them, read and not asked for yet */
};

static inline void tls_extend(X509 *certificate, const X509 *issuer, int nid, const char *value)
{
        X509V3_CTX context;
        X509_EXTENSION *extension;

        X509V3_set_ctx(&context, (X509 *)(uintptr_t)issuer, certificate, NULL, NULL, 0);
        extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
        if (!extension || X509_add_ext(certificate, extension, -1) != 1)
                abort();
        X509_EXTENSION_free(extension);
}

/* @issuer: NULL for an authority; @names: its subjectAltName, as openssl(1) takes them, or NULL. */
static inline struct tls_identity tls_identity_new(const struct tls_identity *issuer,
                                                   const char *name, const char *names,
                                                   const char *usage)
{
        struct tls_identity identity = { X509_new(), EVP_EC_gen("P-256") };
        X509 *certificate = identity.certificate;
        X509_NAME *subject = X509_NAME_new();

        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                   -1, 0);
        X509_set_version(certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1 + (issuer != NULL));
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
        X509_set_subject_name(certificate, subject);
        X509_set_issuer_name(certificate,
                             issuer ? X509_get_subject_name(issuer->certificate) : subject);
        X509_NAME_free(subject);
        X509_set_pubkey(certificate, identity.key);
        if (!issuer)
                tls_extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
        if (names)
                tls_extend(certificate, issuer->certificate, NID_subject_alt_name, names);
        if (usage)
                tls_extend(certificate, issuer->certificate, NID_ext_key_usage, usage);
        if (!X509_sign(certificate, issuer ? issuer->key : identity.key, EVP_sha256()))
                abort();
        return identity;
}

static inline void tls_identity_free(struct tls_identity *identity)
{
        X509_free(identity->certificate);
        EVP_PKEY_free(identity->key);
}

static inline SSL *tls_server_ssl(const struct tls_server *server, int fd)
{
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());
        SSL *ssl;

        /* TLS 1.1 is below the level that is usual. */
        if (server->version_max && server->version_max < TLS1_2_VERSION)
                SSL_CTX_set_security_level(context, 0);
        SSL_CTX_set_min_proto_version(context, server->version_min);
        SSL_CTX_set_max_proto_version(context, server->version_max);
        SSL_CTX_use_certificate(context, server->identity->certificate);
        SSL_CTX_use_PrivateKey(context, server->identity->key);
        if (server->demands)
                SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                                   NULL);
        ssl = SSL_new(context);
        SSL_CTX_free(context);
        SSL_set_fd(ssl, fd);
        SSL_set_accept_state(ssl);
        return ssl;
}

static inline void *tls_server_main(void *userdata)
{
        struct tls_server *server = userdata;
        int fd = accept(server->listen_fd, NULL, NULL);
        SSL *ssl;

        if (fd < 0)
                return NULL;
        ssl = tls_server_ssl(server, fd);
        server->play(server, ssl, fd);
        SSL_free(ssl);
        close(fd);
        return NULL;
}

static inline void tls_server_start(struct tls_server *server)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr = { htonl(INADDR_LOOPBACK) } };
        socklen_t n = sizeof(address);

        server->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (server->listen_fd < 0 || bind(server->listen_fd, (struct sockaddr *)&address, n) < 0 ||
            listen(server->listen_fd, 1) < 0 ||
            getsockname(server->listen_fd, (struct sockaddr *)&address, &n) < 0 ||
            pthread_create(&server->thread, NULL, tls_server_main, server) != 0)
                abort();
        server->port = ntohs(address.sin_port);
}

/* When it has played its part, which it does at the latest when the client is gone. */
static inline void tls_server_end(struct tls_server *server)
{
        shutdown(server->listen_fd, SHUT_RDWR);
        pthread_join(server->thread, NULL);
        close(server->listen_fd);
}
