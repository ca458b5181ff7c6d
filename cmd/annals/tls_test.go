package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"annals/eventstore/pgtest"
)

// writePair writes a certificate for loopback, which signs itself, into the files of a directory. The pool trusts it.
func writePair(t *testing.T, dir, name string, trusted *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	noError(t, err)
	parsed, err := x509.ParseCertificate(der)
	noError(t, err)
	trusted.AddCert(parsed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	noError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A new certificate is used for new connections without a restart, and one that doesn't work isn't.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir, trusted := t.TempDir(), x509.NewCertPool()
	writePair(t, dir, "first", trusted)
	pair := []string{"--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem")}
	server := serveHere(t, append(pair, "--database-url", pgtest.New(t).DSN)...)
	address, secure := strings.CutPrefix(server.url, "https://")
	if !secure {
		t.Fatalf("listening on %s", server.url)
	}
	shown := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: trusted})
		noError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, h2 := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, ForceAttemptHTTP2: h2}}
		defer client.CloseIdleConnections()
		res, err := client.Get(server.url + "/v1/products")
		noError(t, err)
		res.Body.Close()
		if res.StatusCode != http.StatusOK || (res.ProtoMajor == 2) != h2 {
			t.Errorf("%s %s", res.Proto, res.Status)
		}
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{RootCAs: trusted, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if got := shown(); got != "first" {
		t.Errorf("shown: %s", got)
	}
	writePair(t, dir, "second", trusted)
	for t.Context().Err() == nil && shown() != "second" {
	}
	noError(t, os.WriteFile(filepath.Join(dir, "key.pem"), []byte("not a key"), 0o600))
	broken := server.stderr.wait("stays in use")
	for waiting := true; waiting; {
		if got := shown(); got != "second" {
			t.Fatalf("shown with a broken key: %s", got)
		}
		select {
		case <-broken:
			waiting = false
		case <-t.Context().Done():
			t.Fatal("nothing is said of the broken key")
		default:
		}
	}
	writePair(t, dir, "third", trusted)
	for t.Context().Err() == nil && shown() != "third" {
	}
}

func TestTLSMisuse(t *testing.T) {
	t.Parallel()
	annals(t, "serve", "--print-config", "--tls-cert-file", "x.pem").exits(exitMisuse).says("--tls-key-file")
	none := filepath.Join(t.TempDir(), "none.pem")
	annals(t, "serve", "--addr", "127.0.0.1:0", "--tls-cert-file", none, "--tls-key-file", none,
		"--database-url", "postgres://127.0.0.1:1/d").exits(exitFailed).says("TLS certificate")
}
