-- publish.lua: puts the events of one caller into a thread, once and in order, and sends
-- them to its subscribers. Interface version 1; docs/PUBLISHING.md describes it for every
-- language, tests/publish/vectors.json holds examples of calls and answers.
--
--   caller ── EVALSHA ──▶ check ──▶ read state ──▶ decide ──▶ write: PUBLISH + XADD each
--                                                     └─ FENCED ENDED LOST GAP TAKEN ONCE
--                                                        CONFLICT: nothing was written
--
-- It must never do half of it: whatever can refuse (types, rights, memory, a replica, a
-- broken disk) has refused before the first PUBLISH, for what was published cannot be
-- called back. It must never print a number with tostring: from 1e14 on that is 1e+14,
-- and epochs are 1.7e15. It calls Redis as little as it can: that is its speed.
--
-- KEYS  1 log (stream)  2 state (hash)  3 once (string), or the same as 2, or left out
-- ARGV  1 version  2 mode  3 channel  4 max events  5 max bytes  6 ttl seconds
--       7 this Redis' run_id  8 run  9 attempt  10 number  11 worker  12… events
-- state v, epoch, n, redis, bytes; r:<run> = "attempt next began worker" while it lives,
--       x:<run> = "attempt began end" of the last ended ones

local call, pcall, format = redis.call, redis.pcall, string.format
local log, state, once = KEYS[1], KEYS[2], KEYS[3]
local version, mode, channel = ARGV[1], ARGV[2], ARGV[3]
local max_events, max_bytes, ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local redis_id, run, worker = ARGV[7], ARGV[8], ARGV[11]
local attempt, number = tonumber(ARGV[9]), tonumber(ARGV[10])
local FIRST = 12 -- index of the first event in ARGV
local count = #ARGV - FIRST + 1

local ENDED_KEEP, ENDED_PRUNE = 256, 320 -- prune to KEEP when PRUNE are there: amortised
local ONCE_S = 86400                     -- how long an idempotency key is remembered
local CHUNK = 64                         -- log entries read at once while trimming
local EXACT = 9007199254740991           -- largest integer a Lua number holds exactly

-- 1. The arguments ---------------------------------------------------------------------

if version ~= '1' then
    return redis.error_reply('THREADCAST version ' .. tostring(version) ..
        ' is not spoken here, only 1')
end

local function bad(what)
    return redis.error_reply('THREADCAST arguments ' .. what)
end

local outside = mode == 'outside'
local begins = mode == 'begin' or mode == 'beginend'
local ends = mode == 'end' or mode == 'beginend'
if not (outside or begins or ends or mode == 'publish') then
    return bad('mode is begin, publish, end, beginend or outside')
end
if not log or not state or log == state or once == log then
    return bad('keys are log, state and perhaps once')
end
if once == state then
    once = nil
end
if count < 1 then
    return bad('there is no event')
end
if channel == '' or redis_id == '' then
    return bad('channel and run_id of this Redis are needed')
end

local function is_count(x) -- a whole number from 1 (nan fails every comparison)
    return x and x >= 1 and x < EXACT and x % 1 == 0
end
if not (is_count(max_events) and is_count(max_bytes) and is_count(ttl)) then
    return bad('limits and ttl are whole numbers from 1')
end
if outside then
    if once and worker == '' then
        return bad('a once key needs the hash of the body')
    end
elseif once then
    return bad('a once key is for outside events')
elseif run == '' or run:find('%s') then
    return bad('run is a word')
elseif not (is_count(attempt) and is_count(number)) then
    return bad('attempt and number are whole numbers from 1')
end
for i = FIRST, FIRST + count - 1 do
    local head = ARGV[i]:sub(1, 5)
    if head:sub(1, 2) ~= '{"' or head == '{"id"' then
        return redis.error_reply(format('THREADCAST event %d is not a JSON object that ' ..
            'begins with {" and has no id', i - FIRST + 1))
    end
end

-- 2. What is there ---------------------------------------------------------------------

local function failed(reply, key)
    if reply.err:find('^%-?WRONGTYPE') then
        return redis.error_reply('THREADCAST wrongtype ' .. key)
    end
    return reply
