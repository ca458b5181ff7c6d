package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// tlsFlags say with which certificate the server speaks TLS.
type tlsFlags struct{ cert, key string }

func (f *tlsFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.cert, "tls-cert-file", "", "`file` with the certificate and its chain, in PEM; looked at again when it changes")
	flags.StringVar(&f.key, "tls-key-file", "", "`file` with the certificate's private key, in PEM")
}

func (f *tlsFlags) check(cmd *cobra.Command) error {
	if (f.cert == "") != (f.key == "") {
		return misuse(cmd, "--tls-cert-file and --tls-key-file go together")
	}
	return nil
}

// scheme is that of the server's address.
func (f *tlsFlags) scheme() string {
	if f.cert == "" {
		return "http"
	}
	return "https"
}

// config gives the server's side of TLS, nil without a certificate. It fails when there is no pair that works.
func (f *tlsFlags) config(log *slog.Logger) (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil
	}
	c := &certificate{files: *f, log: log}
	if err := c.load(c.stamp()); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}, nil
}

// certificateCheck is how often the files are looked at, while connections come.
const certificateCheck = time.Second

// certificate is a pair that follows its files. A pair that doesn't work leaves the one before in use.
type certificate struct {
	files tlsFlags
	log   *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	loaded  stamp // of the files when they were loaded last, also in vain
	checked time.Time
}

// stamp tells one state of the two files from another.
type stamp [2]struct {
	modified time.Time
	size     int64
}

func (c *certificate) stamp() (s stamp) {
	for i, name := range []string{c.files.cert, c.files.key} {
		if info, err := os.Stat(name); err == nil {
			s[i].modified, s[i].size = info.ModTime(), info.Size()
		}
	}
	return s
}

// load reads the pair. mu is held, or nobody else has the certificate yet.
func (c *certificate) load(now stamp) error {
	c.loaded = now
	pair, err := tls.LoadX509KeyPair(c.files.cert, c.files.key)
	if err != nil {
		return fmt.Errorf("load the TLS certificate: %w", err)
	}
	c.pair = &pair
	return nil
}

// get gives the pair for a new connection.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateCheck {
		c.checked = now
		if s := c.stamp(); s != c.loaded {
			if err := c.load(s); err != nil {
				c.log.Error("the TLS certificate that was loaded before stays in use", "error", err)
			} else {
				c.log.Info("loaded another TLS certificate", "file", c.files.cert)
			}
		}
	}
	return c.pair, nil
}
