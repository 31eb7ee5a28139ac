-- Replaces the values of all KEYS, or of none if one of them differs from what the caller read.
--   ARGV  three per key: expected value, new value, lifetime in milliseconds (0: no expiry)
-- '' means no value. A value of another type than text counts as no value.

for i, key in ipairs(KEYS) do
    if (redis.call('MGET', key)[1] or '') ~= ARGV[3 * i - 2] then
        return 0
    end
end
for i, key in ipairs(KEYS) do
    local value, milliseconds = ARGV[3 * i - 1], tonumber(ARGV[3 * i])
    if value == '' then
        redis.call('DEL', key)
    elseif milliseconds > 0 then
        redis.call('SET', key, value, 'PX', milliseconds)
    else
        redis.call('SET', key, value)
    end
end
return 1
