-- Blocks KEYS for ARGV[1] milliseconds from now; keeps a longer block, up to ARGV[2] milliseconds.
for _, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    if left < tonumber(ARGV[1]) or left > tonumber(ARGV[2]) then
        redis.call('SET', key, '1', 'PX', ARGV[1])
    end
end
