"""Requests to try: those of callers, odd ones, and whole connections of them."""

from hypothesis import strategies as st

from tests.serve.http.connection import get, post
from tests.serve.http.test_channel import SMUGGLED

ADDRESSES = st.sampled_from(
    [
        "1.2.3.4", "1.0.0.0", "1.255.255.255", "9.9.9.9", "2001:db8::1", "2001:DB8::1", "::1",
        "::ffff:1.2.3.4", "1.2.3", "01.2.3.4", "", "1.2.3.4 ", "%31.2.3.4", "1.2.3.4&x=1",
        "1.2.3.4#x", "1.2.3.4%20", "1.2.3.4?", "a.b", "::", "1::2::3", "2001:db8::1%eth0",
        "2001%3Adb8%3A%3A1", "2001%3adb8::1", "%3A%3Affff%3A1.2.3.4", "1.2.3.4&from=ads",
        "1.2.3.4;x", "&ip=1.2.3.4", "1.2.3.4&ip=9.9.9.9", "+1.2.3.4", "%2B1.2.3.4", "%", "%zz",
        "%FF", "[2001:db8::1]", "1.2.3.4%00", "%C3%A9",
    ]
)  # fmt: skip

HEADERS = st.lists(
    st.sampled_from(
        [
            "Connection: keep-alive", "Connection: close", "connection: Keep-Alive",
            "Connection: upgrade", "Upgrade: h2c", "Expect: 100-continue", "Expect: x",
            "User-Agent: curl/8", "X-Long: " + "x" * 600, "Accept: */*", "host: again",
            "Content-Length: 0", "Content-Length: 3", "Transfer-Encoding: chunked",
            "Content-Type: application/json", "X: y" , "x: Y", "X : y", "X:\ty\t",
            "Connection: close, x", "Connection:", "Connection: Close", "Proxy-Connection: close",
            "Proxy-Connection: keep-alive", "Keep-Alive: timeout=5", "TE: trailers", "X: \x80\xff",
            "X: \x00", "X: \x7f", "X:", ": y", "Content-Length: 00", "Content-Length: +0",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X: a\r\n b",
            "X: a\nb", "X: a\rb", "Content-Length: 16", "Trailer: x", "Host: again",
        ]
    ),
    max_size=3,
)  # fmt: skip

