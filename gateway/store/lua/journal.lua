-- What a run has completed, for an attempt that goes on where another stopped.
-- KEYS 8 a key that never is (keys.py, absent)
-- ARGV 8 run id
-- Returns {{step name, result JSON, …}}
return {redis.call('HGETALL', run_key(ARGV[8]) .. ':journal')} -- bound: run
