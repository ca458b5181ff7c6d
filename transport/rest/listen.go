package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"annals/transport/rest/fastpath"
)

// Limits bound what one connection may cost. The zero value of a member means the default in brackets.
type Limits struct {
	HeaderTimeout  time.Duration // to read a request's header (10 s)
	ReadTimeout    time.Duration // to read a whole request (60 s)
	WriteTimeout   time.Duration // to answer; a stream has it for each page (90 s)
	IdleTimeout    time.Duration // between requests (120 s)
	MaxHeaderBytes int           // (64 KiB)
	MaxConnections int           // open at a time; further ones are answered with 503 and closed (4,096)
	DrainTimeout   time.Duration // for requests to end when the server stops (20 s)
	TLS            *tls.Config   // to speak TLS; it has a certificate, or a way to one (none: in the clear)
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Serve answers requests on the listener until ctx ends, then lets those that run come to their end within DrainTimeout.
// It closes the listener. Nil means that every request was answered. In the clear, ordinary requests don't reach net/http's
// server; WriteTimeout and IdleTimeout may be an eighth longer for them, and HeaderTimeout is for the first byte and again for the
// rest of a header that comes slowly.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, limits Limits, log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: or(limits.HeaderTimeout, 10*time.Second),
		ReadTimeout:       or(limits.ReadTimeout, 60*time.Second),
		WriteTimeout:      or(limits.WriteTimeout, 90*time.Second),
		IdleTimeout:       or(limits.IdleTimeout, 120*time.Second),
		MaxHeaderBytes:    or(limits.MaxHeaderBytes, 64<<10),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext:       withConn,
	}
	bounded := &boundedListener{Listener: listener, limit: int64(or(limits.MaxConnections, 4096))}
	serve, drain := func() error { return server.ServeTLS(bounded, "", "") }, server.Shutdown
	if server.TLSConfig = limits.TLS; limits.TLS == nil {
		fast := fastpath.Listen(bounded, fastpath.Config{
			Handler: handler, ConnContext: withConn, FirstTimeout: server.ReadHeaderTimeout, IdleTimeout: server.IdleTimeout,
			WriteTimeout: server.WriteTimeout, ErrorLog: server.ErrorLog,
		})
		serve = func() error { return server.Serve(fast) }
		drain = func(ctx context.Context) error { return errors.Join(server.Shutdown(ctx), fast.Drain(ctx)) }
	}
	served := make(chan error, 1)
	go func() { served <- serve() }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(limits.DrainTimeout, 20*time.Second))
	defer cancel()
	err := drain(within)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain HTTP: %w", err), server.Close())
	}
	<-served
	return err
}
