-- Replaces the values of all KEYS, or of none where one of them is not what the caller has read.
--   ARGV  three for each key: the value expected, the new one, milliseconds it is kept (0: no end)
-- '' stands for no value. A value of another type than text counts as none.

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