end

local length = pcall('XLEN', log) -- 0 when there is no log
if type(length) == 'table' then
    return failed(length, log)
end
local got = pcall('HMGET', state, 'epoch', 'n', 'redis', 'bytes', 'r:' .. run, 'x:' .. run)
if got.err then
    return failed(got, state)
end
local epoch, n, bytes = tonumber(got[1] or nil), tonumber(got[2] or nil), tonumber(got[4] or nil)
local log_lost = length == 0

-- 3. Decide; nothing is written before a refusal ------------------------------------------

local skip = 0       -- events of this call that an earlier one has put there
local began          -- id at which the run begins, when it has begun
local next_number = 0

if outside then
    if once then
        local kept = pcall('GET', once)
        if type(kept) == 'table' then
            return failed(kept, once)
        end
        if kept then
            local hash, first, last = kept:match('^(%S+) (%S+) (%S+)$')
            if hash == worker then
                return {'ONCE', first, last}
            end
            return {'CONFLICT'}
        end
    end
    for claimed in run:gmatch('%S+') do
        local known = call('HMGET', state, 'r:' .. claimed, 'x:' .. claimed)
        if known[1] or known[2] then
            return {'TAKEN', claimed}
        end
    end
else
    if got[6] then
        return {'ENDED', got[6]:match('%S+$')}
    end
    local known, expected
    if got[5] then
        known, expected, began = got[5]:match('^(%d+) (%d+) (%S+)')
        known, expected = tonumber(known), tonumber(expected)
    end
    if known and known > attempt then
        return {'FENCED', format('%.0f', known)}
    end
    -- A fence outlives the log, a run does not: without its log it has to begin anew.
    local alive = known == attempt and not log_lost
    if not begins then
        if not alive then
            return {'LOST'}
        elseif number > expected then
            return {'GAP', format('%.0f', expected)}
        end
    end
    next_number = number + count
    if alive and number < expected then
        skip = math.min(expected - number, count)
        next_number = math.max(next_number, expected)
    elseif begins then
        began = nil -- begins here, with the first event of this call
    end
    if skip == count and not ends then
        return {'OK', '', '', format('%.0f', next_number)}
    end
end

-- 4. Whatever can still refuse does so here -----------------------------------------------

-- Rights are asked for, because PUBLISH then a forbidden XADD would be half of it.
local may = redis.acl_check_cmd
if not (may('PUBLISH', channel, '') and may('XADD', log, '1-1', 'e', '')) then
    return redis.error_reply('NOPERM this user may not PUBLISH to the channel or XADD to the log')
end

-- A new epoch: Redis has lost ids that it gave out (no log or no state), or this is
-- another Redis than the one that wrote the state: after a crash or a failover it may
-- have forgotten its last ids and would give them out again for other events. The third
-- reason is a log that somebody else wrote to: our next id would not be accepted.
local fresh = log_lost or not (epoch and n and bytes) or got[3] ~= redis_id
if not fresh and skip < count then
    local last = got[1] .. '-' .. got[2]
    fresh = #call('XRANGE', log, '(' .. last, '+', 'COUNT', 1) > 0
end

local function size(entry)
    local fields = entry[2]
    return fields[1] == 'e' and #fields[2] or 0
end

if fresh and skip < count then
    local now = call('TIME')
    local above = (epoch or 0) + 1
    if redis.call('EXISTS', log) == 1 then
        local info = call('XINFO', 'STREAM', log)
        for i = 1, #info, 2 do
            if info[i] == 'last-generated-id' then -- also of entries that were deleted
                above = math.max(above, tonumber(info[i + 1]:match('^%d+')) + 1)
            end
        end
    end
    epoch = math.max(tonumber(now[1]) * 1000000 + tonumber(now[2]), above)
    n = 0
    if epoch >= EXACT then
        return redis.error_reply('THREADCAST epoch of ' .. log .. ' cannot be raised')
    end
    if log_lost then
        bytes = 0
    elseif not bytes then -- the state was lost alone: count what the log holds
        bytes = 0
        local from = '-'
        repeat
            local page = call('XRANGE', log, from, '+', 'COUNT', CHUNK)
            for i = 1, #page do
                bytes = bytes + size(page[i])
            end
            from = #page > 0 and '(' .. page[#page][1]
        until #page < CHUNK
    end
