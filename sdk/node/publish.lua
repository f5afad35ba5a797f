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
-- and epochs are 1.7e15 (%d is exact, and cheaper than .. with a number). It asks Redis as
-- little as it can, makes as few strings as it can, and matches no pattern before a refusal
-- is likely: the whole of a usual call costs as much as a handful of those.
--
-- KEYS  1 log (stream)  2 state (hash)  3 once (string), or the same as 2, or left out
-- ARGV  1 version  2 mode  3 channel  4 max events  5 max bytes  6 ttl seconds
--       7 this Redis' run_id  8 run  9 attempt  10 number  11 worker  12… events
-- state v, epoch, n, redis, before, bytes; r:<run> = "attempt next began worker" while it
--       lives, x:<run> = "attempt began end" of the last ended ones

local redis, string, tonumber, KEYS, ARGV = redis, string, tonumber, KEYS, ARGV
local call, pcall = redis.call, redis.pcall
local format, find, sub, byte = string.format, string.find, string.sub, string.byte
local log, state, once = KEYS[1], KEYS[2], KEYS[3]
local mode, channel, redis_id, run, worker = ARGV[2], ARGV[3], ARGV[7], ARGV[8], ARGV[11]
local max_events, max_bytes, ttl = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local FIRST = 12 -- index of the first event in ARGV
local count = #ARGV - FIRST + 1

local ENDED_KEEP, ENDED_PRUNE = 256, 320 -- prune to KEEP when PRUNE are there: amortised
local ONCE_S = 86400                     -- how long an idempotency key is remembered
local CHUNK = 64                         -- log entries read at once while trimming
local EXACT = 9007199254740991           -- largest integer a Lua number holds exactly

-- 1. The arguments ----------------------------------------------------------------------

if ARGV[1] ~= '1' then
    return redis.error_reply('THREADCAST version ' .. (ARGV[1] or '') .. ' is not 1')
end
local outside = mode == 'outside'
local begins = mode == 'begin' or mode == 'beginend'
local ends = mode == 'end' or mode == 'beginend'
if once == state then
    once = nil
end

