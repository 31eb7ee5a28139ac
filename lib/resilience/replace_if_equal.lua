-- In the hash KEYS[1], replaces the field ARGV[1] if its value is still ARGV[2]; '' means no field.
-- ARGV[3] is the new value, ARGV[4] the lifetime of the hash in milliseconds.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
