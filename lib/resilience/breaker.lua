-- Breakers, one hash each. An absent hash is a breaker that is closed and always was.
--
--   KEYS      the breakers
--   ARGV[1]   what to do: a name in `commands`
--   ARGV[2..] its numbers (milliseconds, counts) and texts
--
-- Fields, all optional:
--   until_ms   not closed: open before this moment, half open after it
--   probe_ms   half open: the probe let through has until this moment
--   pause_ms   length of the last pause since it was last closed
--   failures   transient failures in a row
--   openings   times it opened since it was last closed
--   reason     why it opened
--   closed_ms  when it last closed
--   held       paused by hand, and why
--
-- The only clock is the server's. `lib/resilience/breaker_rules.py` holds the same rules for one process.

local FIELDS = {
    'until_ms', 'probe_ms', 'pause_ms', 'failures', 'openings', 'reason', 'closed_ms', 'held',
}
local TEXTS = {reason = true, held = true}
-- A breaker nobody touches any longer, such as an old password's, is forgotten in the end.
local KEEP_MS = 30 * 24 * 3600 * 1000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function load(key)
    local values = redis.call('HMGET', key, unpack(FIELDS))
    local breaker = {}
    for i, name in ipairs(FIELDS) do
        if values[i] then
            breaker[name] = TEXTS[name] and values[i] or tonumber(values[i])
        end
    end
    breaker.failures = breaker.failures or 0
    breaker.openings = breaker.openings or 0
    return breaker
end

local function save(key, breaker)
    redis.call('DEL', key)
    local fields = {}
    for _, name in ipairs(FIELDS) do
        local value = breaker[name]
        if value and value ~= 0 then
            fields[#fields + 1] = name
            fields[#fields + 1] = TEXTS[name] and value or string.format('%.0f', value)
        end
    end
    if #fields > 0 then
        redis.call('HSET', key, unpack(fields))
        if not breaker.held then
            redis.call('PEXPIRE', key, math.max(breaker.until_ms or 0, now) - now + KEEP_MS)
        end
    end
end

-- The state without regard to a pause by hand.
local function inner_state(breaker)
    if not breaker.until_ms then
        return 'closed'
    end
    return breaker.until_ms > now and 'open' or 'half_open'
end

local function state(breaker)
    return breaker.held and 'held' or inner_state(breaker)
end

local function why(breaker)
    return breaker.held or breaker.reason or ''
end

-- Milliseconds until a call may be let through; -1 where only a person can tell.
local function wait_ms(breaker)
    if breaker.held then
        return -1
    end
    return math.max((breaker.until_ms or 0) - now, (breaker.probe_ms or 0) - now, 0)
end

local function close(breaker)
    if breaker.until_ms then
        breaker.closed_ms = now
    end
    breaker.until_ms, breaker.probe_ms, breaker.pause_ms, breaker.reason = nil, nil, nil, nil
    breaker.failures, breaker.openings = 0, 0
end

-- Each change returns true where the breaker must be saved. They share one set of arguments.
local changes = {}
local reason, threshold = ARGV[2], tonumber(ARGV[3])
local pause, pause_max = tonumber(ARGV[4]), tonumber(ARGV[5])

local function open(breaker)
    breaker.pause_ms = math.min(math.max(pause, 2 * (breaker.pause_ms or 0)), pause_max)
    breaker.until_ms = now + breaker.pause_ms
    breaker.openings = breaker.openings + 1
    breaker.probe_ms = nil
    breaker.reason = reason
end

function changes.succeeded(breaker)
    local before = inner_state(breaker)
    if before == 'half_open' or (before == 'closed' and breaker.failures > 0) then
        close(breaker)
        return true
    end
end

function changes.failed(breaker)
    local before = inner_state(breaker)
    if before == 'open' or (before == 'half_open' and not breaker.probe_ms) then
        -- A call that began before the breaker opened.
        return false
    end
    breaker.failures = breaker.failures + 1
    if before == 'half_open' or breaker.failures >= threshold then
        open(breaker)
    end
    return true
end

function changes.trip(breaker)
    if inner_state(breaker) == 'open' then
        return false
    end
    open(breaker)
    return true
end

function changes.release_probe(breaker)
    local taken = breaker.probe_ms
    breaker.probe_ms = nil
    return taken
end

function changes.reset(breaker)
    close(breaker)
    return true
end

function changes.hold(breaker)
    breaker.held = reason
    return true
end

function changes.unhold(breaker)
    local held = breaker.held
    breaker.held = nil
    return held
end

local commands = {}

-- Lets a call through all breakers or none; returns those that refuse it, and 1 where none has
-- anything that the call's success would change.
function commands.admit()
    local refusals, probes, spotless = {}, {}, 1
    for i, key in ipairs(KEYS) do
        local breaker = load(key)
        if state(breaker) ~= 'closed' or breaker.failures > 0 then
            spotless = 0
        end
        if wait_ms(breaker) ~= 0 then
            refusals[#refusals + 1] = {i, state(breaker), why(breaker), wait_ms(breaker)}
        elseif state(breaker) == 'half_open' then
            probes[#probes + 1] = key
        end
    end
    if #refusals == 0 then
        for _, key in ipairs(probes) do
            redis.call('HSET', key, 'probe_ms', string.format('%.0f', now + tonumber(ARGV[2])))
        end
    end
    return {refusals, spotless}
end

function commands.snapshot()
    local rows = {}
    for i, key in ipairs(KEYS) do
        local breaker = load(key)
        rows[i] = {
            state(breaker),
            why(breaker),
            breaker.failures,
            breaker.openings,
            wait_ms(breaker),
            breaker.closed_ms and inner_state(breaker) == 'closed' and now - breaker.closed_ms or -1,
        }
    end
    return rows
end

if commands[ARGV[1]] then
    return commands[ARGV[1]]()
end

local transitions = {}
for i, key in ipairs(KEYS) do
    local breaker = load(key)
    local before = state(breaker)
    local why_before = why(breaker)
    if changes[ARGV[1]](breaker) then
        save(key, breaker)
        local after = state(breaker)
        if after ~= before then
            local because = after == 'closed' and why_before or why(breaker)
            transitions[#transitions + 1] = {i, before, after, because}
        end
    end
end
return transitions
