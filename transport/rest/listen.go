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
// It closes the listener. Nil means that every request was answered.
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
	served := make(chan error, 1)
	bounded := &boundedListener{Listener: listener, limit: int64(or(limits.MaxConnections, 4096))}
	go func() {
		if limits.TLS == nil {
			served <- server.Serve(bounded)
			return
		}
		server.TLSConfig = limits.TLS
		served <- server.ServeTLS(bounded, "", "")
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(limits.DrainTimeout, 20*time.Second))
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain HTTP: %w", err), server.Close())
	}
	<-served
	return err
}
