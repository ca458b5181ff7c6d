// Package embedded runs a private PostgreSQL of the binaries installed on the
// machine, as a child of this process: initdb into a data directory of its own,
// reachable over a unix socket only, owned by one process at a time, restarted
// when it dies, and stopped when its owner does, even by kill -9.
//
// Layout of the data directory:
//
//	lock           held (flock) by the process that owns the server
//	dsn            the connection string, for other processes (see Locate)
//	pgdata/        PostgreSQL's data
//	pgdata.init-*  an initdb under way; left by one that was killed, removed by the next start
//	postgres.log   the server's log, and postgres.log.1 the one before
//
// It works on Linux and macOS. On Linux the processes of a server are found by
// their working directory; elsewhere only the postmaster is, by its command line,
// and PostgreSQL's own interlock covers the rest.
package embedded
