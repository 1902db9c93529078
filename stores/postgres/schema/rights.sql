-- Nobody but the owner may do anything, until it is granted: see the package's documentation.
REVOKE ALL ON {{schema}}.budgets FROM PUBLIC;
REVOKE ALL ON FUNCTION {{schema}}.decide_1(bytea[], bigint[], bigint[], bigint, integer, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION {{schema}}.reset_1(bytea[], integer, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION {{schema}}.sweep_1(bigint, integer) FROM PUBLIC;
-- But Migrate has to see that there is nothing to do, whoever calls it.
GRANT SELECT ON {{schema}}.version TO PUBLIC;
