-- A row is what is known of one budget: core/algorithm's State. Its numbers are in ticks and units of its policy, which the
-- key names. There is no index on expires: it would turn every update into a costly one, since an update that changes no
-- indexed column and finds room in its page (the fillfactor) leaves the indexes alone.
CREATE {{unlogged}}TABLE IF NOT EXISTS {{schema}}.budgets (
	key bytea PRIMARY KEY,   -- the budget's name, or a hash of it if that is long
	since bigint NOT NULL,   -- tick of the last change
	used bigint NOT NULL,    -- buckets: the debt; fixed windows: what was spent in the window
	win bigint NOT NULL,     -- fixed windows: the tick at which the window starts
	till bigint NOT NULL,    -- tick until which the key is blocked; 0: it is not
	expires bigint NOT NULL, -- when the budget is as one never seen, in µs since the Unix epoch
	counts bigint[]          -- sliding windows and what is in flight: the counts of the sub-windows
) WITH (
	fillfactor = 70,
	autovacuum_vacuum_scale_factor = 0.05,
	autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0
);