BODIES = st.builds(
    lambda form, ip: form.replace("IP", ip).encode(),
    st.sampled_from(
        [
            '{"ip":"IP"}', '{"ip": "IP"}', ' {"ip" : "IP"}\r\n', '{"IP":"IP"}', '{"ip":"IP",}',
            '{"ip":"IP","x":1}', '{"ip":"IP","ip":"9.9.9.9"}', "{'ip':'IP'}", '["IP"]', "", "{}",
            '{"x":[{"ip":"9.9.9.9"}],"ip":"IP"}', '{"ip":"9.9.9.9","ip":"IP"}', '{"\\u0069p":"IP"}',
            '{"ip":"IP"} x', '{"ip":"\\ud800"}', '{"ip":"IP","x":"}"}', '{"ip":NaN}', '"ip"',
            '{"ip":"\\u0031.2.3.4"}', '{"ip":null}', '\ufeff{"ip":"IP"}', '{"ip":\x0b"IP"}',
        ]
    ),
    ADDRESSES,
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    headers = draw(HEADERS)
    target = "/api/ip_query"
    kind = draw(
        st.sampled_from(("get", "get", "get", "post", "post", "chunked", "other", "smuggled"))
    )
    if kind == "post":
        return post(draw(BODIES), *headers)
    if kind == "chunked":
        return chunked(draw(BODIES), draw(st.integers(1, 20)), *headers)
    if kind == "smuggled":
        return draw(st.sampled_from(list(SMUGGLED.values())))
    address = draw(ADDRESSES)
    if kind == "other":
        method = draw(st.sampled_from(("HEAD", "POST", "DELETE", "OPTIONS")))
        path = draw(st.sampled_from((target, "/healthz", "/API/ip_query", f"http://x{target}")))
        version = draw(st.sampled_from(("1.0", "1.1", "2.0")))
        return get(f"{path}?ip={address}", *headers, method=method, version=version)
    separators = (
        "?ip=", "?ip=", "?ip=", "?x=1&ip=", "?IP=", "?ip==", "?x&ip=", "?&&ip=", "?%69p=", "?i%70=",
        "?ip&ip=", "?x=1;ip=", "?+ip=", "?", "?a=b?ip=", "/?ip=", "?%=1&ip=", "?x=%26ip=1&ip=",
    )  # fmt: skip
    separator = draw(st.sampled_from(separators))
    version = draw(st.sampled_from(("1.1", "1.1", "1.0")))
    method = draw(st.sampled_from(("GET", "GET", "HEAD")))
    return get(f"{target}{separator}{address}", *headers, version=version, method=method)


def chunked(body: bytes, size: int, *headers: str) -> bytes:
    """A POST whose body comes in chunks of a size, with an extension and a trailer at times."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = [b"%x%s\r\n%s\r\n" % (len(one), b";x=y" * (size % 2), one) for one in pieces]
    trailer = b"X: y\r\n" * (size % 3 == 0)
    head = get("/api/ip_query", "Transfer-Encoding: chunked", *headers, method="POST")
    return b"".join([head, *chunks, b"0\r\n", trailer, b"\r\n"])


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Requests, each repeated or followed by another, whole or cut anywhere, pipelined or not."""
    pieces: list[bytes] = []
    for request in draw(st.lists(requests(), min_size=1, max_size=6)):
        times = draw(st.integers(1, 3))
        if draw(st.booleans()):
            pieces += [request] * times
        else:
            pieces.append(request * times)
    if draw(st.booleans()):
        return pieces
    stream = b"".join(pieces)
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@st.composite
def series(draw: st.DrawFn) -> list[bytes]:
    """Requests of one caller, each like the one before but for what varies; some are spoilt."""
    method = draw(st.sampled_from(("GET", "GET", "HEAD", "POST", "POST")))
    version = draw(st.sampled_from(("1.1", "1.1", "1.1", "1.0")))
    separator = draw(
        st.sampled_from(("?ip=", "?from=ads&ip=", "?x=1.2.3.4&ip=", "?ip=&ip=", "?zip="))
    )
    rest = draw(st.sampled_from(("", "", "&from=ads", "&ip=1.2.3.4", ";x", "&y=%20")))
    body = draw(
        st.sampled_from(
            (
                '{"ip":"IP"}', '{"ip": "IP"}', '{"id":1,"ip":"IP","x":"y"}',
                '{"ip":"IP","ip":"::1"}',
                '{"x":"1.2.3.4","ip":"IP"}', '{"x":"\\n","ip":"IP"}', '{"IP":"x","ip":"IP"}',
            )
        )
    )  # fmt: skip
    headers = draw(
        st.lists(
            st.sampled_from(
                (
                    "User-Agent: a", "Accept: */*", "X-Request-Id: ID", "traceparent: ID",
                    "X-Empty:ID", "X-Two: a ID", "Connection: keep-alive", "Connection: ID",
                    "Content-Length: 0", "Referer: ID", "Host: ID", "ID: x",
                )
            ),
            max_size=4,
        )
    )  # fmt: skip
    addresses = st.sampled_from(
        ("1.2.3.4", "1.0.0.0", "9.9.9.9", "2001:db8::1", "2001%3Adb8%3A%3A1", "x", "", "1.2.3.4&x")
    )
    values = st.sampled_from(
        ("", "0", "4f", "close", "keep-alive", "\t", "é", "a" * 300, "a\r\nX: y", "a\rb", "\0")
    )
    sent = []
    for _ in range(draw(st.integers(2, 8))):
        ip, value = draw(addresses), draw(values)
        fields = [field.replace("ID", value) for field in headers]
        if method == "POST":
            request = post(body.replace("IP", ip).encode(), *fields)
        else:
            target = f"/api/ip_query{separator}{ip}{rest}"
            request = get(target, *fields, version=version, method=method)
        if draw(st.integers(0, 9)) == 0:
            at = draw(st.integers(0, len(request)))
            request = request[:at] + draw(st.binary(max_size=2)) + request[at + 1 :]
        sent.append(request)
    return sent
