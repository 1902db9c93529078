package haltpostgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

//go:embed schema/*.sql
var files embed.FS

// version is that of the schema that this program needs. The n-th step makes version n of version n-1.
const version = 1

var steps = [version][]string{
	{"schema", "table", "decide", "reset", "sweep", "rights"},
}

// ErrNewer is what the error of [Migrate] matches if the schema in the database is of a later version than this program's.
var ErrNewer = errors.New("halt/postgres: the schema in the database is newer than this program")

// Migrate brings the schema in the database to the version that this program needs, in one transaction. It does nothing if
// it is there already, so that every process may call it when it starts; any number at once do the work once. See [Options]
// for the schema's name, and for what an unlogged table is.
//
// It needs the right to create a schema in the database, or, if the schema exists, to use it and to create objects in it; and
// only the right to use it if there is nothing to do. Who runs it owns what it makes.
func Migrate(ctx context.Context, db DB, o *Options) error {
	if missing(db) {
		return errors.New("halt/postgres: Migrate needs a pool or a connection")
	}
	return migrate(ctx, pgxDB{db}, o)
}

// MigrateSQL is [Migrate] by a database/sql pool.
func MigrateSQL(ctx context.Context, db *sql.DB, o *Options) error {
	if db == nil {
		return errors.New("halt/postgres: MigrateSQL needs a database")
	}
	return migrate(ctx, sqlDB{db}, o)
}

// Schema returns the statements that [Migrate] runs in an empty database, for those who migrate their databases by tools of
// their own. Running them again does no harm. They belong in one transaction, and need the same rights.
func Schema(o *Options) (string, error) {
	opts, err := o.complete()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range opts.statements(0) {
		b.WriteString(s + "\n")
	}
	return b.String(), nil
}

func migrate(ctx context.Context, db database, o *Options) error {
	opts, err := o.complete()
	if err != nil {
		return err
	}
	have, err := opts.installed(ctx, db)
	if err != nil || have == version {
		return err
	}
	return within(ctx, db, func(q querier) error {
		h := fnv.New64a()
		h.Write([]byte("halt/postgres: " + opts.Schema))
		if _, err := q.query(ctx, "SELECT pg_advisory_xact_lock($1::text::bigint)::text", strconv.FormatInt(int64(h.Sum64()), 10)); err != nil {
			return fmt.Errorf("halt/postgres: migrating: %w", err)
		}
		have, err := opts.installed(ctx, q) // somebody may have been faster
		if err != nil || have == version {
			return err
		}
		for _, s := range opts.statements(have) {
			if _, err := q.query(ctx, s); err != nil {
				return fmt.Errorf("halt/postgres: migrating: %w", err)
			}
		}
		return nil
	})
}

// installed returns the version of the schema in the database, 0 if there is none.
func (o *Options) installed(ctx context.Context, q querier) (int, error) {
	text, err := q.query(ctx, "SELECT (to_regclass($1::text) IS NOT NULL)::text", o.quoted()+".version")
	if err == nil && text == "true" {
		text, err = q.query(ctx, "SELECT coalesce(max(version), 0)::text FROM "+o.quoted()+".version")
	} else {
		text = "0"
	}
	if err != nil {
		return 0, fmt.Errorf("halt/postgres: reading the schema's version: %w", err)
	}
	have, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("halt/postgres: reading the schema's version: %w", err)
	case have > version:
		return have, fmt.Errorf("%w: it is of version %d, this program knows up to %d", ErrNewer, have, version)
	}
	return have, nil
}

// statements returns what makes the present version of an older one.
func (o *Options) statements(have int) []string {
	unlogged := ""
	if o.Unlogged {
		unlogged = "UNLOGGED "
	}
	names := strings.NewReplacer("{{schema}}", o.quoted(), "{{unlogged}}", unlogged)
	var all []string
	for _, step := range steps[have:] {
		for _, name := range step {
			text, err := files.ReadFile("schema/" + name + ".sql")
			if err != nil {
				return nil // they are part of the program
			}
			all = append(all, split(names.Replace(string(text)))...)
		}
	}
	return append(all,
		fmt.Sprintf("DELETE FROM %s.version;", o.quoted()),
		fmt.Sprintf("INSERT INTO %s.version VALUES (%d);", o.quoted(), version))
}

// split cuts a file into its statements: they end with a semicolon at a line's end, but not within a function.
func split(text string) []string {
	var all []string
	var b strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		b.WriteString(line)
		if strings.Count(line, "$halt$") == 1 {
			inside = !inside
		}
		if !inside && strings.HasSuffix(strings.TrimSpace(line), ";") {
			all = append(all, b.String())
			b.Reset()
		}
	}
	return all
}
