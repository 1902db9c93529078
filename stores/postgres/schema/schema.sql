CREATE SCHEMA IF NOT EXISTS {{schema}};
CREATE TABLE IF NOT EXISTS {{schema}}.version (
	version integer NOT NULL -- of all that is in this schema; one row
);
