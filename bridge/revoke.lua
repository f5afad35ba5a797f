-- Stores one revocation: all or nothing, and never back to an earlier moment.
--   KEYS[1]  hash: name → moment in ms; `n` counts the changes
--   ARGV     name, moment, those before this one have had their time, limit, ms until the
--            whole hash has, channel of the hint, the hint
-- 1: stored, 0: was there, error FULL
local key, name, moment = KEYS[1], ARGV[1], ARGV[2]

local known = tonumber(redis.call('HGET', key, name) or '')
if known and known >= tonumber(moment) then
    return 0
end
if not known and redis.call('HLEN', key) > tonumber(ARGV[4]) then -- with `n`
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
        if all[i] ~= 'n' and (tonumber(all[i + 1]) or 0) < tonumber(ARGV[3]) then
            redis.call('HDEL', key, all[i])
        end
    end
    if redis.call('HLEN', key) > tonumber(ARGV[4]) then
        return redis.error_reply('FULL too many revocations')
    end
end
if redis.call('HEXISTS', key, 'n') == 0 then -- a count that no hash before this one had
    local time = redis.call('TIME')
    redis.call('HSET', key, 'n', time[1] .. string.format('%06d', time[2]))
end
redis.call('HSET', key, name, moment)
redis.call('HINCRBY', key, 'n', 1)
redis.call('PEXPIRE', key, ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return 1
