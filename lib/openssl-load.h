#pragma once

/*
 * OpenSSL, opened at run time: openssl_load() looks up every function we call and fills a typed
 * pointer for each, sym_NAME. Nothing is linked against it, since only a process that speaks TLS
 * with a Redis needs it, and loading it costs every other one milliseconds. (libcurl brings its own
 * TLS.)
 */

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "lib/fault.h"

#ifndef OPENSSL_SHLIB_VERSION
#error "OpenSSL 3 or newer is needed"
#endif

#define OPENSSL_TEXT_OF(x) #x
#define OPENSSL_TEXT(x)    OPENSSL_TEXT_OF(x)
#define OPENSSL_LIBRARY    "libssl.so." OPENSSL_TEXT(OPENSSL_SHLIB_VERSION)

/* Every function of it we call; X-macro, so that none is declared and not looked up. */
#define OPENSSL_SYMBOLS(X)                  \
        X(ERR_clear_error)                  \
        X(ERR_peek_error)                   \
        X(ERR_reason_error_string)          \
        X(OpenSSL_version)                  \
        X(SSL_CTX_ctrl)                     \
        X(SSL_CTX_free)                     \
        X(SSL_CTX_load_verify_locations)    \
        X(SSL_CTX_new)                      \
        X(SSL_CTX_set_default_verify_paths) \
        X(SSL_CTX_set_options)              \
        X(SSL_CTX_set_verify)               \
        X(SSL_ctrl)                         \
        X(SSL_do_handshake)                 \
        X(SSL_free)                         \
        X(SSL_get0_param)                   \
        X(SSL_get_error)                    \
        X(SSL_get_verify_result)            \
        X(SSL_has_pending)                  \
        X(SSL_new)                          \
        X(SSL_read)                         \
        X(SSL_set_connect_state)            \
        X(SSL_set_fd)                       \
        X(SSL_write)                        \
        X(TLS_client_method)                \
        X(X509_VERIFY_PARAM_set1_host)      \
        X(X509_VERIFY_PARAM_set1_ip_asc)    \
        X(X509_VERIFY_PARAM_set_hostflags)  \
        X(X509_verify_cert_error_string)

#define DLSYM_PROTOTYPE(symbol) extern __typeof__(symbol) *sym_##symbol;
OPENSSL_SYMBOLS(DLSYM_PROTOTYPE)
#undef DLSYM_PROTOTYPE

/* Thread-safe, does its work once. Returns 0, or -ENOPKG and @fault, whose advice is below. */
int openssl_load(struct fault *fault);

#define OPENSSL_REMEDY "install OpenSSL (Debian: libssl3, Fedora: openssl-libs)"
