-- Forgets budgets.
CREATE OR REPLACE FUNCTION {{schema}}.reset_1(keys bytea[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $halt$
BEGIN
	-- One after the other and in the order of the keys, as decide_1 locks them.
	FOR k IN 1..cardinality(keys) LOOP
		DELETE FROM {{schema}}.budgets WHERE key = keys[k];
	END LOOP;
END
$halt$;
