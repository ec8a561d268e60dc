/* Which URLs are taken as they are, what they are taken apart to, and what redirects refer to. */

#include <arpa/inet.h>

#include "daemon/runner/fetch/http-url.h"
#include "tests/unit/test.h"

static const struct {
        const char *url;
        const char *authority; /* as Host has it; NULL: not of the plain form */
        const char *path;
        uint16_t port;
        const char *address; /* NULL: a name */
} urls[] = {
        { "http://127.0.0.1/", "127.0.0.1", "/", 80, "127.0.0.1" },
        { "HTTP://127.0.0.1:8080/a/b?c=d&e#f", "127.0.0.1:8080", "/a/b?c=d&e", 8080, "127.0.0.1" },
        { "http://127.0.0.1:80/", "127.0.0.1", "/", 80, "127.0.0.1" },
        { "http://10.0.0.255", "10.0.0.255", "", 80, "10.0.0.255" },
        { "http://10.0.0.255#x", "10.0.0.255", "", 80, "10.0.0.255" },
        { "http://[::1]/", "[::1]", "/", 80, "::1" },
        { "http://[2001:db8::7]:65535/%20~", "[2001:db8::7]:65535", "/%20~", 65535, "2001:db8::7" },
        { "http://localhost:1/x?", "localhost:1", "/x?", 1, NULL },
        { "http://a-b.Example.org/?q=/../x", "a-b.Example.org", "/?q=/../x", 80, NULL },
        { "http://1.example/a.b/..c", NULL, NULL, 0, NULL },
        { "http://1.example/a.b/c..", "1.example", "/a.b/c..", 80, NULL },
        { "", NULL, NULL, 0, NULL },
        { "http:", NULL, NULL, 0, NULL },
        { "http://", NULL, NULL, 0, NULL },
        { "http:///x", NULL, NULL, 0, NULL },
        { "http://:80/", NULL, NULL, 0, NULL },
        { "https://127.0.0.1/", NULL, NULL, 0, NULL },
        { "http:/127.0.0.1/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1:/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1:0/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1:08/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1:65536/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1:999999/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1:8x/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1?x", NULL, NULL, 0, NULL },
        { "http://127.0.0.1\\x", NULL, NULL, 0, NULL },
        { "http://127.1/", NULL, NULL, 0, NULL },
        { "http://127.0.0.01/", NULL, NULL, 0, NULL },
        { "http://127.0.0.256/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1.2/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1./", NULL, NULL, 0, NULL },
        { "http://0x7f.0.0.1/", NULL, NULL, 0, NULL },
        { "http://2130706433/", NULL, NULL, 0, NULL },
        { "http://name.0x7f/", NULL, NULL, 0, NULL },
        { "http://.name/", NULL, NULL, 0, NULL },
        { "http://name./", NULL, NULL, 0, NULL },
        { "http://b\303\274cher.example/", NULL, NULL, 0, NULL },
        { "http://a_b.example/", NULL, NULL, 0, NULL },
        { "http://user@127.0.0.1/", NULL, NULL, 0, NULL },
        { "http://user:pass@127.0.0.1/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/@x", "127.0.0.1", "/@x", 80, "127.0.0.1" },
        { "http://[::1", NULL, NULL, 0, NULL },
        { "http://[]/", NULL, NULL, 0, NULL },
        { "http://[127.0.0.1]/", NULL, NULL, 0, NULL },
        { "http://[fe80::1%25eth0]/", NULL, NULL, 0, NULL },
        { "http://[::1]x/", NULL, NULL, 0, NULL },
        { "http://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]/", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/a b", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/a\tb", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/\303\274", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/a\"b", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/../x", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/a/./x", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/a/..", NULL, NULL, 0, NULL },
        { "http://127.0.0.1/a/%2E%2e/x", NULL, NULL, 0, NULL },
};

static void check_address(const struct http_url *url, const char *wanted)
{
        const void *bytes = url->address.any.sa_family == AF_INET6
                                    ? (const void *)&url->address.v6.sin6_addr
                                    : (const void *)&url->address.v4.sin_addr;
        char text[INET6_ADDRSTRLEN];

        test_true(inet_ntop(url->address.any.sa_family, bytes, text, sizeof(text)));
        test_str(text, wanted);
        test_int(ntohs(url->address.v4.sin_port), ==, url->port);
}

static void splits(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(urls); ++i) {
                struct http_url url;
                char text[256];

                if (http_url_split(urls[i].url, &url) != !!urls[i].authority)
                        test_fail_at("\"%s\" is %staken", urls[i].url,
                                     urls[i].authority ? "not " : "");
                if (!urls[i].authority)
                        continue;
                snprintf(text, sizeof(text), "%.*s", (int)url.n_authority, url.host);
                test_str(text, urls[i].authority);
                snprintf(text, sizeof(text), "%.*s", (int)url.n_path, url.path);
                test_str(text, urls[i].path);
                test_int(url.port, ==, urls[i].port);
                test_int(url.is_address, ==, !!urls[i].address);
                if (urls[i].address)
                        check_address(&url, urls[i].address);
        }
}

static void compares_addresses(void)
{
        union http_address a, b;

        test_true(http_address_parse("127.9.8.7", 9, 80, &a));
        test_true(http_address_is_loopback(&a));
        test_true(http_address_parse("127.9.8.7", 9, 81, &b));
        test_true(memcmp(&a, &b, sizeof(a)) != 0);
        test_true(http_address_parse("128.0.0.1", 9, 80, &a));
        test_true(!http_address_is_loopback(&a));
        test_true(http_address_parse("::1", 3, 80, &a));
        test_true(http_address_is_loopback(&a));
        test_true(http_address_parse("0::1", 4, 80, &b));
        test_int(memcmp(&a, &b, sizeof(a)), ==, 0);
        test_true(http_address_parse("::2", 3, 80, &a));
        test_true(!http_address_is_loopback(&a));
        test_true(!http_address_parse("::1%1", 5, 80, &a));
}

