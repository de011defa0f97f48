-- Asks wrk for starts, and for its findings as one line of JSON. Arguments: the body, and where every start needs a key
-- of its own in its path, "keyed" (the word KEY in the path is replaced).
local body, keyed = "", false
local number, run = 0, ""

function init(args)
  body, keyed = args[1], args[2] == "keyed"
  math.randomseed(os.time())
  run = tostring(math.random(1, 1000000000))
  wrk.method, wrk.body = "POST", body
  wrk.headers["Content-Type"] = "application/json"
  if not keyed then prepared = wrk.format() end
end

function request()
  if not keyed then return prepared end
  number = number + 1
  return wrk.format(nil, (wrk.path:gsub("KEY", run .. "-" .. number)))
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"answers": %d, "refused": %d, "broken": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
