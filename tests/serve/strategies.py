"""Requests to try: those of callers, odd ones, and whole connections of them."""

from hypothesis import strategies as st

from tests.serve.http.connection import get, post
from tests.serve.http.requests import SMUGGLED

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
            "Accept: text/csv", "accept:text/plain;q=0.5,*/*;q=0.1", "Accept: image/png", "Accept:",
            "If-None-Match: *", 'If-None-Match: "x"', "Origin: https://a.example", "Origin: null",
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


V1_RESTS = (
    "", "", "", "?", "?from=ads", "?fields=country_code,city", "?fields=ip,network,org,range",
    "?fields=range.last,sources.isp,snapshot", "?lang=en", "?lang=zh&fields=city&x", "?lang=fr",
    "?fields=", "?fields=x", "?fields=city%2Cisp", "?fields=city&fields=x", "?lang=en#x", "?%",
    "/country_code", "/city?lang=en", "/range", "/sources.city", "/x", "/", "/city/", "//city",
    "/cit%79", "/city%3A", "?fields=%ff", "?a=//b",
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    headers = draw(HEADERS)
    target = "/api/ip_query"
    kind = draw(
        st.sampled_from(
            ("get", "get", "get", "post", "post", "chunked", "other", "smuggled", *["v1"] * 4)
        )
    )
    if kind == "post":
        return post(draw(BODIES), *headers)
    if kind == "chunked":
        return chunked(draw(BODIES), draw(st.integers(1, 20)), *headers)
    if kind == "smuggled":
        return draw(st.sampled_from(list(SMUGGLED.values())))
    address = draw(ADDRESSES)
    if kind == "v1":
        method = draw(st.sampled_from(("GET", "GET", "GET", "HEAD", "OPTIONS", "POST")))
        version = draw(st.sampled_from(("1.1", "1.1", "1.0")))
        rest = draw(st.sampled_from(V1_RESTS))
        return get(f"/v1/ip/{address}{rest}", *headers, version=version, method=method)
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


# A header field that decides on nothing or on something, values that callers send in turn,
# and others that may follow.
_FREE = (
    ("X-Request-Id: {}", ("0", "4f"), ("", "\t", "é", "a" * 200, "a\rb", "a\0", "a\nb")),
    ("traceparent:{}", (" 00-1", "00-2"), ("a" * 200, "\r\nConnection: close", "\r\n x", "\x7f")),
)
_DECISIVE = (
    ("Connection: {}", ("keep-alive", "Keep-Alive"), ("close", "x", "")),
    ("Host: {}", ("a", "b"), ("a..b", "a b", "")),
    ("{}: x", ("A", "B"), ("Content-Length", "Expect", "")),
    ("Content-Length: {}", ("0", "0"), ("1", "00")),
)
_NEGOTIATED = (
    ("Accept: {}", ("*/*", "text/csv"), ("text/plain", "image/png", "", "text/csv;q=0, */*")),
    ("If-None-Match: {}", ('"x"', "*"), ("", 'W/"x"', '"y", "z"')),
    ("Origin: {}", ("https://a.example", "https://b.example"), ("null", "https://A.example")),
)
_V1_TARGETS = (
    "IP", "IP", "IP?from=ads", "IP?lang=en", "IP?fields=ip,city", "IP?fields=country,network",
    "IP/country_code", "IP/city?lang=zh", "IP/x", "IP?fields=x",
)  # fmt: skip
_FIXED = (("Accept: {}", ("*/*",), ("x",)),)


_TARGETS = (
    "?ip=IP", "?from=ads&ip=IP", "?x=1.0.0.0&ip=IP", "?ip=&ip=IP", "?%69p=1.0.0.0&ip=IP",
    "?ip=IP&from=ads", "?ip=IP&ip=1.0.0.0", "?ip=IP;x", "?ip=IP&y=%20", "?ip=%31.0.0.0&y=IP",
    "?ip=IP&x=1.0.0.0", "?zip=IP", "?x;ip=IP", "?ip=1.0.0.0&ip=IP", "?ip=%31.0.0.0&ip=IP",
    "?a=b?ip=IP&ip=1.0.0.0", "?x=/api/ip_query?ip=IP&ip=1.0.0.0",
)  # fmt: skip
_BODIES = (
    '{"ip":"IP"}', '{"ip": "IP"}', '{"id":1,"ip":"IP","x":"y"}', '{"ip":"IP","ip":"1.0.0.0"}',
    '{"x":"1.0.0.0","ip":"IP"}', '{"x":"\\n","ip":"IP"}', '{"ip":"1\\u002e0.0.0","y":"IP"}',
    '{"x":"IP","ip":"1.0.0.0"}', '{"IP":1,"ip":"1\\u002e0.0.0"}',
)  # fmt: skip
_USUAL = ("1.0.0.0", "1.2.3.4", "2001:db8::1", "2001%3Adb8%3A%3A1")
_ODD = ("9.9.9.9", "x", "", "1.2.3.4&x", "1.2.3.4%20", '1.2.3.4","ip":"1.0.0.0')


@st.composite
def series(draw: st.DrawFn) -> list[bytes]:
    """Requests of one caller: some that vary as they do, then such that may not be like them.

    What varies is the address, or a header field, too.
    """
    method = draw(st.sampled_from(("GET", "POST", "HEAD", "GET v1", "HEAD v1")))
    version = draw(st.sampled_from(("1.1", "1.1", "1.0")))
    what = draw(st.sampled_from((_FREE, _FIXED, _DECISIVE, _NEGOTIATED)))
    field, values, others = draw(st.sampled_from(what))
    is_plain = what is not _FIXED
    method, _, is_v1 = method.partition(" ")
    path, targets = ("/v1/ip/", _V1_TARGETS) if is_v1 else ("/api/ip_query", _TARGETS)
    form = draw(st.sampled_from(_BODIES if method == "POST" else targets))
    if is_plain and not is_v1:
        form = _BODIES[0] if method == "POST" else _TARGETS[0]

    def request(ip: str, value: str) -> bytes:
        text = form.replace("IP", ip)
        if method == "POST":
            return post(text.encode(), field.format(value))
        target = f"{path}{text}"
        return get(target, field.format(value), version=version, method=method)

    sent = []
    for number in range(draw(st.integers(2, 3))):
        sent.append(request(draw(st.sampled_from(_USUAL)), values[number % len(values)]))
    for _ in range(draw(st.integers(1, 3))):
        last = request(draw(st.sampled_from(_USUAL + _ODD)), draw(st.sampled_from(values + others)))
        if draw(st.integers(0, 3)) == 0:
            at = draw(st.integers(0, len(last)))
            last = last[:at] + draw(st.binary(max_size=2)) + last[at + 1 :]
        sent.append(last.replace(b"Content-Length: ", draw(st.sampled_from(_BEFORE_LENGTH))))
    return [*sent[:-2], sent[-2] + sent[-1]] if draw(st.booleans()) else sent


_BEFORE_LENGTH = (
    b"Content-Length: ",
    b"Content-Length: ",
    b"Content-Length:",
    b"Content-Length: 1",
)
