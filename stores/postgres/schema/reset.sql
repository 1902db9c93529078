-- Forgets budgets. keys, patience and careful are as decide_1's.
--
-- The answer has one byte for every key: "-" if the budget is forgotten, "~" if its row is locked, and was left.
CREATE OR REPLACE FUNCTION {{schema}}.reset_1(keys bytea[], patience integer, careful boolean) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = 0
AS $halt$
#variable_conflict use_column
DECLARE
	marks text := '';
	ignored text;
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' THEN
		RETURN 'isolation';
	END IF;
	ignored := set_config('lock_timeout', patience::text, true);
	-- One after the other and in the order of the keys, as decide_1 locks them.
	FOR k IN 1..cardinality(keys) LOOP
		IF NOT careful THEN
			DELETE FROM {{schema}}.budgets WHERE key = keys[k];
		ELSE
			DELETE FROM {{schema}}.budgets
			WHERE key = (SELECT key FROM {{schema}}.budgets WHERE key = keys[k] FOR UPDATE SKIP LOCKED);
		END IF;
		marks := marks || CASE WHEN careful AND EXISTS (SELECT FROM {{schema}}.budgets WHERE key = keys[k]) THEN '~' ELSE '-' END;
	END LOOP;
	RETURN marks;
END
$halt$;