static void resolves(void)
{
        static const struct {
                const char *base, *location, *url;
        } redirects[] = {
                { "http://h/a/b?c", "http://other:8/x", "http://other:8/x" },
                { "http://h/a/b?c", "HTTPS://other", "HTTPS://other" },
                { "http://h/a/b?c", "mailto:x", "mailto:x" },
                { "http://h/a/b?c", "//other/x", "http://other/x" },
                { "http://h:8/a/b?c", "/x?y#z", "http://h:8/x?y#z" },
                { "http://h:8/a/b?c", "x", "http://h:8/a/x" },
                { "http://h:80/a/b/", "../x", "http://h:80/a/b/../x" },
                { "https://[::1]:8/a?b", "x", "https://[::1]:8/x" },
                { "https://u:p@h/a/b", "x", "https://u:p@h/a/x" },
                { "https://u:p@h/a/b", "https://H/x", "https://u:p@H/x" },
                { "https://u:p@h/a/b", "https://v@h/x", "https://v@h/x" },
                { "https://u:p@h/a/b", "https://h:8/x", "https://h:8/x" },
                { "https://u:p@h/a/b", "http://h/x", "http://h/x" },
                { "https://u:p@h/a/b", "//h2/x", "https://h2/x" },
                { "http://h/a?b=/c/", "d", "http://h/d" },
                { "http://h:8/a/b?c/d", "?y", "http://h:8/a/b?y" },
                { "http://h:8/a/b?c/d", "#y", "http://h:8/a/b?c/d#y" },
                { "http://h:8", "x", "http://h:8/x" },
                { "http://h:8", "?x", "http://h:8/?x" },
                { "http://h:8/?q", "x:y", "x:y" },
                { "http://h:8/?q", "./x:y", "http://h:8/./x:y" },
                { "http://h/", "/a b?c d", "http://h/a%20b?c+d" },
                { "http://h/", "/\303\274\t", "http://h/%c3%bc%09" },
                { "http://u:p@xn--bcher-kva/", "http://b\303\274cher/x",
                  "http://u:p@xn--bcher-kva/x" },
                { "http://h/", "http://b\303\274cher/\303\274", "http://b\303\274cher/%c3%bc" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(redirects); ++i) {
                _cleanup_free_ char *at = NULL;

                test_int(http_url_resolve(redirects[i].base, redirects[i].location, &at), ==, 0);
                test_str(at, redirects[i].url);
        }
}

#define UE "\303\274"

/* NULL: the URL may stay as it is. */
static const struct {
        const char *url, *ascii;
        int error;
} hosts[] = {
        { "http://m" UE "nchen.example/", "http://xn--mnchen-3ya.example/", 0 },
        { "http://M\303\234NCHEN.Example", "http://xn--mnchen-3ya.example", 0 },
        { "http://mu\314\210nchen.example/", "http://xn--mnchen-3ya.example/", 0 },
        { "http://m%C3%bCnchen.example/", "http://xn--mnchen-3ya.example/", 0 },
        { "https://fa\303\237.example:8443/" UE "?" UE "#" UE,
          "https://xn--fa-hia.example:8443/" UE "?" UE "#" UE, 0 },
        { "http://" UE ":" UE "@" UE ".example/", "http://" UE ":" UE "@xn--tda.example/", 0 },
        { "http://" UE "\343\200\202example/", "http://xn--tda.example/", 0 },
        { "http://" UE "_a.example./", "http://xn--_a-wka.example./", 0 },
        { "http://\357\274\221\357\274\222\357\274\227.0.0.1:8/x", "http://127.0.0.1:8/x", 0 },
        { "http://example/" UE, NULL, 0 },
        { "http://xn--mnchen-3ya.example/", NULL, 0 },
        { "http://%41.example/", NULL, 0 },
        { "http://%zz.example/", NULL, 0 },
        { "http://%c3%bc%00.example/", NULL, 0 },
        { "http://[::1]/", NULL, 0 },
        { "http:///" UE, NULL, 0 },
        { "mailto:" UE, NULL, 0 },
        { "", NULL, 0 },
        { "http://\374.example/", NULL, -EILSEQ },
        { "http://xn--." UE "/", NULL, -EINVAL },
        { "http://\342\204\200.example/", NULL, -EINVAL },
        { "http://\302\255/", NULL, -EINVAL },
        { "http://" UE " x.example/", NULL, -EINVAL },
        { "http://" UE "%00.example/", NULL, -EINVAL },
        { "http://" UE "%2f.example/", NULL, -EINVAL },
        { "http://" UE "%4/", NULL, -EINVAL },
        { "http://"
          "x.\303\274\303\274aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/",
          NULL, -ENAMETOOLONG },
};

static void becomes_ascii(void)
{
        for (size_t i = 0; i < ARRAY_SIZE(hosts); ++i) {
                _cleanup_free_ char *ascii = NULL;
                int r = http_url_to_ascii(hosts[i].url, &ascii);

                if (r != hosts[i].error || !streq(ascii ?: "", hosts[i].ascii ?: ""))
                        test_fail_at("\"%s\": %d, \"%s\"", hosts[i].url, r, ascii ?: "");
        }
}

TEST_MAIN("http-url", { "becomes ASCII", becomes_ascii }, { "splits", splits },
          { "compares addresses", compares_addresses }, { "resolves", resolves })
