-- wrk: send prepared requests in turn, and print what came of it as one line of JSON.
-- The file named after `--` has one request a line: METHOD, PATH, TOKEN and BODY, between tabs.
-- @@@ in a body stands for a number of three digits, another one for each request, so that nothing is a no-change.
-- With `once` after the file, each request is sent once at most; when all are used up, the run is over.

local ffi = require("ffi")
ffi.cdef [[
  struct moment { long seconds; long microseconds; };
  int gettimeofday(struct moment *now, void *zone);
]]

local requests, turn, number, once, began = {}, 0, 99, false, 0
local threads = {}

local function now()
  local moment = ffi.new("struct moment")
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) * 1e6 + tonumber(moment.microseconds)
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  once = arguments[2] == "once"
  for line in io.lines(arguments[1]) do
    local method, path, token, body = line:match("^(%u+)\t(.-)\t(.-)\t(.*)$")
    local headers = {["Host"] = wrk.headers["Host"]}
    if token ~= "" then headers["Authorization"] = "Bearer " .. token end
    if body ~= "" then headers["Content-Type"] = "application/json" else body = nil end
    local text = wrk.format(method, path, headers, body)
    local pieces, after = {}, 1
    for start, stop in text:gmatch("()@@@()") do
      pieces[#pieces + 1] = text:sub(after, start - 1)
      after = stop
    end
    pieces[#pieces + 1] = text:sub(after)
    requests[#requests + 1] = pieces
  end
  began = now()
end

function request()
  turn = turn + 1
  if turn > #requests then
    if once then
      lasted = lasted or now() - began -- a global, which `done` can ask the thread for
      wrk.thread:stop()
      return wrk.format("GET", "/") -- wrk wants one; its answer is not waited for
    end
    turn = 1
  end
  local pieces = requests[turn]
  if #pieces == 1 then return pieces[1] end
  number = number < 999 and number + 1 or 100
  return table.concat(pieces, number)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\n',
    summary.requests, threads[1]:get("lasted") or summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