-- (a run's name and numbers: when it is not the call that its state expects, below)
local wrong
if not (mode == 'publish' or begins or ends or outside) then
    wrong = 'mode is begin, publish, end, beginend or outside'
elseif not log or not state or log == state or once == log then
    wrong = 'keys are log, state and perhaps once'
elseif count < 1 then
    wrong = 'there is no event'
elseif channel == '' or redis_id == '' then
    wrong = 'channel and run_id of this Redis are needed'
elseif not (max_events and max_bytes and ttl and max_events >= 1 and max_bytes >= 1 and
        ttl >= 1 and (max_events + max_bytes + ttl) % 1 == 0) then
    wrong = 'limits and ttl are whole numbers from 1'
elseif outside then
    if once and worker == '' then
        wrong = 'a once key needs the hash of the body'
    end
elseif once then
    wrong = 'a once key is for outside events'
end
if wrong then
    return redis.error_reply('THREADCAST arguments: ' .. wrong)
end
for i = FIRST, FIRST + count - 1 do
    local a, b, c = byte(ARGV[i], 1, 3) -- {" and, of "id", i
    if a ~= 123 or b ~= 34 or c == 105 and sub(ARGV[i], 1, 5) == '{"id"' then
        return redis.error_reply(format('THREADCAST event %d does not begin with {" ' ..
            'or brings an id', i - FIRST + 1))
    end
end

-- 2. What is there ----------------------------------------------------------------------

-- Each key is read, with pcall, before anything is written: so its type is checked.
local length = pcall('XLEN', log) -- 0 when there is no log
local got = outside and pcall('HMGET', state, 'v', 'epoch', 'n', 'redis', 'bytes') or
    pcall('HMGET', state, 'v', 'epoch', 'n', 'redis', 'bytes', 'r:' .. run,
        'x:' .. run)
local kept = once and pcall('GET', once)
local refused = type(length) == 'table' and {length.err, log} or
    got.err and {got.err, state} or type(kept) == 'table' and {kept.err, once}
if refused then
    return redis.error_reply(find(refused[1], 'WRONGTYPE', 1, true) and
        'THREADCAST wrongtype ' .. refused[2] or refused[1])
end
-- What a later version keeps here may mean anything: it is not to be broken.
if got[1] and got[1] ~= '1' then
    return redis.error_reply('THREADCAST layout ' .. state .. ' is of version ' ..
        sub(got[1], 1, 16))
end
local epoch_text, n_text = got[2], got[3]
-- (nil for what is not there: HMGET's false is no number)
local n, bytes = tonumber(n_text or ''), tonumber(got[5] or '')
local log_lost = length == 0

-- 3. Decide: nothing is written before a refusal ----------------------------------------

local skip = 0             -- events of this call that an earlier one has put there
local began                -- id at which the run begins, when it has begun
local next_number, attempt_text = 0, nil

-- The usual call is the one that comes next: the state of its run begins as it does.
local known_text, ended = got[6], got[7]
local said = known_text and not ended and ARGV[9] .. ' ' .. ARGV[10] .. ' '
if said and not begins and not log_lost and sub(known_text, 1, #said) == said and
        #ARGV[10] < 16 then -- far from EXACT
    began = known_text:match('^%S+', #said + 1)
    next_number, attempt_text = ARGV[10] + count, ARGV[9]
elseif outside then
    if kept then
        local hash, first, last = kept:match('^(%S+) (%S+) (%S+)$')
        if hash == worker then
            return {'ONCE', first, last}
        end
        return {'CONFLICT'}
    end
    for claimed in run:gmatch('%S+') do
        local known = call('HMGET', state, 'r:' .. claimed, 'x:' .. claimed)
        if known[1] or known[2] then
            return {'TAKEN', claimed}
        end
    end
else
    local attempt, number = tonumber(ARGV[9]), tonumber(ARGV[10])
    if run == '' or find(run, '%s') then
        wrong = 'run is one word'
    elseif not (attempt and number and attempt >= 1 and number >= 1 and
            attempt + number + count < EXACT and attempt % 1 == 0 and number % 1 == 0) then
        wrong = 'attempt and number are whole numbers from 1'
    end
    if wrong then
        return redis.error_reply('THREADCAST arguments: ' .. wrong)
    end
    attempt_text = format('%d', attempt)
    if ended then
        return {'ENDED', ended:match('%S*$')}
    end
    local known, expected
    if known_text then
        known, expected, began = known_text:match('^(%d+) (%d+) (%S+)')
        known, expected = tonumber(known or ''), tonumber(expected or '')
    end
    if known and known > attempt then
        return {'FENCED', format('%d', known)}
    end
    -- A fence outlives the log, a run does not: without its log it has to begin anew.
    local alive = known == attempt and not log_lost
    if not begins then
        if not alive then
            return {'LOST'}
        elseif number > expected then
            return {'GAP', format('%d', expected)}
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
        return {'OK', '', '', format('%d', next_number)}
    end
end

-- 4. Whatever can still refuse does so here ---------------------------------------------

-- A new epoch: Redis has lost ids that it gave out (no log or no state), or this is
-- another Redis than the one that wrote the state: after a crash or a failover it may
-- have forgotten its last ids and would give them out again for other events.
local writes = skip < count
local fresh = writes and (log_lost or not (epoch_text and n and bytes) or
    got[4] ~= redis_id)

-- Rights are asked for, because PUBLISH and then a forbidden XADD would be half of it.
-- What a long run needs now and then is asked for once, when it begins.
local may = redis.acl_check_cmd
local forbidden = not may('XADD', log, '1-1', 'e', '') and 'XADD'
if fresh or begins then
    forbidden = forbidden or
        not may('PUBLISH', channel, '') and 'PUBLISH to the channel' or
        not may('EXPIRE', log, '1') and 'EXPIRE' or
        not may('XRANGE', log, '-', '+') and 'XRANGE' or
        not may('XTRIM', log, 'MINID', '=', '1-1') and 'XTRIM' or
        not may('XDEL', log, '1-1') and 'XDEL' or
        not may('HDEL', state, 'x') and 'HDEL' or
        not may('HSET', state, 'x', '') and 'HSET'
end
if once then
    forbidden = forbidden or not may('SET', once, 'x', 'EX', '1') and 'SET'
end
if forbidden then
    return redis.error_reply('NOPERM this user may not ' .. forbidden)
end

local before = '0-0' -- the last id of the log when this epoch begins
local ghosts
if fresh then
    ghosts = {}
    local now = call('TIME')
    local above = (tonumber(epoch_text or '') or 0) + 1
    if call('EXISTS', log) == 1 then -- an emptied stream too remembers its last id
        local info = call('XINFO', 'STREAM', log)
        for i = 1, #info, 2 do
            if info[i] == 'last-generated-id' then
                before = info[i + 1]
                above = math.max(above, tonumber(before:match('^%d+')) + 1)
            end
        end
    end
    -- Killed while it wrote its file, Redis forgets that call, but leaves its first half
    -- in the file and carries it out at the start after the next one (seen with 7.0.15:
    -- MULTI without EXEC). So such entries appear behind the ids that the state knew when
    -- it went on: at the end of the epoch before this one, or of this one.
    if not log_lost and bytes and n and find(epoch_text or '', '^%d+$') then
        local was = call('HGET', state, 'before')
        for _, range in ipairs({{was, '(' .. epoch_text .. '-1'},
                {epoch_text .. '-' .. n_text, epoch_text}}) do
            local from = range[1] and '(' .. range[1] or '+'
            local found = pcall('XRANGE', log, from, range[2]) -- damaged: an error, empty
            for i = 1, #found do
                ghosts[#ghosts + 1] = found[i][1]
            end
        end
    end
    local epoch = math.max(tonumber(now[1]) * 1000000 + tonumber(now[2]), above)
    if epoch >= EXACT then
        return redis.error_reply('THREADCAST epoch: none is left above those of ' .. log)
    end
    epoch_text, n = format('%d', epoch), 0
    if log_lost then
        bytes = 0
    elseif not bytes then -- the state was lost alone: count what the log holds
        bytes = 0
        local from = '-'
        repeat
            local page = call('XRANGE', log, from, '+', 'COUNT', CHUNK)
            for i = 1, #page do
                bytes = bytes + #page[i][2][2]
                from = '(' .. page[i][1]
            end
        until #page < CHUNK
    end
end

-- A write that changes nothing, but that Redis refuses when it would refuse the others:
-- READONLY, OOM, MISCONF, NOREPLICAS. (Nothing goes to the file when v is there.)
call('HSETNX', state, 'v', '1')

-- 5. Write ------------------------------------------------------------------------------

if fresh and log_lost then -- the runs that lived in the lost log are lost with it
    local names = call('HKEYS', state)
    for i = 1, #names do
        if sub(names[i], 1, 2) == 'r:' then
            call('HDEL', state, names[i])
        end
    end
end

for i = 1, ghosts and #ghosts or 0 do
    length = length - call('XDEL', log, ghosts[i])
end

local first, id, json = '', '', ''
for i = FIRST + skip, FIRST + count - 1 do
    n = n + 1
    n_text = format('%d', n)
    id = epoch_text .. '-' .. n_text
    json = '{"id":"' .. id .. '",' .. sub(ARGV[i], 2)
    if type(pcall('PUBLISH', channel, json)) == 'table' then -- can only be the first
        return redis.error_reply('NOPERM this user may not PUBLISH to the channel')
    end
    local added = pcall('XADD', log, id, 'e', json)
    if added.err then -- somebody else wrote to the log: the next call makes a new epoch
        call('HDEL', state, 'epoch')
        return added
    end
    bytes = bytes + #json
    if first == '' then
        first = id
    end
end
length = length + count - skip

-- Bounds are exact. What is above goes, with 1/16 more so that it need not be done every
-- time; the newest entry stays whatever its size.
if writes and (length > max_events or bytes > max_bytes) then
    local to_events = max_events - math.floor(max_events / 16)
    local to_bytes = max_bytes - math.floor(max_bytes / 16)
    local from, keep = '-', nil
    repeat
        local page = call('XRANGE', log, from, '+', 'COUNT', CHUNK)
        for i = 1, #page do
            if length <= 1 or (length <= to_events and bytes <= to_bytes) then
                keep = page[i][1]
                break
            end
            length = length - 1
            bytes = bytes - #page[i][2][2]
            from = '(' .. page[i][1]
        end
        if #page == 0 then
            keep = id
        end
    until keep
    call('XTRIM', log, 'MINID', '=', keep)
    if length <= 1 then -- mends a sum that an XDEL by hand had made wrong
        bytes = #json
    end
end

local next_text = outside and '0' or format('%d', next_number)
if writes then
    if fresh then
        call('HSET', state, 'epoch', epoch_text, 'redis', redis_id, 'before', before)
    end
    local bytes_text = format('%d', bytes)
    if outside then
        call('HSET', state, 'n', n_text, 'bytes', bytes_text)
    else
        call('HSET', state, 'n', n_text, 'bytes', bytes_text, 'r:' .. run,
            attempt_text .. ' ' .. next_text .. ' ' .. (began or first) .. ' ' .. worker)
    end
end
if once then
    call('SET', once, worker .. ' ' .. first .. ' ' .. id, 'EX', ONCE_S)
end

if ends then
    -- When all its events were there already, the newest id is at or behind its end.
    local end_id = writes and id or got[2] and got[3] and got[2] .. '-' .. got[3] or began
    call('HDEL', state, 'r:' .. run)
    call('HSET', state, 'x:' .. run,
        attempt_text .. ' ' .. (began or first) .. ' ' .. end_id)
    if call('HLEN', state) >= ENDED_PRUNE then
        local all, ended = call('HGETALL', state), {}
        for i = 1, #all, 2 do
            if sub(all[i], 1, 2) == 'x:' then
                local in_epoch, seq = all[i + 1]:match('(%d+)%-(%d+)$')
                ended[#ended + 1] = {all[i], tonumber(in_epoch or 0), tonumber(seq or 0)}
            end
        end
        if #ended >= ENDED_PRUNE then
            table.sort(ended, function(a, b) -- oldest end first
                return a[2] < b[2] or a[2] == b[2] and a[3] < b[3]
            end)
            for i = 1, #ended - ENDED_KEEP do
                call('HDEL', state, ended[i][1])
            end
        end
    end
end

-- Both expire together, a ttl after the last event, half a second less at most: TTL
-- rounds, and costs a fifth of what setting both anew does.
if fresh or call('TTL', state) ~= ttl then
    call('EXPIRE', log, ttl)
    call('EXPIRE', state, ttl)
end
return {'OK', first, id, next_text}
