// Package notify delivers events to webhooks over HTTP and to mailboxes over SMTP.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"annals/eventstore"
	"annals/projections/policies/notifications"
	"annals/transport/cloudevents"
)

// SignatureHeader carries t=<seconds of Unix time>,v1=<signature>, where the signature is the HMAC-SHA256, in lower-case
// hexadecimal, of the seconds, a full stop and the body as it is sent, under the webhook's secret. A receiver computes it
// again, compares in constant time, and refuses times that are too far from its own.
const SignatureHeader = "Annals-Signature"

// Bounds of a request.
const (
	connectTimeout = 5 * time.Second
	maxAnswer      = 4 << 10  // bytes of an answer's body that are read
	maxHeader      = 32 << 10 // bytes of an answer's header
)

// Webhooks delivers events by POST. It follows no redirect, uses no proxy, keeps no cookies, and reads no more of an
// answer than it must. An answer of 2xx means that the receiver has the event.
type Webhooks struct {
	client *http.Client
	clock  func() time.Time
}

// NewWebhooks makes the deliverer. Unless private, it connects to public addresses only, whatever a name resolves to;
// link-local addresses, those where clouds keep their metadata, and multicast are refused in any case.
func NewWebhooks(private bool) *Webhooks {
	dialer := &net.Dialer{
		Timeout: connectTimeout,
		Control: func(_, address string, _ syscall.RawConn) error { return allowed(address, private) },
	}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true, // an answer of a few bytes mustn't unpack to many
	}
	return &Webhooks{
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		clock: time.Now,
	}
}

// Close closes idle connections.
func (w *Webhooks) Close() { w.client.CloseIdleConnections() }

// Deliver implements notifications.Deliverer.
func (w *Webhooks) Deliver(ctx context.Context, d notifications.Delivery) error {
	body, err := encode(d.Event)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(body))
	if err != nil {
		return &notifications.Failure{Reason: "the URL can't be used", Err: err}
	}
	r.Header.Set("Content-Type", cloudevents.MediaType)
	r.Header.Set("User-Agent", "annals")
	r.Header.Set("Annals-Webhook", d.Receiver.String())
	r.Header.Set("Annals-Attempt", strconv.Itoa(d.Attempt))
	r.Header.Set(SignatureHeader, Sign(d.Secret, w.clock(), body))
	answer, err := w.client.Do(r)
	if err != nil {
		return &notifications.Failure{Reason: reason(err), Err: err}
	}
	defer answer.Body.Close()
	// Read so that the connection can be used again; what comes of it says nothing about the delivery.
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return &notifications.Failure{Reason: "the receiver answered " + strconv.Itoa(answer.StatusCode)}
	}
	return nil
}

// encode writes an event as the body of a request. It is the same for every attempt.
func encode(e eventstore.Envelope) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(cloudevents.Of(e)); err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.EventID, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Sign gives the value of SignatureHeader.
func Sign(secret string, at time.Time, body []byte) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// reason says why there was no answer, without what the error tells of the network.
func reason(err error) string {
	var timeout net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errRefusedAddress):
		return "the receiver's address isn't one that events are sent to"
	case errors.As(err, &name):
		return "the receiver's name couldn't be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the receiver refused the connection"
	case errors.As(err, &certificate), errors.As(err, &record):
		return "there was no secure connection to the receiver"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "the receiver didn't answer in time"
	default:
		return "the receiver couldn't be reached, or broke off"
	}
}
