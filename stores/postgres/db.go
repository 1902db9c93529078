package haltpostgres

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is what pgx reaches PostgreSQL by: a *pgxpool.Pool, or a single connection, which is a *pgx.Conn, a *pgxpool.Conn or
// a pgx.Tx. A DB of any other type is taken for a pool.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Begin(ctx context.Context) (pgx.Tx, error)
}

// database is what the store needs of a DB or a *sql.DB.
type database interface {
	querier
	// begin starts a transaction that is READ COMMITTED, or a part of the transaction that the database is.
	begin(ctx context.Context) (transaction, error)
}

// querier runs statements.
type querier interface {
	// query runs a statement whose answer is at most one text, and returns when it is over, committed included.
	query(ctx context.Context, statement string, args ...any) (string, error)
}

type transaction interface {
	querier
	commit(ctx context.Context) error
	rollback(ctx context.Context)
}

// within runs f in a READ COMMITTED transaction.
func within(ctx context.Context, db database, f func(q querier) error) error {
	tx, err := db.begin(ctx)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		tx.rollback(ctx)
		return err
	}
	return tx.commit(ctx)
}

// pgxDB is a DB, and a pgx.Tx as a transaction of it.
type pgxDB struct{ DB }

func (db pgxDB) query(ctx context.Context, statement string, args ...any) (text string, err error) {
	rows, err := db.Query(ctx, statement, args...)
	if err != nil {
		return "", err
	}
	// Text has the same form in all of the protocol's modes.
	for rows.Next() {
		if raw := rows.RawValues(); len(raw) > 0 {
			text = string(raw[0])
		}
	}
	rows.Close() // the answer is one only if nothing failed after it, such as the commit
	return text, rows.Err()
}

func (db pgxDB) begin(ctx context.Context) (transaction, error) {
	if b, ok := db.DB.(interface {
		BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
	}); ok {
		tx, err := b.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
		return pgxTx{pgxDB{tx}, tx}, err
	}
	tx, err := db.Begin(ctx)
	return pgxTx{pgxDB{tx}, tx}, err
}

type pgxTx struct {
	pgxDB
	tx pgx.Tx
}

func (t pgxTx) commit(ctx context.Context) error { return t.tx.Commit(ctx) }

func (t pgxTx) rollback(ctx context.Context) {
	_ = t.tx.Rollback(ctx) // if this fails, the connection is closed
}

// single tells whether db is one connection, which does one thing at a time.
func single(db DB) bool {
	switch db.(type) {
	case *pgx.Conn, *pgxpool.Conn, pgx.Tx:
		return true
	}
	return false
}

// missing tells whether db is nil, or a pointer that is.
func missing(db DB) bool {
	switch d := db.(type) {
	case nil:
		return true
	case *pgxpool.Pool:
		return d == nil
	case *pgx.Conn:
		return d == nil
	case *pgxpool.Conn:
		return d == nil
	}
	return false
}

// sqlDB is a *sql.DB whose driver is pgx's.
type sqlDB struct{ db *sql.DB }

func (s sqlDB) query(ctx context.Context, statement string, args ...any) (string, error) {
	return sqlQuery(ctx, s.db, statement, args)
}

func (s sqlDB) begin(ctx context.Context) (transaction, error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	return sqlTx{tx}, err
}

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) query(ctx context.Context, statement string, args ...any) (string, error) {
	return sqlQuery(ctx, t.tx, statement, args)
}

func (t sqlTx) commit(context.Context) error { return t.tx.Commit() }

func (t sqlTx) rollback(context.Context) { _ = t.tx.Rollback() }

func sqlQuery(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, statement string, args []any,
) (text string, err error) {
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var value sql.NullString
		if err := rows.Scan(&value); err != nil {
			return "", err
		}
		text = value.String
	}
	return text, rows.Err()
}
