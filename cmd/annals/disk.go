package main

import (
	"context"
	"database/sql"
	"fmt"
	"syscall"
)

// disk is the file system that the database is on, in bytes.
type disk struct {
	dir         string
	free, total uint64
}

// diskOf looks at the database's disk. ok is false when it is on another machine, as far as can be told: only a server
// that is reached by a unix socket is certainly on this one, and it tells its directory to those who may read all settings.
func diskOf(ctx context.Context, db *sql.DB) (d disk, ok bool, err error) {
	var dir sql.NullString
	err = db.QueryRowContext(ctx, `SELECT CASE WHEN inet_server_addr() IS NULL AND pg_has_role(current_user, 'pg_read_all_settings', 'USAGE')
		THEN current_setting('data_directory') END`).Scan(&dir)
	if err != nil || !dir.Valid {
		return d, false, err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir.String, &st); err != nil {
		return d, false, fmt.Errorf("look at the disk of %s: %w", dir.String, err)
	}
	return disk{dir: dir.String, free: uint64(st.Bavail) * uint64(st.Bsize), total: uint64(st.Blocks) * uint64(st.Bsize)}, true, nil
}

// roomy reports whether there is room left for the log to grow.
func (d disk) roomy() bool { return float64(d.free) >= doctorFreeShare*float64(d.total) }

func gigabytes(bytes uint64) string { return fmt.Sprintf("%.1f GB", float64(bytes)/1e9) }
