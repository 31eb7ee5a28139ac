-- Holds KEYS for ARGV[1] milliseconds from now; a longer hold stays as it is.
for _, key in ipairs(KEYS) do
    if redis.call('PTTL', key) < tonumber(ARGV[1]) then
        redis.call('SET', key, '1', 'PX', ARGV[1])
    end
end
