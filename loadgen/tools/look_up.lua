-- wrk script: look-ups of random IPv4 addresses, or the requests of a file.
--
--   wrk -c64 -d10s -s look_up.lua http://127.0.0.1:8080/ -- [get|post|browser] [SEED]
--   wrk -c64 -d10s -s look_up.lua http://127.0.0.1:8080/ -- file FILE [PLACE]
--
-- The requests are made beforehand: to format one takes longer than to send it. In a file
-- they stand as they are sent, with a NUL byte behind each; what stands together without
-- one is sent together, pipelined, and must be the same number of requests each time. PLACE of
-- them are passed over at first.

local count = 65536
local requests = {}
local place = 0

local browser = {
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ["Accept-Language"] = "zh-CN,zh;q=0.9,en;q=0.8",
    ["Accept-Encoding"] = "gzip, deflate, br",
    ["Connection"] = "keep-alive",
    ["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=dark",
    ["Referer"] = "http://example.com/index.html",
    ["Cache-Control"] = "max-age=0",
    ["Upgrade-Insecure-Requests"] = "1",
    ["DNT"] = "1",
}

local function read(name)
    local file = assert(io.open(name, "rb"))
    for request in file:read("*a"):gmatch("([^%z]+)") do
        requests[#requests + 1] = request
    end
    file:close()
end

function init(args)
    local kind = args[1] or "get"
    if kind == "file" then
        place = tonumber(args[3] or "0")
        return read(args[2])
    end
    math.randomseed(tonumber(args[2] or "1"))
    for number = 1, count do
        local ip = string.format("%d.%d.%d.%d", math.random(1, 223), math.random(0, 255),
            math.random(0, 255), math.random(0, 255))
        if kind == "post" then
            requests[number] = wrk.format("POST", "/api/ip_query",
                { ["Content-Type"] = "application/json" }, '{"ip":"' .. ip .. '"}')
        else
            requests[number] = wrk.format("GET", "/api/ip_query?ip=" .. ip,
                kind == "browser" and browser or {})
        end
    end
end

function request()
    place = place % #requests + 1
    return requests[place]
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "p999": %f, ' ..
        '"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6,
        latency:percentile(99) / 1e6, latency:percentile(99.9) / 1e6, errors.connect,
        errors.read, errors.write, errors.status, errors.timeout))
end
