DO $halt$ BEGIN
	IF to_regnamespace('{{schema}}') IS NULL THEN -- IF NOT EXISTS needs the right to make one even if there is nothing to do
		CREATE SCHEMA {{schema}};
	END IF;
END $halt$;
CREATE TABLE IF NOT EXISTS {{schema}}.version (
	version integer NOT NULL -- of all that is in this schema; one row
);
