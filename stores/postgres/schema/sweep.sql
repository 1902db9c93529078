-- Deletes what has been as never seen for a minute, in the pages from the given one on. It waits for nobody: rows that are
-- locked are left for the next time. The answer: how many rows went, and how many pages the table has.
CREATE OR REPLACE FUNCTION {{schema}}.sweep_1(page bigint, pages integer) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $halt$
DECLARE
	total constant bigint := pg_relation_size('{{schema}}.budgets') / current_setting('block_size')::bigint;
	low constant tid := format('(%s,0)', page)::tid;
	high constant tid := format('(%s,0)', page + pages)::tid;
	-- A take on a row that died a moment ago is likely, on one that has been dead for a minute it is not.
	dead constant bigint := extract(epoch FROM clock_timestamp()) * 1000000 - 60000000;
	gone bigint;
BEGIN
	DELETE FROM {{schema}}.budgets WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM {{schema}}.budgets WHERE ctid >= low AND ctid < high AND expires < dead
		FOR UPDATE SKIP LOCKED
	));
	GET DIAGNOSTICS gone = ROW_COUNT;
	RETURN gone || ' ' || total;
END
$halt$;
