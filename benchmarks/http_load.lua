-- wrk posts the files that it is given, one after the other, each with one content type, and prints one line of JSON.
-- wrk -t1 -c16 -d10s -s http_load.lua URL -- TYPE FILE...

local requests, at = {}, 0

function init(arguments)
  for index = 2, #arguments do
    local file = assert(io.open(arguments[index], "rb"))
    local headers = { ["Content-Type"] = arguments[1] }
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read("*a"))
    file:close()
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"answers": %d, "refused": %d, "lost": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
