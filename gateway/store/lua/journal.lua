-- What a run has completed, for an attempt that goes on where another stopped.
-- key absent_key: one that never is (keys.py, absent)
-- arg run_id: which
-- Returns {{step name, result JSON, …}}
return {redis.call('HGETALL', run_key(run_id) .. ':journal')} -- bound: run