end

-- A write that changes nothing a reader looks at, but that Redis refuses when it would
-- refuse the others: READONLY, OOM, MISCONF, NOREPLICAS.
call('HSET', state, 'v', '1')

-- 5. Write ----------------------------------------------------------------------------------

if fresh and log_lost then -- the runs that lived in the lost log are lost with it
    local names = call('HKEYS', state)
    for i = 1, #names do
        if names[i]:sub(1, 2) == 'r:' then
            call('HDEL', state, names[i])
        end
    end
end

local epoch_text = format('%.0f', epoch or 0)
local first, id = '', ''
local json
for i = FIRST + skip, FIRST + count - 1 do
    n = n + 1
    id = epoch_text .. '-' .. format('%.0f', n)
    json = '{"id":"' .. id .. '",' .. ARGV[i]:sub(2)
    call('PUBLISH', channel, json)
    call('XADD', log, id, 'e', json)
    bytes = bytes + #json
    if first == '' then
        first = id
    end
end
length = length + count - skip

-- Bounds are exact. What is above goes, with 1/16 more so that it need not be done every
-- time; the newest entry stays whatever its size.
if length > max_events or bytes > max_bytes then
    local to_events = max_events - math.floor(max_events / 16)
    local to_bytes = max_bytes - math.floor(max_bytes / 16)
    local from, keep = '-', nil
    while not keep do
        local page = call('XRANGE', log, from, '+', 'COUNT', CHUNK)
        for i = 1, #page do
            if length <= 1 or (length <= to_events and bytes <= to_bytes) then
                keep = page[i][1]
                break
            end
            length = length - 1
            bytes = bytes - size(page[i])
        end
        if #page < CHUNK then
            keep = keep or id
        end
        from = '(' .. page[#page][1]
    end
    call('XTRIM', log, 'MINID', '=', keep)
    if length <= 1 then -- heals a sum that somebody's XDEL had made wrong
        bytes = #json
    end
end

local next_text = format('%.0f', next_number)
local n_text, bytes_text = format('%.0f', n or 0), format('%.0f', bytes or 0)
if outside then
    call('HSET', state, 'epoch', epoch_text, 'n', n_text, 'redis', redis_id,
        'bytes', bytes_text)
    if once then
        call('SET', once, worker .. ' ' .. first .. ' ' .. id, 'EX', ONCE_S)
    end
elseif not ends then
    call('HSET', state, 'epoch', epoch_text, 'n', n_text, 'redis', redis_id,
        'bytes', bytes_text, 'r:' .. run,
        format('%.0f %.0f %s %s', attempt, next_number, began or first, worker))
else
    -- When all its events were there already, the newest id is at or behind its end.
    local end_id = id ~= '' and id or got[1] .. '-' .. got[2]
    if skip < count then
        call('HSET', state, 'epoch', epoch_text, 'n', n_text, 'redis', redis_id,
            'bytes', bytes_text)
    end
    call('HSET', state, 'x:' .. run,
        format('%.0f %s %s', attempt, began or first, end_id))
    call('HDEL', state, 'r:' .. run)
    if call('HLEN', state) >= ENDED_PRUNE then
        local all, ended = call('HGETALL', state), {}
        for i = 1, #all, 2 do
            if all[i]:sub(1, 2) == 'x:' then
                local ms, seq = all[i + 1]:match('(%d+)%-(%d+)$')
                ended[#ended + 1] = {all[i], tonumber(ms), tonumber(seq)}
            end
        end
        if #ended >= ENDED_PRUNE then
            table.sort(ended, function(a, b) -- oldest end first
                if a[2] ~= b[2] then
                    return a[2] < b[2]
                end
                return a[3] < b[3]
            end)
            for i = 1, #ended - ENDED_KEEP do
                call('HDEL', state, ended[i][1])
            end
        end
    end
end
call('EXPIRE', log, ttl)
call('EXPIRE', state, ttl)
return {'OK', first, id, next_text}
